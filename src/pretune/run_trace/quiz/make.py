"""The trace of a run in, its quiz out: three questions, five tasks and a test of ten."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from random import Random

from pretune.run_trace.codec import as_written, to_json
from pretune.run_trace.commands import learn_command
from pretune.run_trace.quiz import (
    comparison,
    concepts,
    errors,
    finetuning,
    flow,
    losses,
    masked_words,
    prediction,
    pretraining_plan,
    reasons,
    shapes,
    tasks,
)
from pretune.run_trace.quiz.template import Template, finish
from pretune.run_trace.quiz.verify import verify
from pretune.runtime.randomness import derive_seed
from pretune.trace_schema import Json, Level, Question, Quiz, RunTrace

TEMPLATES: tuple[Template, ...] = (
    *flow.TEMPLATES,
    *losses.TEMPLATES,
    *masked_words.TEMPLATES,
    *pretraining_plan.TEMPLATES,
    *finetuning.TEMPLATES,
    *comparison.TEMPLATES,
    *shapes.TEMPLATES,
    *prediction.TEMPLATES,
    *reasons.TEMPLATES,
    *errors.TEMPLATES,
    *tasks.TEMPLATES,
    *concepts.TEMPLATES,
)
QUIZ: tuple[Level, ...] = ("easy", "medium", "hard")
PRACTICE: tuple[Level, ...] = ("easy", "easy", "medium", "medium", "hard")
TEST: tuple[Level, ...] = (*("easy",) * 4, *("medium",) * 3, *("hard",) * 3)
# What a run is about: asked first where it can be.
_MAIN = ("Q-FLOOR", "Q-SOFTMAX", "Q-BOTH-ROSE", "Q-HELPED", "Q-THRESHOLD", "Q-ABSOLUTE", "Q-HIT")
# They ask about accuracies, a softmax or a confusion matrix, which only a classification has.
_OF_CLASSES = (
    *("Q-BEST", "Q-OVERFIT", "Q-BOTH-ROSE", "Q-GAP", "Q-POINTS", "Q-INTERVAL", "Q-HELPED", "Q-SLICE", "Q-COIN"),
    *("Q-WRONG", "Q-MAJORITY", "Q-RECALL", "Q-ECE", "Q-CALIBRATION", "Q-PART", "Q-SOFTMAX", "Q-SUM"),
    *("Q-FLIP", "Q-IG", "Q-ATTENTION", "Q-SHAPE", "Q-HEAD"),
)
# Where the questions of a level run out, those of another one take their place.
_NEXT_LEVELS: dict[Level, tuple[Level, ...]] = {
    "easy": ("easy", "medium", "hard"),
    "medium": ("medium", "easy", "hard"),
    "hard": ("hard", "medium", "easy"),
}


def make_quiz(trace: RunTrace) -> Quiz | None:
    """The quiz of a run; the same run always gets the same one. None if the run shows nothing to ask about, or has
    not finished: its figures, and so its questions, would change while they are answered.

    Every question is verified; a template whose question does not hold in this run is left out. No template is used
    twice in one part, and in two parts only where the run has too few. Each part has at least one question about
    concepts.
    """
    if trace.run.status != "finished":
        return None
    stripped = dataclasses.replace(trace, quiz=None, checks=[])
    document = to_json(stripped)
    seed = derive_seed(trace.run.seed or 0, "quiz", trace.run.id)
    order = Random(seed)
    has_classes = trace.run.task in (None, "classification")
    asked = (template for template in TEMPLATES if has_classes or template.id not in _OF_CLASSES)
    able = [template for template in asked if template.requires(stripped)]
    if not any(template.is_about_run for template in able):
        return None
    order.shuffle(able)
    maker = _Maker(stripped, document, seed, able)
    return Quiz(
        quiz=maker.part("quiz", QUIZ, ["C-PRETRAINING"]),
        practice=maker.part("practice", PRACTICE, ["C-PRINTED"]),
        test=maker.part("test", TEST, ["C-FINETUNING", "C-NONE", "C-CHATBOT"]),
        command=learn_command(trace.run.name),
    )


class _Maker:
    """Fills the parts of a quiz one after another, and remembers which templates were used."""

    def __init__(self, trace: RunTrace, document: Json, seed: int, templates: Sequence[Template]) -> None:
        self.trace, self.document, self.seed = trace, document, seed
        self.templates = templates
        self.used: set[str] = set()
        self.failed: set[str] = set()

    def part(self, name: str, levels: Sequence[Level], concepts: Sequence[str]) -> list[Question]:
        """One question for each level; fewer if there are fewer templates. `concepts` are templates that it must use,
        each at the first place of its level."""
        required = [template for template in self.templates if template.id in concepts]
        questions: list[Question] = []
        for place, level in enumerate(levels):
            first = next((template for template in required if template.level == level), None)
            if first is not None:
                required.remove(first)
            candidates = self._candidates(level, questions, {template.id for template in required})
            made = (self._make(name, each) for each in ([first] if first else candidates))
            question = next((each for each in made if each is not None), None)
            if question is not None:
                self.used.add(question.template)
                questions.append(dataclasses.replace(question, id=f"{name}-{place + 1}"))
        return questions

    def _candidates(self, level: Level, questions: Sequence[Question], reserved: set[str]) -> list[Template]:
        """Templates in the order of preference: not used in another part, of the level, one of the main ones, about
        something that this part does not ask yet, about the run, of the section with the fewest questions so far."""
        taken = {question.template for question in questions} | self.failed | reserved
        asked, sections = ([getattr(question, name) for question in questions] for name in ("concept", "section"))
        rank = {each: place for place, each in enumerate(_NEXT_LEVELS[level])}
        return sorted(
            (template for template in self.templates if template.id not in taken),
            key=lambda template: (
                template.id in self.used,
                rank[template.level],
                template.id not in _MAIN,
                template.concept in asked,
                not template.is_about_run,
                sections.count(template.section),
            ),
        )

    def _make(self, part: str, template: Template) -> Question | None:
        rng = Random(derive_seed(self.seed, part, template.id))
        made = finish(template, template.make(self.trace, rng), self.document, rng)
        question = None if made is None else as_written(made)  # with the digits that its reader gets
        if question is None or not verify(question, self.document):
            self.failed.add(template.id)
            return None
        return question
