"""From a text and the outputs of the network to the decision of the stack: what each part adds, and the words behind
it.

K outputs: C classes, C labels, the tags of a word, or one number.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.data.targets import Targets
from pretune.inference.classify import Classifier, Text, linear_text
from pretune.scoring.tagger import WordAt
from pretune.text.labels.words import WordRule, find_words
from pretune.trace_schema import Contribution, NgramShare, StackedDecision, WordLabel
from pretune.tracing.decision import logit_of, read_probabilities, thresholds_of

NGRAMS_SHOWN = 8  # of each part
BIAS = "bias"
FloatArray = npt.NDArray[np.float64]


def describe_stack(
    classifier: Classifier,
    cleaned: str,
    cleaned_pair: str | None,
    logits: Float[Tensor, " K"],
    word: WordLabel | None = None,
) -> StackedDecision | None:
    """The decision of the stack about a clean text, or pair of texts, or about one word of a text; None if nothing is
    stacked on the model, or if there is no such word."""
    stacked = classifier.stacked
    if stacked is None:
        return None
    task, labelling = classifier.task, classifier.labelling
    decision = {**labelling.decision, **stacked.decision}
    read = _read(cleaned, cleaned_pair, word, task.word_rule(decision))
    if read is None:
        return None
    found = stacked.decide(logits.double().cpu().numpy(), read)
    if isinstance(read, WordAt):
        label = labelling.outputs[int(found.scores.argmax())]
    else:
        outputs = task.decode(found.scores[None], Targets.of_rows(np.zeros(1)), decision)
        label = task.to_prediction(outputs, 0, labelling.names, "").label or ""
    probabilities = read_probabilities(task.name, torch.from_numpy(found.scores))
    is_number = task.name == "regression"
    deviation, mean = (decision.get("deviation", 1.0), decision.get("mean", 0.0)) if is_number else (1.0, 0.0)
    parts = deviation * found.parts
    parts[-1] += mean  # of a number, the bias is the number for a text about which the parts know nothing
    thresholds = thresholds_of(decision, len(found.scores)) if task.name == "multilabel" else []
    first, second = _compared(found.scores, thresholds)
    ngrams = []
    for title, (names, added) in zip(stacked.titles[1:], found.evidence, strict=True):
        lead = added[:, first] - (0.0 if second is None else added[:, second])
        order = np.argsort(-np.abs(lead), kind="stable")[:NGRAMS_SHOWN]
        ngrams += [NgramShare(ngram=names[i], logits=(deviation * added[i]).tolist(), part=title) for i in order]
    return StackedDecision(
        probabilities=probabilities,
        label=label,
        index=first,
        probability=probabilities[first] if probabilities else 0.0,
        parts=[
            Contribution(name=name, logits=part.tolist())
            for name, part in zip([*stacked.titles, BIAS], parts, strict=True)
        ],
        ngrams=ngrams,
        thresholds=thresholds,
    )


def _read(
    cleaned: str, cleaned_pair: str | None, word: WordLabel | None, rule: WordRule | None
) -> Text | WordAt | None:
    """What the linear models read: the text, the pair, or the traced word among the others; None without one."""
    if rule is None:
        return linear_text(cleaned, cleaned_pair)
    places = find_words(cleaned, rule)
    at = (
        None
        if word is None
        else next((i for i, (first, last) in enumerate(places) if first <= word.start < last), None)
    )
    return None if at is None else WordAt([cleaned[first:last] for first, last in places], at)


def _compared(scores: FloatArray, thresholds: list[float]) -> tuple[int, int | None]:
    """The output that is decided for, and the runner-up; with several labels, the one furthest above its threshold."""
    if thresholds:
        return int(np.argmax(scores - np.array([logit_of(each) for each in thresholds]))), None
    if len(scores) < 2:
        return 0, None
    first, second = np.argsort(-scores, kind="stable")[:2].tolist()
    return first, second
