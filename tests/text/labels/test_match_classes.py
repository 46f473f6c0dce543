"""Labels of another file are understood by name, then as in the training file, then as positions; never by chance."""

from __future__ import annotations

import pytest

from pretune.errors import InputDataError
from pretune.text.labels.match_classes import match_classes

NAMES = ("neg", "neutral", "pos")


def match(labels: list[str], originals: tuple[str, ...] = (), notes: list[str] | None = None) -> list[int]:
    places = [f"line {number}" for number in range(1, len(labels) + 1)]
    return match_classes(labels, places, NAMES, originals=originals, notes=notes)


@pytest.mark.parametrize("originals", [("-1", "0", "1"), ("0", "1", "2"), ("a", "0", "1")])
def test_labels_of_the_training_file_are_understood(originals: tuple[str, ...]) -> None:
    """With -1, 0 and 1 as neg, neutral and pos, a file with 0 and 1 alone was read as neg and neutral."""
    notes: list[str] = []
    some = [originals[1], originals[2], originals[1]]
    assert match(some, originals, notes) == [1, 2, 1]
    assert match(["pos", "neg"], originals, notes) == [2, 0]
    assert notes == []


def test_the_letters_of_a_label_may_be_composed_in_another_way() -> None:
    """As they were in files of models that were trained when these letters were not composed."""
    assert match_classes(["caf\u00e9"], ["a"], ("bar", "cafe\u0301")) == [1]
    assert match_classes(["caf\u00e9", "bar"], ["a", "b"], ("0", "1"), originals=("bar", "cafe\u0301")) == [1, 0]
    assert match_classes(["caf\u00e9"], ["a"], ("0", "1"), ["cafe\u0301=1"]) == [1]


def test_names_come_before_labels_of_the_training_file() -> None:
    """Stars from 0 were renamed to stars from 1."""
    places, names, originals = ["a", "b"], ("1", "2", "3"), ("0", "1", "2")
    assert match_classes(["1", "2"], places, names, originals=originals) == [0, 1]
    assert match_classes(["0", "1"], places, names, originals=originals) == [0, 1]


def test_some_names_may_be_those_of_the_training_file() -> None:
    assert match_classes(["0", "1"], ["a", "b"], ("neg", "1"), originals=("0", "1")) == [0, 1]


def test_labels_that_are_not_renamed_are_those_of_the_training_file() -> None:
    """The label 0 was refused with a sentence that named it as one of the training file."""
    places, names = ["a", "b", "c"], ("neg", "pos")
    assert match_classes(["0", "1", "2"], places, names, ["2=pos"], originals=("0", "1")) == [0, 1, 1]
    assert match_classes(["neg", "1", "2"], places, names, ["2=pos", "1=neg"], originals=("0", "1")) == [0, 0, 1]
    with pytest.raises(InputDataError, match=r"a: the label '2', which --label-names renames to 'good', is not one of"):
        match_classes(["2"], ["a"], names, ["2=good"])


def test_positions_are_said() -> None:
    notes: list[str] = []
    assert match(["0", "2"], notes=notes) == match(["0", "2"], ("bad", "so", "good")) == [0, 2]
    assert notes == [
        "The labels are numbers and are taken as the positions of the model's classes (0 is neg, 1 is neutral, 2 is "
        "pos); if that is wrong, rename them with --label-names."
    ]


@pytest.mark.parametrize(
    ("labels", "originals"),
    [(["0", "1"], ("0", "2", "4")), (["0", "1"], ("5", "6", "7")), (["1", "0"], ("1", "2", "3"))],
)
def test_other_numbers_than_those_of_the_training_file_are_no_positions(
    labels: list[str], originals: tuple[str, ...]
) -> None:
    with pytest.raises(InputDataError, match=f"neg, neutral, pos; in its training file {', '.join(originals)}"):
        match(labels, originals)
