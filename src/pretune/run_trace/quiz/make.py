"""The trace of a run in, its quiz out: three questions, five tasks and a test of ten."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from random import Random

from pretune.run_trace.quiz import comparison, concepts, errors, finetuning, flow, prediction, pretraining
from pretune.run_trace.quiz.template import Template, finish
from pretune.run_trace.quiz.verify import verify
from pretune.runtime.randomness import derive_seed
from pretune.trace_schema import Json, Level, Question, Quiz, RunTrace

TEMPLATES: tuple[Template, ...] = (
    *flow.TEMPLATES,
    *pretraining.TEMPLATES,
    *finetuning.TEMPLATES,
    *comparison.TEMPLATES,
    *prediction.TEMPLATES,
    *errors.TEMPLATES,
    *concepts.TEMPLATES,
)
QUIZ: tuple[Level, ...] = ("easy", "medium", "hard")
PRACTICE: tuple[Level, ...] = ("easy", "easy", "medium", "medium", "hard")
TEST: tuple[Level, ...] = (*("easy",) * 4, *("medium",) * 3, *("hard",) * 3)
# Where the questions of a level run out, those of another one take their place.
_NEXT_LEVELS: dict[Level, tuple[Level, ...]] = {
    "easy": ("easy", "medium", "hard"),
    "medium": ("medium", "easy", "hard"),
    "hard": ("hard", "medium", "easy"),
}


def make_quiz(trace: RunTrace) -> Quiz | None:
    """The quiz of a run; the same run always gets the same one. None if the run shows nothing to ask about.

    Every question is verified; a template whose question does not hold in this run is left out. No template is used
    twice in one part, and in two parts only where the run has too few. Each part has at least one question about
    concepts.
    """
    stripped = dataclasses.replace(trace, quiz=None, checks=[])
    document = dataclasses.asdict(stripped)
    seed = derive_seed(trace.run.seed or 0, "quiz", trace.run.id)
    order = Random(seed)
    able = [template for template in TEMPLATES if template.requires(stripped)]
    if not any(template.is_about_run for template in able):
        return None
    order.shuffle(able)
    maker = _Maker(stripped, document, seed, able)
    return Quiz(quiz=maker.part("quiz", QUIZ), practice=maker.part("practice", PRACTICE), test=maker.part("test", TEST))


class _Maker:
    """Fills the parts of a quiz one after another, and remembers which templates were used."""

    def __init__(self, trace: RunTrace, document: Json, seed: int, templates: Sequence[Template]) -> None:
        self.trace, self.document, self.seed = trace, document, seed
        self.templates = templates
        self.used: set[str] = set()
        self.failed: set[str] = set()

    def part(self, name: str, levels: Sequence[Level]) -> list[Question]:
        """One question for each level; fewer if there are fewer templates."""
        questions: list[Question] = []
        concept_at = self._concept_place(levels)
        for place, level in enumerate(levels):
            taken = {question.template for question in questions}
            sections = {question.concept for question in questions}
            candidates = self._candidates(level, place == concept_at, taken, sections)
            question = next((q for q in (self._make(name, t) for t in candidates) if q is not None), None)
            if question is not None:
                self.used.add(question.template)
                questions.append(dataclasses.replace(question, id=f"{name}-{place + 1}"))
        return questions

    def _concept_place(self, levels: Sequence[Level]) -> int:
        """The place for the question about concepts: a level of which an unused one is left."""
        for place, level in enumerate(levels):
            for template in self.templates:
                if not template.is_about_run and template.level == level and template.id not in self.used:
                    return place
        return 0

    def _candidates(self, level: Level, is_concept: bool, taken: set[str], concepts: set[str]) -> Iterator[Template]:
        """Templates in the order of preference: unused ones first, then of the level, then about the run."""
        free = [t for t in self.templates if t.id not in taken and t.id not in self.failed]
        rank = {name: place for place, name in enumerate(_NEXT_LEVELS[level])}

        def preference(template: Template) -> tuple[bool, int, bool, bool]:
            return (
                template.is_about_run == is_concept if is_concept else False,
                rank[template.level] + 3 * (template.id in self.used),
                template.concept in concepts,
                template.is_about_run == is_concept,
            )

        return iter(sorted(free, key=preference))

    def _make(self, part: str, template: Template) -> Question | None:
        rng = Random(derive_seed(self.seed, part, template.id))
        question = finish(template, template.make(self.trace, rng), self.document, rng)
        if question is None or not verify(question, self.document):
            self.failed.add(template.id)
            return None
        return question


def questions_of(quiz: Quiz | None) -> Iterable[Question]:
    """All questions of a quiz, part by part."""
    return () if quiz is None else (*quiz.quiz, *quiz.practice, *quiz.test)
