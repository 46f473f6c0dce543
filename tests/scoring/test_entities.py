"""Figures of entities equal seqeval's, on random tags and on CoNLL-2003; every error is of one kind."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics import classification_report
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import IOB2

from pretune.scoring.entities import Entity, count_confusions, count_entities, count_errors, summarize_entities

TYPES = ["LOC", "ORG", "PER"]
TAGS = ["O", *(f"{prefix}-{name}" for name in TYPES for prefix in "BI")]
Tags = list[str]


def valid(tags: Sequence[str]) -> Tags:
    """IOB2 without I at the start of an entity."""
    found: Tags = []
    for tag in tags:
        goes_on = bool(found) and found[-1][1:] == tag[1:]
        found.append(f"B-{tag[2:]}" if tag.startswith("I-") and not goes_on else tag)
    return found


def entities_of(tags: Tags) -> list[Entity]:
    """The spans of valid IOB2 tags, without seqeval."""
    found: list[Entity] = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            found.append((place, place + 1, tag[2:]))
        elif tag.startswith("I-"):
            start, _, name = found.pop()
            found.append((start, place + 1, name))
    return found


def seqeval_entities(tags: Tags) -> list[Entity]:
    return [(start, end + 1, name) for name, start, end in get_entities(tags)]


def check_parity(labels: list[Tags], predicted: list[Tags], types: list[str], strict: bool = True) -> None:
    given = {"mode": "strict", "scheme": IOB2} if strict else {}
    expected = classification_report(labels, predicted, output_dict=True, zero_division=0, **given)
    spans_of = entities_of if strict else seqeval_entities
    found = summarize_entities([spans_of(row) for row in labels], [spans_of(row) for row in predicted], types)
    micro, macro = expected["micro avg"], expected["macro avg"]
    assert [found["precision"], found["recall"], found["entity_f1"], found["entities"], found["macro_f1"]] == (
        pytest.approx([micro["precision"], micro["recall"], micro["f1-score"], micro["support"], macro["f1-score"]])
    )
    for row in found["types"]:
        if row["label"] in expected:
            of_type = expected[row["label"]]
            assert [row["precision"], row["recall"], row["f1"], row["support"]] == pytest.approx(
                [of_type["precision"], of_type["recall"], of_type["f1-score"], of_type["support"]]
            )
        else:
            assert row["support"] == row["predicted"] == 0


@st.composite
def tag_rows(draw: st.DrawFn) -> tuple[list[Tags], list[Tags]]:
    """Rows of true tags and of predicted ones, which differ from them in some places."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    labels = [draw(st.lists(st.sampled_from(TAGS), min_size=n, max_size=n)) for n in lengths]
    predicted = [[draw(st.sampled_from(TAGS)) if draw(st.booleans()) else tag for tag in row] for row in labels]
    return labels, predicted


@settings(max_examples=60)
@given(tag_rows())
def test_parity_on_random_tags(rows: tuple[list[Tags], list[Tags]]) -> None:
    labels, predicted = ([valid(row) for row in side] for side in rows)
    if any(entities_of(row) for row in labels + predicted):  # seqeval fails without any
        check_parity(labels, predicted, TYPES)
        check_parity(*rows, TYPES, strict=False)


@settings(max_examples=60)
@given(tag_rows())
def test_each_true_entity_is_a_hit_or_one_kind_of_error(rows: tuple[list[Tags], list[Tags]]) -> None:
    labels, predicted = ([entities_of(valid(row)) for row in side] for side in rows)
    counts = count_entities(labels, predicted, TYPES)
    errors = count_errors(labels, predicted, TYPES)
    kinds = ("wrong_type", "wrong_borders", "wrong_type_and_borders", "missed")
    assert np.array_equal(sum(errors[kind] for kind in kinds), (counts.support - counts.hits).sum(axis=0))
    assert (errors["invented"] <= (counts.predicted - counts.hits).sum(axis=0)).all()
    swapped = count_errors(predicted, labels, TYPES)
    assert np.array_equal(errors["invented"], swapped["missed"])  # seen from the other side
    confusions = count_confusions(labels, predicted, TYPES)
    assert np.array_equal(np.diagonal(confusions), counts.hits.sum(axis=0))
    assert np.array_equal(confusions.sum(axis=1) - np.diagonal(confusions), errors["wrong_type"])


