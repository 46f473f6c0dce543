"""What preprocessing reports of the text: the funnel of its rules, and the tokenizer."""

from __future__ import annotations

from typing import Any

from pretune.run_trace.log_values import counts, figure, last_of, members, name_of, objects, texts, whole, wholes, words
from pretune.runtime.events import Event
from pretune.trace_schema import Funnel, FunnelStep, LengthBin, TokenizerReport, TokenView


def read_funnel(events: list[Event]) -> Funnel | None:
    """Documents left after each rule, with their lengths and languages; None if no funnel was logged."""
    event = last_of(events, "preprocess", "funnel")
    if not event:
        return None
    steps = [
        FunnelStep(step=name_of(step.get("step")), documents=documents, characters=whole(step.get("characters")))
        for step in objects(event.get("steps"))
        if (documents := whole(step.get("documents"))) is not None
    ]
    lengths = [
        LengthBin(words=name_of(group.get("words")), documents=documents)
        for group in objects(event.get("lengths"))
        if (documents := whole(group.get("documents"))) is not None
    ]
    return Funnel(
        steps=steps,
        lengths=lengths,
        languages=counts(event.get("languages")),
        languages_of=whole(event.get("languages_of")),
        personal_data=counts(event.get("personal_data")),
    )


def read_tokenizer(events: list[Event]) -> TokenizerReport | None:
    """The tokenizer's report, and the training text as rows of equal length; None if neither was logged."""
    event, views = last_of(events, "preprocess", "tokenizer_report"), last_of(events, "preprocess", "views")
    vocab_size = whole(event.get("vocab_size"))
    if vocab_size is None:
        return None
    return TokenizerReport(
        kind=name_of(event.get("kind")),
        vocab_size=vocab_size,
        tokens_per_word=figure(event.get("fertility")),
        characters_per_token=figure(event.get("characters_per_token")),
        unknown_fraction=figure(event.get("unknown_share")),
        round_trip_fraction=figure(event.get("round_trip_share")),
        longest_tokens=texts(event.get("longest_tokens"), 100),
        size_rule=words(event.get("size_rule")),
        trainer=words(event.get("trainer")),
        encoders=texts(event.get("encoders")),
        views=[view for name in ("rows", "packed") if (view := _view(name, views.get(name))) is not None],
    )


def _view(name: str, entry: Any) -> TokenView | None:
    found = members(entry)
    shape = wholes(found.get("shape"))
    padding = figure(found.get("padding_share"))
    return None if padding is None or len(shape) != 2 else TokenView(name=name, shape=shape, padding_fraction=padding)
