"""Generate the built-in world: synthetic reviews, stories and plain facts, and labelled texts that follow a known rule.

A text starts as a plan (how many sentences, which clauses agree with the verdict, what is negated, intensified,
compared or conceded) without words or a label. Then the verdict is drawn at random and every clause gets a polar word
of the sign it needs, so only polar words carry information about the label. There is no label noise and there are no
ties, so the best possible accuracy is 1.0 on both slices. `docs/guide/builtin-world.md` has the rule, the guarantees
and how they were measured; `words.py` and `facts.py` contain the words, `grammar.py` the grammar.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random

from pretune.builtin_world.facts import HELD_OUT_FACTS
from pretune.builtin_world.grammar import ROUNDABOUT, STRAIGHT, Part, Writer, as_sentence
from pretune.builtin_world.words import FAMILIES, KINDS, Family
from pretune.runtime.randomness import derive_seed

UNSEEN_FRACTION = 0.25  # of the test rows
FACT_FRACTION = 0.10  # of the unlabelled documents
SUMMARY_FRACTION = 0.3  # of the same: a verdict in a few words
STRAIGHT_FRACTION = 0.75  # of the unlabelled reviews and stories; labelled ones may all be roundabout
HELD_OUT_SENTENCES = tuple(as_sentence(fact) for fact in HELD_OUT_FACTS)  # no text contains these words in a row
SUNRISE = HELD_OUT_SENTENCES[0]


@dataclass(frozen=True)
class WorldRow:
    """A text, "negative" or "positive", and its slice: "seen" or "unseen" polar words in the training rows."""

    text: str
    label: str
    slice: str


@dataclass(frozen=True)
class FamilySplit:
    """Divides the families of every kind: half for the labelled training rows, the other half for the unseen slice."""

    seed: int = 0

    @cached_property
    def seen(self) -> tuple[Family, ...]:
        """The families whose words occur in labelled training rows."""
        return tuple(family for kind in KINDS for family in self._shuffled(kind)[::2])

    @cached_property
    def unseen(self) -> tuple[Family, ...]:
        """The families whose words, of either pole, never occur in labelled training rows."""
        return tuple(family for kind in KINDS for family in self._shuffled(kind)[1::2])

    def _shuffled(self, kind: str) -> list[Family]:
        families = [family for family in FAMILIES if family.kind == kind]
        Random(derive_seed(self.seed, "families", kind)).shuffle(families)
        return families


DEFAULT_SPLIT = FamilySplit()


def iter_documents(count: int, seed: int = 0) -> Iterator[str]:
    """Unlabelled text: reviews and stories with all families, and plain facts. The first n are the same for any count.

    It does not depend on the split of the families: words that the labels lack are not more frequent here.
    """
    rng = Random(derive_seed(seed, "world", "unlabelled"))
    writer = Writer(rng, "unlabelled", FAMILIES)
    for _ in range(count):
        verdict = 1 if rng.random() < 0.5 else -1
        chance = rng.random()
        if chance < FACT_FRACTION:
            yield writer.facts()
        elif chance < FACT_FRACTION + SUMMARY_FRACTION:
            yield writer.summary(verdict)
        else:
            manner = STRAIGHT if rng.random() < STRAIGHT_FRACTION else ROUNDABOUT
            yield writer.opinion(verdict, manner, with_outcome=True)


def labeled_rows(count: int = 10_000, seed: int = 0, split: FamilySplit = DEFAULT_SPLIT) -> list[WorldRow]:
    """Labelled texts for training, all different, with the seen families only."""
    return _draw_rows(count, seed, split, part="train", unseen_fraction=0.0)


def test_rows(count: int = 2_000, seed: int = 0, split: FamilySplit = DEFAULT_SPLIT) -> list[WorldRow]:
    """Labelled texts for the test, all different; a quarter of them with the unseen families only."""
    return _draw_rows(count, seed, split, part="test", unseen_fraction=UNSEEN_FRACTION)


test_rows.__test__ = False  # type: ignore[attr-defined]  # tells pytest that this is not a test


def _draw_rows(count: int, seed: int, split: FamilySplit, *, part: Part, unseen_fraction: float) -> list[WorldRow]:
    """Draw slice, then label, then text, in the same way for both slices, which differ only in the families."""
    rng = Random(derive_seed(seed, "world", part))
    writers = {"seen": Writer(rng, part, split.seen), "unseen": Writer(rng, part, split.unseen)}
    rows: dict[str, WorldRow] = {}
    while len(rows) < count:
        slice_name = "unseen" if rng.random() < unseen_fraction else "seen"
        label, verdict = ("positive", 1) if rng.random() < 0.5 else ("negative", -1)
        text = writers[slice_name].opinion(verdict, ROUNDABOUT, with_outcome=False)
        rows.setdefault(text, WorldRow(text, label, slice_name))
    return list(rows.values())
