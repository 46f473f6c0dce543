"""From the outputs for one text to the decision of the task: what is predicted, and which score its reasons explain.

C labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.data.targets import Targets
from pretune.inference.classify import Classifier
from pretune.trace_schema import Decision, Flip


@dataclass(frozen=True, kw_only=True)
class Explained:
    """The score that reasons are given for: scale * (logit of `first` - logit of `second`) + offset.

    Of single classes, the lead of the label over the runner-up. Of several labels, the logit of the likeliest minus
    that of its threshold. Of a number, the prediction in the units of the file. `flips` says whether the sign of the
    score decides something, so that masking may turn it.
    """

    first: int
    second: int | None
    scale: float = 1.0
    offset: float = 0.0
    flips: bool = True


def read_probabilities(task: str, logits: Float[Tensor, " C"]) -> list[float]:
    """Sigmoids for several labels, none for a number, else the softmax."""
    if task == "regression":
        return []
    found = torch.sigmoid(logits) if task == "multilabel" else torch.softmax(logits, dim=-1)
    probabilities: list[float] = found.tolist()
    return probabilities


def explain(classifier: Classifier, logits: Float[Tensor, " C"]) -> Explained | None:
    """The score to explain; None if the model has a single class."""
    decision = dict(classifier.labelling.decision)
    if classifier.task.name == "regression":
        return Explained(
            first=0, second=None, scale=decision.get("deviation", 1.0), offset=decision.get("mean", 0.0), flips=False
        )
    if classifier.task.name == "multilabel":
        levels = [logit_of(each) for each in thresholds_of(decision, len(logits))]
        first = int(np.argmax(logits.double().cpu().numpy() - np.array(levels)))
        return Explained(first=first, second=None, offset=-levels[first])
    if len(logits) < 2:
        return None
    first, second = logits.topk(2).indices.tolist()
    return Explained(first=first, second=second)


def decide(classifier: Classifier, logits: Float[Tensor, " C"], flip: Flip | None) -> Decision:
    """What the model predicts from its logits, and what flips it."""
    names, decision, task = classifier.labelling.outputs, dict(classifier.labelling.decision), classifier.task.name
    probabilities = read_probabilities(task, logits)
    explained = explain(classifier, logits)
    if task == "regression":
        assert explained is not None
        score = explained.scale * float(logits[0]) + explained.offset
        return Decision(
            probabilities=[],
            label=write_decision(classifier, logits),
            index=0,
            probability=0.0,
            margin=0.0,
            flip=None,
            score=score,
            mean=explained.offset,
            deviation=explained.scale,
        )
    if task == "multilabel":
        assert explained is not None
        levels = thresholds_of(decision, len(logits))
        distances = [p - level for p, level in zip(probabilities, levels, strict=True)]
        return Decision(
            probabilities=probabilities,
            label=write_decision(classifier, logits),
            index=explained.first,
            probability=probabilities[explained.first],
            margin=min(abs(each) for each in distances),
            flip=flip,
            labels=[name for name, distance in zip(names, distances, strict=True) if distance >= 0],
            thresholds=levels,
        )
    best = torch.tensor(probabilities).topk(min(2, len(names)))
    index = int(best.indices[0])
    return Decision(
        probabilities=probabilities,
        label=names[index],
        index=index,
        probability=float(best.values[0]),
        margin=float(best.values[0] - best.values[-1]) if len(names) > 1 else 1.0,
        flip=flip,
    )


def write_decision(classifier: Classifier, logits: Float[Tensor, " C"]) -> str:
    """The prediction of these logits in words."""
    task, labelling = classifier.task, classifier.labelling
    if task.name not in ("multilabel", "regression"):
        return labelling.outputs[int(logits.argmax())]
    values = logits.double().cpu().numpy()[None]
    outputs: Any = task.decode(values, Targets.of_rows(np.zeros(1)), dict(labelling.decision))
    return task.to_prediction(outputs, 0, labelling.names, "").label or ""


def thresholds_of(decision: dict[str, Any], num_labels: int) -> list[float]:
    """The threshold of each label; one half where validation chose none."""
    return [float(each) for each in decision.get("thresholds", [0.5] * num_labels)]


def logit_of(probability: float) -> float:
    """The log-odds of a probability, also of 0 and 1."""
    inside = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(inside / (1 - inside))
