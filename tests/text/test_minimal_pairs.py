"""Minimal pairs are read from tables, pairs of lines, archives and folders; what is no pair gets one sentence."""

from __future__ import annotations

import io
import json
import tarfile
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.minimal_pairs import MinimalPair, MinimalPairs, read_minimal_pairs

ROWS = [
    {"good": "The dog barks.", "bad": "The dog bark.", "label": "agreement", "uid": "subject_verb"},
    {"good": "This dog barks.", "bad": "These dog barks.", "label": "agreement", "uid": "determiner_noun"},
]


def as_tuples(read: MinimalPairs) -> list[tuple[str, str, str]]:
    return [(pair.good, pair.bad, pair.paradigm) for pair in read.pairs]


EXPECTED = [(row["good"], row["bad"], row["uid"]) for row in ROWS]


def test_a_table_names_its_columns(tmp_path: Path) -> None:
    jsonl = tmp_path / "pairs.jsonl.zst"
    jsonl.write_bytes(zstandard.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))
    read = read_minimal_pairs(jsonl)
    assert as_tuples(read) == EXPECTED
    assert "2 pairs of 2 paradigms, acceptable sentences from column 'good'" in read.detected
    assert read.pairs[1].place == f"{jsonl}, line 2"
    csv = tmp_path / "pairs.csv"
    csv.write_text("UID,sentence_bad,sentence_good\n" + "".join(f"{r['uid']},{r['bad']},{r['good']}\n" for r in ROWS))
    assert as_tuples(read_minimal_pairs(csv)) == EXPECTED


def test_pairs_of_lines_have_the_unacceptable_sentence_first(tmp_path: Path) -> None:
    texts = {f"zorro/{row['uid']}.txt": f"{row['bad']}\n{row['good']}\n\n".encode() for row in ROWS}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in texts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
            (tmp_path / Path(name).name).write_bytes(content)
    (tmp_path / "zorro.tar.zst").write_bytes(zstandard.compress(buffer.getvalue()))
    assert as_tuples(read_minimal_pairs(tmp_path / "zorro.tar.zst")) == EXPECTED
    (tmp_path / "zorro.tar.zst").unlink()
    assert sorted(as_tuples(read_minimal_pairs(tmp_path))) == sorted(EXPECTED)  # a folder
    assert as_tuples(read_minimal_pairs(tmp_path / "subject_verb.txt")) == EXPECTED[:1]


def test_a_row_without_two_sentences_is_counted(tmp_path: Path) -> None:
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in (*ROWS, {"good": "Alone.", "bad": " "})))
    assert (len(read_minimal_pairs(file).pairs), read_minimal_pairs(file).skipped) == (2, 1)


BAD_FILES = [
    ("pairs.jsonl", '{"text": "A", "label": "b"}\n', r"no column for the acceptable sentence.*found text, label"),
    ("pairs.csv", "good,text\nA dog barks.,x\n", r"no column for the unacceptable sentence.*found good, text"),
    ("pairs.jsonl", "", r"pairs\.jsonl is empty"),
    ("pairs.jsonl", '{"good": "", "bad": ""}\n', r"no pair of two sentences"),
    ("pairs.txt", "one\ntwo\nthree\n", r"odd number of sentences \(3\); expected pairs of lines"),
]


@pytest.mark.parametrize(("name", "content", "expected"), BAD_FILES)
def test_what_is_no_file_of_pairs(tmp_path: Path, name: str, content: str, expected: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputDataError, match=expected):
        read_minimal_pairs(tmp_path / name)


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="does not exist"):
        read_minimal_pairs(tmp_path / "none.jsonl")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(1, 12))
def test_a_limit_takes_as_many_of_each_paradigm_evenly_spaced(kinds: list[int], limit: int) -> None:
    pairs = tuple(
        MinimalPair(good=str(number), bad="x", paradigm=str(kind), place="") for number, kind in enumerate(kinds)
    )
    chosen = MinimalPairs(pairs=pairs, detected="").spread(limit).pairs
    for kind in set(kinds):
        every = [pair for pair in pairs if pair.paradigm == str(kind)]
        some = [pair for pair in chosen if pair.paradigm == str(kind)]
        assert len(some) == min(limit, len(every)) and some[0] == every[0]
        gaps = {every.index(b) - every.index(a) for a, b in pairwise(some)}
        assert not gaps or (max(gaps) - min(gaps) <= 1 and min(gaps) >= 1)


def test_blimp(real_data: Path) -> None:
    read = read_minimal_pairs(real_data / "blimp" / "blimp.jsonl.zst")
    assert (len(read.pairs), len({pair.paradigm for pair in read.pairs})) == (67_000, 67)
    assert read.pairs[0].good == "Who should Derek hug after shocking Richard?"


def test_zorro(real_data: Path) -> None:
    read = read_minimal_pairs(real_data / "zorro" / "zorro_babyberta.tar.zst")
    assert (len(read.pairs), len({pair.paradigm for pair in read.pairs})) == (46_000, 23)
    agreement = [p for p in read.pairs if p.paradigm == "agreement_subject_verb-across_prepositional_phrase"]
    assert (agreement[0].bad, agreement[0].good) == (
        "the lies on the foot is flat .",
        "the lie on the foot is flat .",
    )
