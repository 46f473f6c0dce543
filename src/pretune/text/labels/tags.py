"""Tags of words, from entities and back: IOB1, IOB2, IOBES and BILOU, told apart by the tags of a whole file.

IOB1 and IOB2: Ramshaw and Marcus 1995, Tjong Kim Sang and Veenstra 1999. BILOU: Ratinov and Roth 2009. Entities equal
those of seqeval's `get_entities`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

Scheme = Literal["IOB1", "IOB2", "IOBES", "BILOU", "IO"]
OUTSIDE = "O"
UNNAMED_TYPE = "entity"  # of tags without a type: B, I, O
MAX_REPAIRED_FRACTION = 0.5  # of the entities of a file with end tags; with more, the letters mean something else
_TAG = re.compile(r"([BIESLUM])(?:-(\S.*))?")
_AS_IOBES = {"L": "E", "U": "S", "M": "I"}  # last and unit of BILOU, middle of BMES


class WordSpan(NamedTuple):
    """An entity as a range of words: from word `start` to before word `end`."""

    start: int
    end: int
    type: str


class Tag(NamedTuple):
    """A tag taken apart; `letter` is as in IOBES, or empty for a type without a letter."""

    letter: str
    type: str


def parse_tag(tag: str) -> Tag:
    """The letter and the type of a tag; a tag without a letter is a type, as if inside an entity."""
    if tag == OUTSIDE:
        return Tag(OUTSIDE, "")
    found = _TAG.fullmatch(tag)
    if found is None:
        return Tag("", tag)
    return Tag(_AS_IOBES.get(found[1], found[1]), found[2] or UNNAMED_TYPE)


def looks_like_tag(tag: str) -> bool:
    """Whether a word is a tag with a letter, or the tag of words outside entities."""
    return tag == OUTSIDE or _TAG.fullmatch(tag) is not None


def detect_scheme(sentences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme that the tags of all sentences follow.

    IOB1 begins an entity with I, unless another of the same type ends just before it; IOB2 always with B. The one that
    most beginnings agree with is taken. Raises ValueError, with a phrase, for tags that follow no scheme.
    """
    letters: set[str] = set()
    bare: set[str] = set()  # tags without a letter
    begun_with_inside = begun_with_needless = 0
    for tags in sentences:
        before = Tag(OUTSIDE, "")
        for tag in tags:
            parsed = parse_tag(tag)
            letters.add(tag[0] if parsed.letter not in ("", OUTSIDE) else parsed.letter)
            if not parsed.letter:
                bare.add(tag)
            continues = before.type == parsed.type
            begun_with_inside += parsed.letter == "I" and not continues
            begun_with_needless += parsed.letter == "B" and not continues
            before = parsed
    _refuse_mixture(letters, bare)
    if bare:
        return "IO"
    if letters & set("LU"):
        return "BILOU"
    if letters & set("ESM"):
        return "IOBES"
    return "IOB1" if begun_with_inside > begun_with_needless else "IOB2"


def _refuse_mixture(letters: set[str], bare: set[str]) -> None:
    if bare and letters - {"", OUTSIDE}:
        raise ValueError(f"the tag {min(bare)!r} has no letter such as B- or I-, but other tags have one")
    if bare and OUTSIDE not in letters:
        raise ValueError(
            f"no word has the tag O, which words outside entities have; such tags ({min(bare)!r}) are not entities"
        )
    for one, other in (("EL", "both E- and L- end"), ("SU", "both S- and U- are"), ("IM", "both I- and M- are inside")):
        if set(one) <= letters:
            raise ValueError(f"{other} entities")


def entities_of_tags(tags: Sequence[str]) -> list[WordSpan]:
    """The entities of a sentence in any scheme, with unfinished and unbegun ones repaired.

    An entity begins at B and S, and at I and E if nothing of its type is open; it ends after E and S, and before
    anything that does not continue it.
    """
    found: list[WordSpan] = []
    start, kind = 0, ""  # the open entity; none if the type is empty
    for index, tag in enumerate([*tags, OUTSIDE]):
        letter, type = parse_tag(tag)
        if kind and (letter in ("B", "S", OUTSIDE) or type != kind):
            found.append(WordSpan(start, index, kind))
            kind = ""
        if type and not kind:
            start, kind = index, type
        if letter in ("E", "S"):
            found.append(WordSpan(start, index + 1, kind))
            kind = ""
    return found


def count_repairs(tags: Sequence[str], scheme: Scheme) -> int:
    """The number of entities of a sentence that the scheme would write with other tags."""
    entities = entities_of_tags(tags)
    expected = tags_of_entities(entities, len(tags), scheme)
    wrong = {index for index, (tag, right) in enumerate(zip(tags, expected, strict=True)) if not _same(tag, right)}
    return sum(not wrong.isdisjoint(range(entity.start, entity.end)) for entity in entities)


def _same(tag: str, other: str) -> bool:
    return tag == other or parse_tag(tag) == parse_tag(other)


def tags_of_entities(entities: Iterable[WordSpan], num_words: int, scheme: Scheme = "IOB2") -> list[str]:
    """The tags of a sentence with entities that do not overlap."""
    tags = [OUTSIDE] * num_words
    before: WordSpan | None = None
    for entity in sorted(entities):
        start, end, type = entity
        touches = before is not None and before.end == start and before.type == type
        for index in range(start, end):
            letter = _letter(index == start, index == end - 1, touches, scheme)
            tags[index] = f"{letter}-{type}" if letter else type
        before = entity
    return tags


def _letter(is_first: bool, is_last: bool, touches: bool, scheme: Scheme) -> str:
    if scheme == "IO":
        return ""
    if scheme == "IOB1":
        return "B" if is_first and touches else "I"
    if scheme == "IOB2":
        return "B" if is_first else "I"
    last, single = ("E", "S") if scheme == "IOBES" else ("L", "U")
    if is_first:
        return single if is_last else "B"
    return last if is_last else "I"
