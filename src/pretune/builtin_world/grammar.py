"""The grammar of the built-in world: plans without words or label, and a writer that turns a plan into a text."""

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

# --- the plan: the structure of a text, before any words and without a label ----------------------------------------


@dataclass(frozen=True)
class Form:
    """One form of a judgement: its weight, whether it turns the sign of its words, and how often it is drawn."""

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
    """The options that plans are drawn from; an entry is repeated according to its frequency."""

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
    """A sentence to write; in a contrast, the first form is the conceded one."""

    shape: str
    forms: tuple[Form, ...]
    is_dissent: bool = False

    @property
    def weight(self) -> float:
        """The weight that the sentence adds to its side."""
        return sum(form.weight for form in (self.forms[1:] if self.shape == "contrast" else self.forms))


def draw_plan(rng: Random, manner: Manner) -> list[Planned]:
    """Draw one to three sentences, sometimes with an extra dissenting one; the margin is always at least 1."""
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
    """Draw one of the options; twice as fast as `rng.choice`, and the same in all versions of Python."""
    return options[int(rng.random() * len(options))]


# --- parts: every sentence belongs to one part by its hash, so the parts share no sentence --------------------------

_UNLABELLED: tuple[Part, ...] = ("unlabelled",)
_PARTS: tuple[Part, ...] = ("test", "train", "train", "train", *_UNLABELLED * 12)


def part_of(sentence: str) -> Part:
    """The part of the data that may contain this sentence; case and final punctuation do not matter."""
    return _PARTS[crc32(sentence.lower().rstrip(".!?").encode()) & 15]


# --- the writer -----------------------------------------------------------------------------------------------------

Frame = tuple[bool, str, str]  # whether the teller comes first, and the words before and after the aspect


def _frames(was: str) -> tuple[Frame, ...]:
    """Wordings of a judgement, repeated according to their frequency: half of them are 'the plot was ...'."""
    return (
        *[(False, "", f" {was} ")] * 40,
        *[(False, "", " seemed ")] * 12,
        *[(True, " found ", " ")] * 12,
        *[(True, " thought that ", f" {was} ")] * 8,
        *[(False, f"{other} called ", " ") for other in words.OTHERS],
    )


_FRAMES = {False: _frames("was"), True: _frames("were")}
_REVIEW_PROB = 0.6  # of a first-person text, rather than one about somebody
_LEAD_IN_PROB = 0.15
_OPENING_PROB = 0.4
_SPECIFIC_PROB = 0.7  # of a word of the aspect's own kind, rather than one that fits everything
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
    """Writes texts of one part with the polar words of some families; all randomness comes from one generator."""

    def __init__(self, rng: Random, part: Part, families: Sequence[words.Family]) -> None:
        self.rng = rng
        self.part = part
        self.polar = {
            (kind, sign): tuple(word for family in families if family.kind == kind for word in family.side(sign))
            for kind in words.KINDS
            for sign in (-1, 1)
        }

    def opinion(self, verdict: int, manner: Manner, *, with_outcome: bool) -> str:
        """A review (by "I" or "we") or a story (about somebody): sometimes an opening, judgements, outcomes.

        `verdict` is 1 or -1. Outcomes give the verdict away in words that are not polar: only for unlabelled text.
        """
        rng, sentences = self.rng, list[str]()
        domain, who = self._choose_subject()
        if rng.random() < _OPENING_PROB:
            self._add(sentences, partial(self._opening, domain, who))
        free = list(_ASPECTS[domain.name])
        for planned in draw_plan(rng, manner):
            sign = -verdict if planned.is_dissent else verdict
            aspects = [_take(rng, free) for _ in planned.forms]
            self._add(sentences, partial(self._judgement, planned, aspects, sign, who))
        if with_outcome:
            self._add_outcomes(sentences, domain, verdict, who)
        return " ".join(sentences)

    def summary(self, verdict: int) -> str:
        """A verdict in a few words and what followed: 'The pie in three words: tasty, ripe and lovely. We loved it.'"""
        sentences = list[str]()
        domain, who = self._choose_subject()
        self._add(sentences, partial(self._list, domain, verdict))
        self._add_outcomes(sentences, domain, verdict, who)
        return " ".join(sentences)

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
        """A domain, and the teller or the person that the text is about."""
        domain = pick(self.rng, words.DOMAINS)
        return domain, pick(self.rng, words.TELLERS if self.rng.random() < _REVIEW_PROB else words.NAMES)

    def _add(self, sentences: list[str], draft: Callable[[], str]) -> None:
        """Add the first new draft whose hash falls into this writer's part."""
        for _ in range(_MAX_DRAFTS):
            sentence = as_sentence(draft())
            if part_of(sentence) == self.part and sentence not in sentences:
                sentences.append(sentence)
                return
        raise AssertionError(
            f"no sentence for the part {self.part!r} in {_MAX_DRAFTS} drafts, the last one: {sentence}"
        )

    def _add_outcomes(self, sentences: list[str], domain: words.Domain, verdict: int, who: str) -> None:
        for _ in range(pick(self.rng, _OUTCOME_TABLE)):
            self._add(sentences, partial(self._outcome, domain, verdict, who))

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
        has_teller, before, between = pick(rng, frames)
        return f"{who if has_teller else ''}{before}{thing}{between}{judged}"

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
        """Fill in a template with its teller and a new draw for every other slot."""
        cuts = _CUT_TEMPLATES[template].copy()
        for i in range(1, len(cuts), 2):
            cuts[i] = who if cuts[i] == "who" else pick(self.rng, words.SLOTS[cuts[i]])
        return "".join(cuts)


def _another(rng: Random, word: str, options: Sequence[str]) -> str:
    other = word
    while other == word:
        other = pick(rng, options)
    return other


# The wording of each form: takes the generator, a polar word and the words that it was drawn from.
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
    """Draw one of `free` and remove it."""
    i = int(rng.random() * len(free))
    free[i], free[-1] = free[-1], free[i]
    return free.pop()


def as_sentence(text: str) -> str:
    """'the plot was dull' as 'The plot was dull.'"""
    return text[0].upper() + text[1:] + "."


# Templates cut at their slots once: text, slot, text, slot, ..., text.
_CUT_TEMPLATES = {
    template: re.split(r"{(?!fact)(\w+)}", template)
    for template in (
        *FACT_FRAMES,
        *words.NEUTRAL_ENDS,
        *words.HAPPY.ends,
        *words.UNHAPPY.ends,
        *(template for d in words.DOMAINS for template in (*d.openings, *d.happy, *d.unhappy)),
    )
}
