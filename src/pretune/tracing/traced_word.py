"""The word at which a model that labels words is traced, and the entities around it.

T tokens, K labels of a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from pretune.inference.classify import Classifier
from pretune.trace_schema import Entity, WordLabel
from pretune.tracing.words import TokenizedText

OUTSIDE = "O"


def find_entities(classifier: Classifier, text: str) -> list[Entity]:
    """The entities that the network predicts in a clean text, without a stack."""
    [found] = replace(classifier, stacked=None).predict([text])
    entities = getattr(found, "entities", ())
    return [Entity(start=each.start, end=each.end, type=each.type) for each in entities]


def choose_position(classifier: Classifier, read: TokenizedText, entities: Sequence[Entity]) -> int:
    """The position of the first token of the first entity that is read; without one, that of the word whose
    probability of being in an entity is largest. 0 for a text without a word."""
    for entity in entities:
        for token in read.tokens:
            if token.start is not None and token.end is not None and token.start <= entity.start < token.end:
                return token.position
    firsts = [word.positions[0] for word in read.words]
    if not firsts:
        return 0
    logits = classifier.predict_logits([read.ids])[0][firsts]
    outside = torch.softmax(logits, dim=-1)[:, classifier.labelling.outputs.index(OUTSIDE)]
    return firsts[int(outside.argmin())]


def describe_word(read: TokenizedText, position: int, label: str) -> WordLabel:
    """The word of a token, with the blanks around it left out."""
    own = next((word.positions for word in read.words if position in word.positions), (position,))
    spans = [(read.tokens[place].start or 0, read.tokens[place].end or 0) for place in own if place >= position]
    start, end = min(start for start, _ in spans), max(end for _, end in spans)
    surface = read.text[start:end]
    return WordLabel(start=start + len(surface) - len(surface.lstrip()), end=end, position=position, label=label)
