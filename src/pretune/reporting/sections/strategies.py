"""The strategies of a trace in; out come their losses, the verdicts, one conclusion, and their replies."""

from __future__ import annotations

from rich.text import Text

from pretune.run_trace import formats
from pretune.terminal import (
    NARROW,
    ROOMY,
    Cell,
    Column,
    Lines,
    Page,
    Row,
    clean,
    clean_lines,
    heading,
    paragraph,
    table,
)
from pretune.trace_schema import AnsweredQuestion, ReplyLoss, ReplyStyle, Strategies, Strategy

TITLE = "WHICH WAY TO A CHATBOT?"
QUESTIONS_SHOWN = 3
REPLY_CHARACTERS = 400  # of a reply or a question
_REFERENCE = "held-out replies"


def render_strategies(found: Strategies, page: Page) -> Lines:
    """The section: conclusion, table of losses, table of the replies' figures, verdicts, and some replies."""
    first = found.held_out[0] if found.held_out else None
    note = "" if first is None else f"all on the same {formats.count(first.conversations)} held-out conversations"
    lines = heading(TITLE, note, page)
    lines += paragraph(clean(found.conclusion, 600), page, indent=1, style="bold")
    if found.reason:
        lines += paragraph(clean(found.reason, 600), page, indent=1)
    lines += [Text(""), *_losses(found, page), Text(""), *_styles(found, page), Text("")]
    for verdict in found.verdicts:
        lines += paragraph(clean(verdict.sentence, 400), page, indent=1, first="● ")
    lines += _answers(found, page)
    for sentence in (found.budget, found.base, found.coverage, *(each.training for each in found.strategies)):
        if sentence:
            lines += paragraph(clean(sentence, 600), page, indent=1, style="dim")
    if found.notice:
        lines += paragraph(clean(found.notice, 400), page, indent=1, first="! ", style="yellow")
    return lines


def _losses(found: Strategies, page: Page) -> Lines:
    """The loss on each held-out text, nats per token of the replies; the lowest of each is in bold."""
    best = [min(each.losses[place].loss for each in found.strategies) for place in range(_num_held_out(found))]
    has_more = page.width >= NARROW
    columns = [Column("strategy", wraps=True)]
    for place, held_out in enumerate(found.held_out[: len(best)]):
        columns.append(Column(f"loss, {clean(held_out.name, 11)}", "right"))
        if has_more:
            columns += [Column("95 % interval", "right"), *([] if place else [Column("perplexity", "right")])]
    if has_more:
        columns.append(Column("minutes", "right"))
    rows: list[Row] = []
    for strategy in found.strategies:
        cells: list[str | Cell] = [clean(strategy.name, 40)]
        for place, least in enumerate(best):
            loss = strategy.losses[place]
            cells.append(Cell(formats.nats(loss.loss), "bold green" if loss.loss == least else ""))
            if has_more:
                cells += [_interval(loss), *([] if place else [_perplexity(loss)])]
        if has_more:
            cells.append(f"{strategy.minutes:.1f}")
        rows.append(cells)
    return table(columns, rows, page)


def _num_held_out(found: Strategies) -> int:
    return min((len(each.losses) for each in found.strategies), default=0)


def _interval(loss: ReplyLoss) -> str:
    return f"{formats.nats(loss.low)} to {formats.nats(loss.high)}"


def _perplexity(loss: ReplyLoss) -> str:
    return f"{loss.perplexity:,.1f}" if loss.perplexity < 1e6 else f"{loss.perplexity:.1e}"


def _styles(found: Strategies, page: Page) -> Lines:
    """How the strategies reply, beside the replies of the held-out conversations."""
    rows: list[Row] = []
    named = [(each.name, each.style) for each in found.strategies] + [(_REFERENCE, found.reference_style)]
    for name, style in named:
        if style is not None:
            rows.append([clean(name, 40), *_style_cells(style, page)])
    if not rows:
        return []
    titles = ["words", "empty", "distinct-2", "repeated", "copied", "longest copy"]
    if page.width < ROOMY:
        titles = titles[:-1]
    return table([Column("replies", wraps=True), *(Column(title, "right") for title in titles)], rows, page)


def _style_cells(style: ReplyStyle, page: Page) -> list[str]:
    cells = [
        f"{style.mean_words:.1f}",
        formats.percent(style.empty_fraction),
        f"{style.distinct_2:.2f}",
        formats.percent(style.repeated_fraction),
        formats.percent(style.copied_fraction),
    ]
    return cells if page.width < ROOMY else [*cells, f"{style.longest_shared_words} words"]


def _answers(found: Strategies, page: Page) -> Lines:
    names = {each.kind: each.name for each in found.strategies} | {"reference": _REFERENCE}
    lines: Lines = []
    for answered in found.answers[:QUESTIONS_SHOWN]:
        lines += [Text(""), *_answer(answered, names, found.strategies, page)]
    hidden = len(found.answers) - QUESTIONS_SHOWN
    if hidden > 0:
        more = "1 more question is" if hidden == 1 else f"{hidden} more questions are"
        lines += paragraph(f"{more} on the page, with the replies.", page, indent=1, style="dim")
    return [*lines, Text("")] if lines else []


def _answer(answered: AnsweredQuestion, names: dict[str, str], strategies: list[Strategy], page: Page) -> Lines:
    """A question, and below it what each strategy replies and what was replied in truth."""
    order = [each.kind for each in strategies] + ["reference"]
    lines = paragraph(_excerpt(answered.question), page, indent=1, first="? ", style="bold")
    width = max(len(clean(name, 40)) for name in names.values())
    for given in sorted(answered.replies, key=lambda reply: order.index(reply.kind) if reply.kind in order else 99):
        name = clean(names.get(given.kind, given.kind), 40)
        if page.width < NARROW:
            lines += [Text(f"   {name}", style="dim")]
            lines += paragraph(_excerpt(given.text), page, indent=3)
        else:
            lines += paragraph(_excerpt(given.text), page, indent=3, first=f"{name:{width}}  ")
    return lines


def _excerpt(text: str) -> str:
    kept = " ".join(clean_lines(text).split())
    if not kept:
        return "(nothing)"
    return kept if len(kept) <= REPLY_CHARACTERS else f"{kept[: REPLY_CHARACTERS - 1]}…"
