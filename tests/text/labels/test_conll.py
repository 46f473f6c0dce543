"""Columns of words and tags become sentences, whatever separates them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.text.labels.conll import iter_conll, sniff_conll
from pretune.text.raw.text_stream import TextStream
from pretune.text.readers.records import Record
from pretune.text.reading_report import Findings

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
# NN I-NP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""
GERMEVAL = """# source: a page, 2009
1\tSchartau\tB-PER\tO
2\tsagte\tO\tO

#\tanother source
1\tBerlin\tB-LOC\tO
2\tX\tO\tB-OTH
"""


def read(path: Path, text: str, columns: tuple[str, ...] = (), findings: Findings | None = None) -> list[Record]:
    path.write_text(text, encoding="utf-8")
    findings = findings or Findings()
    return list(iter_conll(TextStream(path, findings), findings, columns))


def values(records: list[Record]) -> list[tuple[list[str], list[str]]]:
    return [(r.values["tokens"], r.values["tags"]) for r in records if r.values is not None]


def test_columns_of_conll_2003(tmp_path: Path) -> None:
    records = read(tmp_path / "rows.txt", CONLL_2003)
    assert values(records) == [
        (["EU", "rejects", "#"], ["B-ORG", "O", "O"]),
        (["Peter", "Blackburn"], ["B-PER", "I-PER"]),
    ]
    assert [record.line for record in records] == [3, 7]
    assert records[1].fields["tags"] == '["B-PER", "I-PER"]'


def test_counted_words_between_tabs_with_comments(tmp_path: Path) -> None:
    records = read(tmp_path / "rows.tsv", GERMEVAL)
    assert values(records) == [(["Schartau", "sagte"], ["O", "O"]), (["Berlin", "X"], ["O", "B-OTH"])]
    by_number = read(tmp_path / "rows.tsv", GERMEVAL, ("2", "3", "9"))
    assert by_number[0].values is not None
    assert (by_number[0].values["2"], by_number[0].values["3"]) == (["Schartau", "sagte"], ["B-PER", "O"])
    assert "9" not in by_number[0].values


def test_whether_words_are_counted_is_decided_for_the_whole_file(tmp_path: Path) -> None:
    """The sentence of the word 1 lost it, and was one of the word CD."""
    records = read(tmp_path / "rows.txt", CONLL_2003 + "\n1 CD B-NP O\n\n1 CD B-NP O\n. . O O\n")
    assert values(records)[2:] == [(["1"], ["O"]), (["1", "."], ["O", "O"])]


def test_lines_of_several_words_and_of_none_are_left_out_where_words_are_counted(tmp_path: Path) -> None:
    """A sentence with them was one of the words 1, 2, 3."""
    text = "1\tAda\tB-PER\n2-3\tal\t_\n2\ta\tO\n3\tel\tO\n3.1\tgo\t_\n4\tRoma\tB-LOC\n\n1\tSi\tO\n"
    records = read(tmp_path / "rows.tsv", text)
    assert values(records) == [(["Ada", "a", "el", "Roma"], ["B-PER", "O", "O", "B-LOC"]), (["Si"], ["O"])]
    with pytest.raises(InputDataError, match=r"line 2: expected the number of a word, the word and its tag, found two"):
        read(tmp_path / "rows.tsv", "1\tAda\tO\n2\tRoma\n\n1\tSi\tO\n2\tno\tO\n3\tya\tO\n")
    uncounted = read(tmp_path / "rows.txt", "3-4\tO\nwas\tO\n8.1\tB-X\n")
    assert values(uncounted) == [(["3-4", "was", "8.1"], ["O", "O", "B-X"])]


def test_a_word_with_a_blank_between_tabs_and_a_header(tmp_path: Path) -> None:
    records = read(tmp_path / "rows.tsv", "word\ttag\n20 000\tB-NUM\nEuro\tI-NUM\n")
    assert values(records) == [(["20 000", "Euro"], ["B-NUM", "I-NUM"])]


@pytest.mark.parametrize("sign", ["\u00a0", "\u2009", "\u202f", "\u3000"])
def test_only_blanks_and_tabs_separate_cells(tmp_path: Path, sign: str) -> None:
    """A number with such a space between its digits was read as two cells."""
    text = f"20{sign}000 CD B-NUM\neuros NN O\n{sign} SP O\n\n"
    assert values(read(tmp_path / "rows.txt", text)) == [([f"20{sign}000", "euros", sign], ["B-NUM", "O", "O"])]
    assert sniff_conll(text)
    assert read(tmp_path / "rows.txt", text, ("2",))[0].fields["2"] == '["CD", "NN", "SP"]'
    tabs = text.replace(" CD ", "\tCD\t").replace(" NN ", "\tNN\t").replace(" SP ", "\tSP\t")
    assert values(read(tmp_path / "rows.tsv", tabs)) == values(read(tmp_path / "rows.txt", text))


def test_a_line_without_a_tag_is_counted_and_many_are_refused(tmp_path: Path) -> None:
    findings = Findings()
    assert len(read(tmp_path / "rows.txt", "a O\nb O\n\n" * 100 + "lost\n\n", findings=findings)) == 100
    assert (findings.dropped.total, findings.unparsable_rows) == (1, [(301, 200)])
    with pytest.raises(InputDataError, match=r"line 2: expected a word and its tag, found a single cell"):
        read(tmp_path / "rows.txt", "a O\nlost\n\nb O\n")


@pytest.mark.parametrize(
    "text",
    [CONLL_2003, GERMEVAL, "a O\nb B-X\n\nc O\n", "a\tO\nb\tI\n\nc\tB\nd\tO\n", "word\tner\na\tO\nb\tO\n\nc\tO\n"],
)
def test_columns_are_recognised(text: str) -> None:
    assert sniff_conll(text)


@pytest.mark.parametrize(
    "text",
    [
        "text\tlabel\nA film.\tO\nA book.\tO\n\n",
        "A film I saw.\n\nIt was good.\nYes.\n",
        '{"text": "a", "label": "O"}\n\n' * 3,
        "a O\nb O\nc O\n",
        "a B-X\n",
        "",
        "the DT\ncat NN\nsat VB\n\n",
    ],
)
def test_other_texts_are_not(text: str) -> None:
    assert not sniff_conll(text)
