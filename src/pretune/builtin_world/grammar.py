"""The grammar of the built-in world: plans without words or label; a writer that makes texts of plan and verdict."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Literal, NamedTuple, TypeVar
from zlib import crc32

from pretune.builtin_world import words
from pretune.builtin_world.facts import FACT_FRAMES, THEMES

T = TypeVar("T")
Part = Literal["unlabelled", "train", "test"]

# --- the plan: what a text is made of, before any word and without any label ---------------------------------------


@dataclass(frozen=True)
class Form:
    """One way to put a judgement: what it counts, whether it turns the sign of its words, and how often it is drawn."""

    name: Literal["plain", "strong", "weak", "pair", "equal", "unequal", "not", "neither"]
    weight: float
    is_turned: bool
    percent: int


FORMS = (
    Form("plain", 1.0, False, 44),  # the plot was dull
    Form("strong", 2.0, False, 11),  # the plot was very dull
    Form("weak", 0.5, False, 6),  # the plot was slightly dull
    Form("pair", 2.0, False, 20),  # the plot was dull and trite
    Form("equal", 1.0, False, 4),  # the plot was as dull as last time
    Form("unequal", 1.0, True, 3),  # the plot was less dull than last time
    Form("not", 1.0, True, 9),  # the plot was far from dull
    Form("neither", 2.0, True, 3),  # the plot was neither dull nor trite
)

# Two opposite judgements in one sentence: the conceded one does not count.
CONTRASTS = (
    "{conceded}, but {main}",
    "{conceded}, but {main}",
    "{conceded}, yet {main}",
    "although {conceded}, {main}",
    "even though {conceded}, {main}",
    "{main}, although {conceded}",
    "{main}, even though {conceded}",
)


@dataclass(frozen=True)
class Manner:
    """What plans are drawn from, each entry as often as it is to be drawn."""

    forms: tuple[Form, ...]
    shapes: tuple[str, ...]
    dissent_prob: float
    lengths: tuple[int, ...] = (1, 2, 2, 3)  # sentences


ROUNDABOUT = Manner(
    forms=tuple(form for form in FORMS for _ in range(form.percent)),
    shapes=("single",) * 9 + ("joined",) * 8 + ("contrast",) * 3,
    dissent_prob=0.1,
)
STRAIGHT = Manner(  # no negation, no contrast, no dissent: most people say what they mean
    forms=tuple(form for form in ROUNDABOUT.forms if not form.is_turned),
    shapes=("single",) * 9 + ("joined",) * 8,
    dissent_prob=0.0,
)


class Planned(NamedTuple):
    """A sentence to be written; of a contrast the first form is the conceded one."""

    shape: str
    forms: tuple[Form, ...]
    is_dissent: bool = False

    @property
    def weight(self) -> float:
        """How much the sentence adds to its side."""
        return sum(form.weight for form in (self.forms[1:] if self.shape == "contrast" else self.forms))


def draw_plan(rng: Random, manner: Manner) -> list[Planned]:
    """One to three sentences, sometimes with a dissenting one more; a verdict is never closer than 1."""
    while True:
        plan = []
        for _ in range(pick(rng, manner.lengths)):
            shape = pick(rng, manner.shapes)
            num_clauses = 1 if shape == "single" else 2
            plan.append(Planned(shape, tuple([pick(rng, manner.forms) for _ in range(num_clauses)])))
        margin = sum(planned.weight for planned in plan)
        if rng.random() < manner.dissent_prob:
            dissent = Planned("single", (pick(rng, manner.forms),), is_dissent=True)
            margin -= dissent.weight
            plan.insert(int(rng.random() * (len(plan) + 1)), dissent)
        if margin >= 1:
            return plan


def pick(rng: Random, options: Sequence[T]) -> T:
    """One of the options; twice as fast as `rng.choice`, and fixed for all versions of Python."""
    return options[int(rng.random() * len(options))]


# --- parts: every sentence belongs to one part by its hash, so the parts share no sentence --------------------------

_UNLABELLED: tuple[Part, ...] = ("unlabelled",)
_PARTS: tuple[Part, ...] = ("test", "train", "train", "train", *_UNLABELLED * 12)


def part_of(sentence: str) -> Part:
    """The part of the data that may hold this sentence; case and final punctuation do not matter."""
    return _PARTS[crc32(sentence.lower().rstrip(".!?").encode()) & 15]


# --- the writer -----------------------------------------------------------------------------------------------------

Frame = tuple[bool, str, str]  # does the teller come first; what stands before the aspect; and what after it


def _frames(was: str) -> tuple[Frame, ...]:
    """How a judgement is worded, each as often as it is to be drawn: half of them 'the plot was ...'."""
    return (
        *[(False, "", f" {was} ")] * 40,
        *[(False, "", " seemed ")] * 12,
        *[(True, " found ", " ")] * 12,
        *[(True, " thought that ", f" {was} ")] * 8,
        *[(False, f"{other} called ", " ") for other in words.OTHERS],
    )


_FRAMES = {False: _frames("was"), True: _frames("were")}
_REVIEW_PROB = 0.6  # that a text is told by somebody rather than of somebody
_LEAD_IN_PROB = 0.15
_OPENING_PROB = 0.4
_SPECIFIC_PROB = 0.7  # that a word of the aspect's own kind is taken rather than one that fits everything
_MAX_DRAFTS = 1000
_COUNTS = {"three": 3, "four": 4, "five": 5}
_OUTCOME_TABLE = (1, 1, 2)
Aspect = tuple[str, str, tuple[Frame, ...]]  # kind, "the plot", how to judge it


def _read_aspects(domain: words.Domain) -> tuple[Aspect, ...]:
    return tuple(
        (kind, "the " + name.rstrip("*"), _FRAMES[name.endswith("*")])
        for kind, names in domain.aspects.items()
        for name in names.split(", ")
    )


_ASPECTS = {domain.name: _read_aspects(domain) for domain in words.DOMAINS}


class Writer:
    """Writes texts of one part with the polar words of some families; all chance comes from one generator."""

    def __init__(self, rng: Random, part: Part, families: Sequence[words.Family]) -> None:
        self.rng = rng
        self.part = part
        self.polar = {
            (kind, sign): tuple(word for family in families if family.kind == kind for word in family.side(sign))
            for kind in words.KINDS
            for sign in (-1, 1)
        }

    def opinion(self, verdict: int, manner: Manner, *, with_outcome: bool) -> str:
        """A review (told by "I" or "we") or a story (told of somebody): an opening now and then, judgements, outcomes.

        `verdict` is 1 or -1. Outcomes give the verdict away in words that are no polar words: unlabelled text only.
        """
        rng, told = self.rng, list[str]()
        domain, who = self._choose_subject()
        if rng.random() < _OPENING_PROB:
            self._tell(told, partial(self._opening, domain, who))
        free = list(_ASPECTS[domain.name])
        for planned in draw_plan(rng, manner):
            sign = -verdict if planned.is_dissent else verdict
            aspects = [_take(rng, free) for _ in planned.forms]
            self._tell(told, partial(self._judgement, planned, aspects, sign, who))
        if with_outcome:
            self._tell_outcomes(told, domain, verdict, who)
        return " ".join(told)

    def summary(self, verdict: int) -> str:
        """A verdict in a few words and what followed: 'The pie in three words: tasty, ripe and lovely. We loved it.'"""
        told = list[str]()
        domain, who = self._choose_subject()
        self._tell(told, partial(self._list, domain, verdict))
        self._tell_outcomes(told, domain, verdict, who)
        return " ".join(told)

    def facts(self) -> str:
        """Two to four plain facts of one theme."""
        rng = self.rng
        theme = int(rng.random() * len(THEMES))
        sentences = []
        for _ in range(pick(rng, (2, 3, 4))):
            if rng.random() < 0.5:
                sentences.append(pick(rng, THEMES[theme]))
            else:
                frame = self._fill(pick(rng, FACT_FRAMES), pick(rng, words.NAMES))
                sentences.append(frame.replace("{fact}", pick(rng, THEMES[theme])))
        return " ".join(as_sentence(sentence) for sentence in sentences)

    def _choose_subject(self) -> tuple[words.Domain, str]:
        """A domain and who tells of it, or of whom it is told."""
        domain = pick(self.rng, words.DOMAINS)
        return domain, pick(self.rng, words.TELLERS if self.rng.random() < _REVIEW_PROB else words.NAMES)

    def _tell(self, told: list[str], draft: Callable[[], str]) -> None:
        """Add the first draft whose hash falls into this writer's part and that has not been told yet."""
        for _ in range(_MAX_DRAFTS):
            sentence = as_sentence(draft())
            if part_of(sentence) == self.part and sentence not in told:
                told.append(sentence)
                return
        raise AssertionError(
            f"no sentence for the part {self.part!r} in {_MAX_DRAFTS} drafts, the last one: {sentence}"
        )

    def _tell_outcomes(self, told: list[str], domain: words.Domain, verdict: int, who: str) -> None:
        for _ in range(pick(self.rng, _OUTCOME_TABLE)):
            self._tell(told, partial(self._outcome, domain, verdict, who))

    def _opening(self, domain: words.Domain, who: str) -> str:
        return self._fill(pick(self.rng, domain.openings), who)

    def _judgement(self, planned: Planned, aspects: Sequence[Aspect], sign: int, who: str) -> str:
        rng = self.rng
        if planned.shape == "contrast":
            conceded = self._clause(planned.forms[0], aspects[0], -sign, who)
            main = self._clause(planned.forms[1], aspects[1], sign, who)
            return pick(rng, CONTRASTS).format(conceded=conceded, main=main)
        lead_in = pick(rng, words.LEAD_INS) + ", " if rng.random() < _LEAD_IN_PROB else ""
        clauses = [self._clause(form, aspect, sign, who) for form, aspect in zip(planned.forms, aspects, strict=True)]
        return lead_in + pick(rng, (", and ", ", and ", "; ")).join(clauses)

    def _clause(self, form: Form, aspect: Aspect, sign: int, who: str) -> str:
        """One aspect judged: 'the plot was far from dull'."""
        rng = self.rng
        kind, thing, frames = aspect
        if rng.random() > _SPECIFIC_PROB:
            kind = "any"
        options = self.polar[kind, -sign if form.is_turned else sign]
        judged = _JUDGED[form.name](rng, pick(rng, options), options)
        is_told, before, between = pick(rng, frames)
        return f"{who if is_told else ''}{before}{thing}{between}{judged}"

    def _list(self, domain: words.Domain, sign: int) -> str:
        """One aspect in three to five words of one sign."""
        rng = self.rng
        kind, thing, _ = pick(rng, _ASPECTS[domain.name])
        number = pick(rng, ("three", "three", "four", "five"))
        chosen: dict[str, None] = {}
        while len(chosen) < _COUNTS[number]:
            chosen[pick(rng, self.polar[kind if rng.random() < 0.5 else "any", sign])] = None
        *first, last = chosen
        return f"{thing} in {number} words: {', '.join(first)} and {last}"

    def _outcome(self, domain: words.Domain, verdict: int, who: str) -> str:
        rng = self.rng
        outcome = words.HAPPY if verdict > 0 else words.UNHAPPY
        endings = domain.happy if verdict > 0 else domain.unhappy
        chance = rng.random()
        if chance < 0.4:
            subject = who if rng.random() < 0.5 else pick(rng, words.OTHERS)
            return f"{subject} {pick(rng, outcome.verbs)} {pick(rng, words.OBJECTS)}"
        if chance < 0.6:
            subject = who if rng.random() < 0.5 else pick(rng, words.OTHERS)
            return f"{subject} {pick(rng, outcome.gestures)} {pick(rng, words.MOMENTS)}"
        if chance < 0.75:
            return f"{pick(rng, outcome.adverbs)}, {self._fill(pick(rng, words.NEUTRAL_ENDS), who)}"
        return self._fill(pick(rng, outcome.ends if chance < 0.9 else endings), who)

    def _fill(self, template: str, who: str) -> str:
        """A template with its teller and a fresh draw for every other slot."""
        pieces = _PIECES[template].copy()
        for i in range(1, len(pieces), 2):
            pieces[i] = who if pieces[i] == "who" else pick(self.rng, words.SLOTS[pieces[i]])
        return "".join(pieces)


