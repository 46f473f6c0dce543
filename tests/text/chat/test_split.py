"""Conversations on three sides by the hash of the first question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretune.errors import InputDataError, UsageError
from pretune.text.chat.split import ChatSplit, split_conversations
from pretune.text.splits import SPLITS, split_of


def write(path: Path, pairs: list[tuple[str, str]]) -> Path:
    lines = [json.dumps({"question": question, "answer": reply}) + "\n" for question, reply in pairs]
    path.write_text("".join(lines), encoding="utf-8")
    return path


PAIRS = [(f"Question {n % 150}?", f"Reply {n}.") for n in range(200)]


def split(path: Path, test: Path | None = None, *, validation: float = 0.1, of_test: float = 0.1) -> ChatSplit:
    return split_conversations(path, test, keeps_lines=False, validation_fraction=validation, test_fraction=of_test)


def test_equal_questions_share_a_side_that_only_depends_on_them(tmp_path: Path) -> None:
    found = split(write(tmp_path / "pairs.jsonl", PAIRS))
    sides = {side: {record.key for record in found.by_split[side]} for side in SPLITS}
    assert sum(map(len, sides.values())) == 150
    assert all(split_of(key, 0.1, 0.1) == side for side, keys in sides.items() for key in keys)
    assert len(found.all) == 200
    assert found.num_read == {"rows": 200}


def test_a_test_file_is_the_test_split(tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", [(f"Test {n}?", "So.") for n in range(30)] + [("question  3?", "So.")])
    found = split(write(tmp_path / "pairs.jsonl", PAIRS), test)
    assert len(found.by_split["test"]) == 31
    kept = [*found.by_split["train"], *found.by_split["validation"]]
    assert len(kept) == 198
    assert "question 3?" not in {record.key for record in kept}
    assert found.num_read == {"rows": 200, "test rows": 31}


def test_a_test_file_may_have_other_columns(tmp_path: Path) -> None:
    test = tmp_path / "test.jsonl"
    turns = [{"role": "user", "content": "Hm?"}, {"role": "assistant", "content": "So."}]
    test.write_text("".join(json.dumps({"id": n, "messages": turns}) + "\n" for n in range(2)))
    assert len(split(write(tmp_path / "pairs.jsonl", PAIRS), test).by_split["test"]) == 1  # the second repeats it


def write_alpaca(path: Path, first: int) -> Path:
    rows = [
        {"instruction": "Answer as a doctor.", "input": f"It hurts {n}.", "output": f"Rest {n} days."}
        for n in range(first, first + 40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_the_input_of_a_test_file_is_read_as_that_of_the_training_file(tmp_path: Path) -> None:
    """It was left out, so that all test questions were the same instruction."""
    test = write_alpaca(tmp_path / "test.jsonl", 38)
    found = split(write_alpaca(tmp_path / "train.jsonl", 0), test)
    questions = {record.conversation.question for record in found.by_split["test"]}
    assert len(questions) == 40
    assert "Answer as a doctor. It hurts 38." in questions
    assert len([*found.by_split["train"], *found.by_split["validation"]]) == 38  # two are in the test file
    reasons = [file.columns.reason for file in found.files]
    assert reasons == ["Columns of questions and replies, by their names."] * 2


def test_a_test_file_without_the_input_has_questions_without_it(tmp_path: Path) -> None:
    rows = [{"instruction": f"Why {n}?", "output": "So."} for n in range(10)]
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = split(write_alpaca(tmp_path / "train.jsonl", 0), tmp_path / "test.jsonl")
    assert found.files[1].columns.used == ("instruction", "output")
    assert len(found.by_split["test"]) == 10


def write_talks(path: Path, column: str, begin: str) -> Path:
    raw = [{"role": "user", "content": "Raw?"}, {"role": "assistant", "content": "No."}]
    turns = [[{"role": "user", "content": f"{begin} {n}?"}, {"role": "assistant", "content": "So."}] for n in range(40)]
    path.write_text("".join(json.dumps({"messages": raw, column: each}) + "\n" for each in turns), encoding="utf-8")
    return path


def test_a_named_column_is_that_of_the_test_file_as_well(tmp_path: Path) -> None:
    """Of a column of messages, the name was dropped for the test file."""
    train = write_talks(tmp_path / "train.jsonl", "edited", "A question")
    test = write_talks(tmp_path / "test.jsonl", "edited", "Another")
    found = split_conversations(train, test, question_column="edited", keeps_lines=False)
    assert len({record.key for record in found.by_split["test"]}) == 40
    other = write_talks(tmp_path / "other.jsonl", "other", "Another")
    with pytest.raises(InputDataError, match=r"other\.jsonl has no column 'edited', which --text-column names"):
        split_conversations(train, other, question_column="edited", keeps_lines=False)


def test_too_few(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="1 usable conversation, which leaves none"):
        split(write(tmp_path / "pairs.jsonl", PAIRS[:1]))


def test_impossible_fractions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave no room"):
        split(write(tmp_path / "pairs.jsonl", PAIRS), validation=0.6, of_test=0.5)


def test_no_test_split_is_warned_of(tmp_path: Path) -> None:
    found = split(write(tmp_path / "pairs.jsonl", PAIRS), of_test=0.0)
    assert "no_test" in {concern.rule for concern in found.lint.concerns}
