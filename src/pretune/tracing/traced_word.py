"""The word at which a model that labels words is traced, and the entities around it.

T tokens, K labels of a word.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from pretune.inference.classify import Classifier
from pretune.text.labels.word_windows import read_words
from pretune.trace_schema import Entity, WordLabel
from pretune.tracing.words import TokenizedText, tokenize

OUTSIDE = "O"


def find_entities(classifier: Classifier, text: str) -> list[Entity]:
    """The entities that are predicted in a clean text, with a stack if there is one."""
    [found] = classifier.predict([text])
    entities = getattr(found, "entities", ())
    return [Entity(start=each.start, end=each.end, type=each.type) for each in entities]


@dataclass(frozen=True, kw_only=True)
class ReadWord:
    """A word and the row in which a prediction reads and labels it: a whole text, or one window of a long one.

    `text` is what the row has of the clean text, from character `start` on; `position` is the token that the label is
    read from.
    """

    text: str
    start: int
    ids: list[int]
    position: int
    is_part: bool

    def shift(self, entities: Sequence[Entity]) -> list[Entity]:
        """The entities of the whole text that reach into the row, as far as they do."""
        end = self.start + len(self.text)
        return [
            replace(each, start=max(each.start - self.start, 0), end=min(each.end, end) - self.start)
            for each in entities
            if each.start < end and each.end > self.start
        ]


def choose_word(classifier: Classifier, text: str, entities: Sequence[Entity]) -> ReadWord:
    """The first word of the first entity; without one, the word whose probability of being in an entity is largest. The
    beginning of a text without a word."""
    rule = classifier.task.word_rule(dict(classifier.labelling.decision))
    assert rule is not None
    read = read_words(classifier.tokenizer, [text], rule, classifier.max_seq_len)
    places = [(row, int(position)) for row, positions in enumerate(read.positions) for position in positions]
    row, position = 0, 0
    if places and entities:
        starts = [start for start, _ in read.words[0]]
        row, position = places[max(0, bisect_right(starts, entities[0].start) - 1)]
    elif places:
        outside = classifier.labelling.outputs.index(OUTSIDE)
        logits = torch.cat(
            [
                classifier.predict_logits([ids])[0][torch.from_numpy(positions)]
                for ids, positions in zip(read.rows, read.positions, strict=True)
            ]
        )
        row, position = places[int(torch.softmax(logits, dim=-1)[:, outside].argmin())]
    start, end = read.spans[row]
    return ReadWord(
        text=text[start:end], start=start, ids=read.rows[row], position=position, is_part=len(read.rows) > 1
    )


def read_row(classifier: Classifier, word: ReadWord, counts: npt.NDArray[np.int64] | None = None) -> TokenizedText:
    """The tokens and words of the row in which a word is read."""
    tokenizer, length = classifier.tokenizer, classifier.max_seq_len
    encoded = tokenizer.encode_with_offsets(word.text)
    num_ids, after, kept = len(encoded.ids), tokenizer.num_around[1], None
    if num_ids > length:  # a stretch without blanks; `read_words` cuts its end
        kept = [*range(length - after), *range(num_ids - after, num_ids)]
    found = tokenize(tokenizer, word.text, encoded, length, counts, kept)
    return replace(found, was_cut=found.was_cut or word.is_part)


def describe_word(read: TokenizedText, position: int, label: str) -> WordLabel:
    """The word of a token, with the blanks around it left out."""
    own = next((word.positions for word in read.words if position in word.positions), (position,))
    spans = [(read.tokens[place].start or 0, read.tokens[place].end or 0) for place in own if place >= position]
    start, end = min(start for start, _ in spans), max(end for _, end in spans)
    surface = read.text[start:end]
    return WordLabel(start=start + len(surface) - len(surface.lstrip()), end=end, position=position, label=label)
