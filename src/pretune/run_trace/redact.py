"""A trace in; out comes the same without any text of the user, so that a report can be passed on.

Label names and slices get numbers, the same name the same number, so that tables still fit together. Every other text
of the user becomes one sign. Numbers that tell which tokens a text has are left out. Sentences that are made from the
trace are made again from what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

from pretune.run_trace.insights import find_insights
from pretune.run_trace.quiz.make import make_quiz
from pretune.run_trace.user_texts import Place, texts_of, with_texts_changed
from pretune.trace_schema import Question, Quiz, RunTrace

REDACTED = "▇"
SPECIAL_TOKENS = ("[PAD]", "[BOS]", "[EOS]", "[MASK]", "[UNK]", "[CLS]", "[SEP]")
_LABELS = {
    "Example": ("label", "predicted"),
    "PredictionTrace": ("label_names", "true_label"),
    "Readout": ("label",),
    "Decision": ("label", "labels"),
    "StackedDecision": ("label",),
    "WordLabel": ("label",),
    "Entity": ("type",),
    "LabelFigures": ("label",),
    "Flip": ("label",),
    "Reasons": ("label", "runner_up"),
    "TestErrors": ("labels",),
}
_SLICES = {
    "SliceResult": ("name",),
    "Verdict": ("slice",),
    "Disagreement": ("slice",),
    "PredictionTrace": ("slice",),
    "TestRow": ("slice",),
    "LabelSetRow": ("slice",),
    "ScoreRow": ("slice",),
    "EntityRow": ("slice",),
    "SliceError": ("slice",),
}
# Where a text stands that a reader would call one, and not a word, a name, or a sentence of ours.
_EXCERPTS = {
    "Example": ("text", "clean_text"),
    "MaskedExample": ("masked_text",),
    "Dropped": ("examples",),
    "WatchedSentence": ("masked_text",),
    "ContinuedPrompt": ("prompt",),
    "PredictionTrace": ("text", "text_pair"),
    "FillTrace": ("masked_text",),
    "GivenReply": ("text",),
    "AnsweredQuestion": ("question",),
    "TestRow": ("text", "text_pair"),
    "LabelSetRow": ("text", "text_pair"),
    "ScoreRow": ("text", "text_pair"),
    "EntityRow": ("text",),
}
# Numbers from which texts follow. A tokenizer may be public, and so may be the table that the rows of an embedding are
# from: ids decode to the text, and a length, a place among two components, a cosine or a count finds the token again.
# The lengths of the tokens, one after another, let many a text be guessed.
_TELLING: Mapping[str, Mapping[str, Any]] = {
    "Example": {"ids": []},
    "Token": {"id": None, "start": None, "end": None, "count": None},
    "Embedding": {"norms": [], "neighbours": [], "pca": None},
    "Entity": {"start": 0, "end": 0},
    "WordLabel": {"start": 0, "end": 0},
}


def count_excerpts(trace: RunTrace) -> int:
    """The different texts of the user in a trace."""
    return len({text for text, _, place in texts_of(trace) if _is_in(place, _EXCERPTS)})


def redact(trace: RunTrace) -> RunTrace:
    """The trace without the user's texts; its quiz keeps the questions that can be asked without them."""
    if trace.is_redacted:
        return trace
    found = list(texts_of(trace))
    labels = _numbered("label", (text for text, _, place in found if _is_in(place, _LABELS)))
    slices = _numbered("slice", (text for text, _, place in found if _is_in(place, _SLICES)))

    def change(text: str, place: Place) -> str:
        if _is_in(place, _LABELS):
            return labels[text]
        if _is_in(place, _SLICES):
            return slices[text]
        return text if text in SPECIAL_TOKENS else REDACTED

    changed: RunTrace = with_texts_changed(replace(trace, quiz=None), change)
    changed = replace(_without_telling(changed), is_redacted=True, excerpts=0)
    return replace(changed, insights=find_insights(changed), quiz=_askable(make_quiz(changed)))


def _without_telling(value: Any) -> Any:
    """The same value without the numbers from which texts follow."""
    if isinstance(value, list):
        return [_without_telling(item) for item in value]
    if not is_dataclass(value) or isinstance(value, type):
        return value
    changed = {each.name: _without_telling(getattr(value, each.name)) for each in fields(value)}
    return replace(value, **{**changed, **_TELLING.get(type(value).__name__, {})})


def _askable(quiz: Quiz | None) -> Quiz | None:
    """The questions in which nothing is left out."""
    if quiz is None:
        return None

    def keep(questions: list[Question]) -> list[Question]:
        return [each for each in questions if not any(REDACTED in text for text, _, _ in texts_of(each))]

    return replace(quiz, quiz=keep(quiz.quiz), practice=keep(quiz.practice), test=keep(quiz.test))


def _is_in(place: Place | None, table: Mapping[str, tuple[str, ...]]) -> bool:
    return place is not None and place.field in table.get(place.owner, ())


def _numbered(kind: str, names: Iterable[str]) -> dict[str, str]:
    return {name: f"{kind} {number}" for number, name in enumerate(dict.fromkeys(names), start=1)}
