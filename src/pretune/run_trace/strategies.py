"""The events of a comparison of strategies in; out come the strategies, the verdicts, and their replies."""

from __future__ import annotations

from typing import Any

from pretune.run_trace.codec import from_json
from pretune.run_trace.comparison import read_verdict
from pretune.run_trace.log_values import figure, figures, last_of, members, objects, whole, words
from pretune.runtime.events import Event
from pretune.trace_schema import (
    AnsweredQuestion,
    GivenReply,
    HeldOutConversations,
    ReplyLoss,
    ReplyStyle,
    Strategies,
    Strategy,
)

STAGE = EVENT = "strategies"


def read_strategies(events: list[Event]) -> Strategies | None:
    """The latest comparison of strategies; None if there is none."""
    event = last_of(events, STAGE, EVENT)
    found = [each for row in objects(event.get("strategies")) if (each := _read_strategy(row)) is not None]
    if not found:
        return None
    verdicts = [read_verdict(each) for each in objects(event.get("verdicts"))]
    return Strategies(
        budget=words(event.get("budget")) or "",
        base=words(event.get("base")) or "",
        held_out=[
            HeldOutConversations(
                name=words(each.get("name")) or "?",
                conversations=whole(each.get("conversations")) or 0,
                tokens=whole(each.get("tokens")) or 0,
            )
            for each in objects(event.get("held_out"))
        ],
        strategies=found,
        reference_style=_read_style(event.get("reference_style")),
        verdicts=[verdict for verdict in verdicts if verdict is not None],
        conclusion=words(event.get("conclusion")) or "",
        reason=words(event.get("reason")) or "",
        coverage=words(event.get("coverage")) or "",
        answers=[_read_answer(each) for each in objects(event.get("answers"))],
        notice=words(event.get("notice")),
    )


def _read_strategy(row: Event) -> Strategy | None:
    losses = [_read_loss(each) for each in objects(row.get("losses"))]
    kept = [loss for loss in losses if loss is not None]
    if not kept or len(kept) < len(losses):
        return None
    kind = words(row.get("kind")) or "?"
    return Strategy(
        kind=kind,
        name=words(row.get("name")) or kind,
        training=words(row.get("training")) or "",
        minutes=figure(row.get("minutes")) or 0.0,
        losses=kept,
        style=_read_style(row.get("style")),
    )


def _read_loss(row: Event) -> ReplyLoss | None:
    loss, interval = figure(row.get("loss")), figures(row.get("loss_interval"), 2)
    perplexity, seeds = figure(row.get("perplexity")), row.get("seeds")
    if loss is None or interval is None or perplexity is None:
        return None
    every = [figure(seed) for seed in seeds] if isinstance(seeds, list) else []
    return ReplyLoss(
        loss=loss,
        low=interval[0],
        high=interval[1],
        perplexity=perplexity,
        seeds=[seed for seed in every if seed is not None],
    )


def _read_style(value: Any) -> ReplyStyle | None:
    """The figures of replies; None if one is missing."""
    found = {name: figure(number) for name, number in members(value).items()}
    for name in ("n", "longest_shared_words"):
        found[name] = whole(members(value).get(name))
    try:
        return from_json(ReplyStyle, found)
    except (TypeError, ValueError):
        return None


def _read_answer(row: Event) -> AnsweredQuestion:
    return AnsweredQuestion(
        question=words(row.get("question")) or "",
        replies=[
            GivenReply(kind=words(each.get("kind")) or "?", text=words(each.get("text")) or "")
            for each in objects(row.get("replies"))
        ],
    )
