"""From a text and the logits of the encoder to the decision of the stack: each part's share, and the n-grams behind it.

C classes.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from pretune.inference.classify import Classifier
from pretune.trace_schema import Contribution, NgramShare, StackedDecision

NGRAMS_SHOWN = 8
PARTS = ("encoder", "NB-SVM", "bias")


def describe_stack(classifier: Classifier, cleaned: str, logits: Float[Tensor, " C"]) -> StackedDecision | None:
    """The decision of the stack about a cleaned text; None if nothing is stacked on the model."""
    if classifier.stacked is None:
        return None
    found = classifier.stacked.decide(torch.log_softmax(logits.double(), dim=-1).cpu().numpy(), cleaned)
    index = int(found.probabilities.argmax())
    others = np.delete(np.arange(len(found.probabilities)), index)
    runner_up = int(others[found.probabilities[others].argmax()]) if len(others) else index
    lead = found.added[:, index] - found.added[:, runner_up]
    order = np.argsort(-np.abs(lead), kind="stable")[:NGRAMS_SHOWN]
    return StackedDecision(
        probabilities=found.probabilities.tolist(),
        label=classifier.label_names[index],
        index=index,
        probability=float(found.probabilities[index]),
        parts=[Contribution(name=name, logits=part.tolist()) for name, part in zip(PARTS, found.parts, strict=True)],
        ngrams=[NgramShare(ngram=found.ngrams[i], logits=found.added[i].tolist()) for i in order],
    )
