"""Tags in every scheme give the entities that seqeval finds, and come back from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from seqeval.scheme import BILOU, IOB1, IOB2, IOBES, Entities

from pretune.text.labels.tags import (
    Scheme,
    WordSpan,
    count_repairs,
    detect_scheme,
    entities_of_tags,
    parse_tag,
    tags_of_entities,
)
from pretune.text.readers.tables import iter_records

TYPES = ("PER", "ORG", "I-B")
SCHEMES: dict[Scheme, type] = {"IOB1": IOB1, "IOB2": IOB2, "IOBES": IOBES, "BILOU": BILOU}


def tags_with(letters: str) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(["O", *(f"{letter}-{type}" for letter in letters for type in TYPES)]), max_size=12)


@st.composite
def entities(draw: st.DrawFn) -> tuple[list[WordSpan], int]:
    """Entities that do not overlap, and the number of words."""
    found, position = [], 0
    for gap, length, type in draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.sampled_from(TYPES)), max_size=5)
    ):
        found.append(WordSpan(position + gap, position + gap + length, type))
        position += gap + length
    return found, position + draw(st.integers(0, 2))


@given(tags_with("BIES"))
def test_entities_of_any_tags_equal_those_of_seqeval(tags: list[str]) -> None:
    assert [(e.type, e.start, e.end - 1) for e in entities_of_tags(tags)] == get_entities(tags)


@given(tags_with("BILU"))
def test_last_and_unit_are_end_and_single(tags: list[str]) -> None:
    as_iobes = [tag.replace("L-", "E-", 1).replace("U-", "S-", 1) for tag in tags]
    assert [(e.type, e.start, e.end - 1) for e in entities_of_tags(tags)] == get_entities(as_iobes)


@pytest.mark.parametrize("scheme", SCHEMES)
@given(found=entities())
def test_tags_and_entities_agree_with_the_schemes_of_seqeval(scheme: Scheme, found: tuple[list[WordSpan], int]) -> None:
    spans, num_words = found
    tags = tags_of_entities(spans, num_words, scheme)
    assert entities_of_tags(tags) == spans
    assert count_repairs(tags, scheme) == 0
    [strict] = Entities([tags], SCHEMES[scheme]).entities
    assert [(e.tag, e.start, e.end) for e in strict] == [(type, start, end) for start, end, type in spans]


@given(tags_with("BIES"))
def test_entities_that_break_the_scheme_are_those_that_a_strict_reader_loses(tags: list[str]) -> None:
    [strict] = Entities([tags], IOBES).entities
    kept = {(entity.start, entity.end, entity.tag) for entity in strict}
    lost = [e for e in entities_of_tags(tags) if tuple(e) not in kept]
    assert count_repairs(tags, "IOBES") == len(lost)


@pytest.mark.parametrize(
    ("sentences", "scheme"),
    [
        ([["I-PER", "I-PER", "O"], ["I-ORG", "B-ORG"]], "IOB1"),
        ([["B-PER", "I-PER", "O"], ["B-ORG", "B-ORG"]], "IOB2"),
        ([["B-PER", "O"]], "IOB2"),
        ([["I-PER", "O"]], "IOB1"),
        ([["B-PER", "O"], ["B-ORG"], ["I-PER"]], "IOB2"),
        ([["S-PER", "O"], ["B-ORG", "E-ORG"]], "IOBES"),
        ([["B-PER", "M-PER", "E-PER", "O"]], "IOBES"),
        ([["U-PER", "O"], ["B-ORG", "L-ORG"]], "BILOU"),
        ([["PER", "PER", "O", "LOC"]], "IO"),
        ([["B", "I", "O"]], "IOB2"),
        ([["O", "O"], []], "IOB2"),
    ],
)
def test_the_scheme_is_told_by_all_tags(sentences: list[list[str]], scheme: Scheme) -> None:
    assert detect_scheme(sentences) == scheme


@given(st.lists(entities(), min_size=1, max_size=4))
def test_iob1_and_iob2_are_told_apart(found: list[tuple[list[WordSpan], int]]) -> None:
    sentences = {s: [tags_of_entities(spans, n, s) for spans, n in found] for s in ("IOB1", "IOB2")}
    if any(spans for spans, _ in found):
        assert detect_scheme(sentences["IOB1"]) == "IOB1"
    assert detect_scheme(sentences["IOB2"]) == "IOB2"


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (["B-PER", "LOC", "O"], "the tag 'LOC' has no letter"),
        (["NN", "VB"], r"no word has the tag O.*'NN'"),
        (["E-PER", "L-PER", "O"], "both E- and L- end"),
        (["S-PER", "U-PER", "O"], "both S- and U- are"),
        (["B-PER", "I-PER", "M-PER"], "both I- and M- are inside"),
    ],
)
def test_tags_without_sense(tags: list[str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        detect_scheme([tags])


def test_an_inside_tag_without_a_beginning_begins_an_entity() -> None:
    assert entities_of_tags(["O", "I-PER", "I-PER", "I-LOC"]) == [(1, 3, "PER"), (3, 4, "LOC")]
    assert count_repairs(["O", "I-PER", "I-PER", "I-LOC", "B-LOC"], "IOB2") == 2


def test_types_may_be_missing_or_contain_a_hyphen() -> None:
    assert parse_tag("B-work-of-art") == ("B", "work-of-art")
    assert entities_of_tags(["B", "I", "O", "B"]) == [(0, 2, "entity"), (3, 4, "entity")]


@pytest.mark.parametrize(
    "name", ["conll2003_dev.jsonl.zst", pytest.param("conll2003_train.jsonl.zst", marks=pytest.mark.slow)]
)
def test_the_entities_of_a_real_file_equal_those_of_seqeval(real_data: Path, name: str) -> None:
    sentences = [record.values["tags"] for record in iter_records(real_data / "entities" / name) if record.values]
    assert detect_scheme(sentences) == "IOB1"
    for tags in sentences:
        found = entities_of_tags(tags)
        assert [(e.type, e.start, e.end - 1) for e in found] == get_entities(tags)
        for scheme in SCHEMES:
            assert entities_of_tags(tags_of_entities(found, len(tags), scheme)) == found