def test_the_kinds_of_errors_by_hand() -> None:
    labels = [[(0, 4, "LOC"), (6, 9, "ORG"), (12, 20, "PER"), (30, 33, "PER"), (40, 44, "LOC")], []]
    predicted = [[(0, 4, "LOC"), (6, 9, "PER"), (12, 15, "PER"), (31, 35, "ORG"), (50, 55, "ORG")], [(0, 2, "LOC")]]
    found = {kind: numbers.tolist() for kind, numbers in count_errors(labels, predicted, TYPES).items()}
    assert found == {
        "wrong_type": [0, 1, 0],
        "wrong_borders": [0, 0, 1],
        "wrong_type_and_borders": [0, 0, 1],
        "missed": [1, 0, 0],
        "invented": [1, 1, 0],
    }
    assert count_confusions(labels, predicted, TYPES).tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]


def test_an_overlap_of_the_right_type_has_wrong_borders() -> None:
    """A prediction that merges two entities is wrong in its borders, for both."""
    merged = count_errors([[(0, 3, "LOC"), (4, 9, "LOC")]], [[(0, 9, "LOC")]], TYPES)
    assert merged["wrong_borders"].tolist() == [2, 0, 0]
    parted = count_errors([[(0, 9, "LOC")]], [[(0, 3, "ORG"), (4, 9, "LOC")]], TYPES)
    assert parted["wrong_borders"].tolist() == [1, 0, 0]
    assert not parted["invented"].any()


def test_neighbours_do_not_overlap() -> None:
    found = count_errors([[(0, 3, "LOC")]], [[(3, 5, "LOC")]], TYPES)
    assert (found["missed"].tolist(), found["invented"].tolist()) == ([1, 0, 0], [1, 0, 0])


def test_rows_without_entities_are_valid() -> None:
    found = summarize_entities([[], []], [[], []], TYPES)
    assert found["entity_f1"] == found["macro_f1"] == 0.0
    json.dumps(found, allow_nan=False)


def test_parts_of_a_document_are_drawn_together() -> None:
    """Ten documents of eight parts, each found or missed as a whole, are ten observations, and not eighty."""
    entity = [(0, 1, "LOC")]
    predicted = [entity if part // 8 % 2 else [] for part in range(80)]
    documents = np.repeat(np.arange(10), 8)
    parts = summarize_entities([entity] * 80, predicted, TYPES, documents)
    alone = summarize_entities([entity] * 10, predicted[::8], TYPES)
    assert parts["entity_f1"] == alone["entity_f1"]
    assert parts["entity_f1_interval"] == pytest.approx(alone["entity_f1_interval"], abs=1e-9)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        summarize_entities([], [], TYPES)
    with pytest.raises(ValueError, match="type 'GPE'; the types are LOC, ORG, PER"):
        count_entities([[(0, 1, "GPE")]], [[]], TYPES)
    with pytest.raises(ValueError, match="argument"):
        count_entities([[]], [[], []], TYPES)


def test_parity_on_conll(real_data: Path) -> None:
    """All 3,250 sentences of the development part, against predictions with tags changed, moved and left out."""
    with (real_data / "entities" / "conll2003_dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8").readlines()
    labels = [valid(json.loads(line)["tags"]) for line in lines]
    types = sorted({tag[2:] for row in labels for tag in row} - {""})
    random = np.random.default_rng(0)
    tags = ["O", *(f"{prefix}-{name}" for name in types for prefix in "BI")]
    predicted = [
        valid([tags[random.integers(len(tags))] if random.random() < 0.05 else tag for tag in row]) for row in labels
    ]
    assert len(labels) == 3250
    check_parity(labels, predicted, types)
