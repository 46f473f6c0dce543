"""Whether a student is delivered, by made-up outputs of it and of its teacher for the validation rows."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from pretune.data.targets import Targets
from pretune.errors import UsageError
from pretune.settings import FinetuneConfig
from pretune.stages.finetune.candidates import Candidates
from pretune.stages.finetune.delivered import STUDENT, Trial
from pretune.tasks.registry import task_named
from pretune.tasks.task import LEAST_JUDGING_ROWS, refuse_self_training

FloatArray = npt.NDArray[np.float64]
TEACHER: Trial = {"trial": 0}
OTHER: Trial = {"trial": 1, STUDENT: True}
TASK: Any = task_named("classification")


def prefers(teacher: FloatArray, student: FloatArray, *, groups: npt.NDArray[np.int64] | None = None) -> bool:
    """Whether a student with these margins (N,) of the right class is preferred to a teacher with others; from 200 rows
    on, the accuracy chooses."""
    num_rows = len(teacher)
    labels = np.arange(num_rows) % 2

    def measure(outputs: FloatArray) -> dict[str, float]:
        losses, is_right = TASK.score_targets(outputs, Targets.of_rows(labels))
        return {"accuracy": float(is_right.mean()), "loss": float(losses.mean())}

    data: Any = SimpleNamespace(
        is_picking=num_rows >= 200,
        task=TASK,
        metric="accuracy",
        groups={"validation": groups},
        measure_validation=measure,
    )
    none: Any = None
    validation: Any = SimpleNamespace(targets=Targets.of_rows(labels))
    candidates = Candidates(
        folder=none,
        data=data,
        config=FinetuneConfig(stack=False, self_train=True),
        start_weights=none,
        device="cpu",
        tokenizer_folder=none,
        validation=validation,
        test_rows=none,
        folder_of=none,
    )
    right = np.eye(2)[labels]
    candidates._outputs = {"0": right * teacher[:, None], "1": right * student[:, None]}
    return candidates.prefers(OTHER, TEACHER)


@pytest.mark.parametrize("num_rows", [20, 100, 300])
def test_a_student_that_is_better_or_equal_is_preferred(num_rows: int) -> None:
    margins = np.random.default_rng(0).normal(0.5, 1.0, num_rows)
    assert prefers(margins, margins)
    assert prefers(margins, margins + 0.5)
    assert not prefers(margins, margins - 1)


def test_with_few_rows_a_student_may_be_worse_by_noise() -> None:
    """At 100 validation rows, as of 1,000 labels; the same loss is clear if it is the same for every row."""
    draw = np.random.default_rng(0)
    margins = draw.normal(0.5, 1.0, 100)
    noise = draw.normal(0.0, 0.3, 100)
    assert prefers(margins, margins - 0.02 + noise - noise.mean())
    assert not prefers(margins, margins - 0.02)


def test_rows_of_a_group_are_one() -> None:
    """Thirty rows of three groups, two of which the student finds harder: as ungrouped rows that is clear."""
    margins = np.zeros(30)
    worse = np.repeat([-0.5, -0.6, 0.05], 10)
    assert not prefers(margins, worse)
    assert prefers(margins, worse, groups=np.repeat(np.arange(3), 10))


def test_with_many_rows_the_score_chooses() -> None:
    margins = np.random.default_rng(0).normal(0.5, 1.0, 300)
    fewer = np.where(np.arange(300) == np.argmin(np.where(margins > 0, margins, np.inf)), -0.001, margins)
    assert not prefers(margins, fewer)
    assert prefers(fewer, margins)


@pytest.mark.parametrize("num_rows", [30, 300])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_student_whose_outputs_are_no_numbers_is_not_preferred(num_rows: int, value: float) -> None:
    margins = np.full(num_rows, -1.0)  # the teacher is never right
    student = margins + 2
    student[3] = value
    assert prefers(margins, margins + 2)
    with np.errstate(invalid="ignore"):  # 0 times infinity
        assert not prefers(margins, student)


@pytest.mark.parametrize(
    ("task", "has_pairs", "found"),
    [
        ("multilabel", False, "these labels are of the task multilabel; leave it out"),
        ("tokens", False, "these labels are of the task tokens; leave it out"),
        ("regression", False, "these labels are of the task regression; leave it out"),
        ("classification", True, "these labels are of pairs of texts; leave it out"),
    ],
)
def test_labels_that_a_sentence_cannot_have_are_refused(task: Any, has_pairs: bool, found: str) -> None:
    texts = [f"row {number}" for number in range(LEAST_JUDGING_ROWS)]
    with pytest.raises(UsageError, match=found):
        refuse_self_training(task_named(task), texts, has_pairs=has_pairs)
    refuse_self_training(task_named("classification"), texts, has_pairs=False)


def test_too_few_independent_validation_rows_are_refused() -> None:
    texts = [f"row {number}" for number in range(LEAST_JUDGING_ROWS - 1)]
    for given in (texts, [*texts, *texts]):
        with pytest.raises(UsageError, match="19 independent ones are too few; expected at least 20: hold out more"):
            refuse_self_training(TASK, given, has_pairs=False)