def _another(rng: Random, word: str, options: Sequence[str]) -> str:
    other = word
    while other == word:
        other = pick(rng, options)
    return other


# Form to words: each takes the generator, a polar word and the words it was drawn from.
_JUDGED: dict[str, Callable[[Random, str, Sequence[str]], str]] = {
    "plain": lambda rng, word, options: word,
    "strong": lambda rng, word, options: f"{pick(rng, words.STRONG)} {word}",
    "weak": lambda rng, word, options: f"{pick(rng, words.WEAK)} {word}",
    "pair": lambda rng, word, options: f"{word} and {_another(rng, word, options)}",
    "equal": lambda rng, word, options: f"{pick(rng, words.EQUAL)} {word} as {pick(rng, words.REFERENCES)}",
    "unequal": lambda rng, word, options: (
        f" {word} ".join(pick(rng, words.UNEQUAL)) + " " + pick(rng, words.REFERENCES)
    ),
    "not": lambda rng, word, options: f"{pick(rng, words.NEGATORS)} {word}",
    "neither": lambda rng, word, options: f"neither {word} nor {_another(rng, word, options)}",
}


def _take(rng: Random, free: list[T]) -> T:
    """One of the free ones, which is then taken."""
    i = int(rng.random() * len(free))
    free[i], free[-1] = free[-1], free[i]
    return free.pop()


def as_sentence(text: str) -> str:
    """'the plot was dull' as 'The plot was dull.'"""
    return text[0].upper() + text[1:] + "."


# Templates cut at their slots once: text, slot, text, slot, ..., text.
_PIECES = {
    template: re.split(r"{(?!fact)(\w+)}", template)
    for template in (
        *FACT_FRAMES,
        *words.NEUTRAL_ENDS,
        *words.HAPPY.ends,
        *words.UNHAPPY.ends,
        *(template for d in words.DOMAINS for template in (*d.openings, *d.happy, *d.unhappy)),
    )
}
