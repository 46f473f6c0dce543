"""What a notebook shows of a run, a training, predictions and one traced prediction: small HTML without a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pretune.page.escaped import escaped
from pretune.run_trace import formats
from pretune.run_trace.metrics import metric_of
from pretune.trace_schema import Decision, Phase, PredictionTrace, RunTrace, StackedDecision

MOST_CHARACTERS, MOST_WORDS = 200, 12
_PHASE_NAMES = {"pretrain": "pre-training", "finetune": "fine-tuning", "scratch": "from scratch"}
_LEFT, _RIGHT = ' style="text-align:left"', ' style="text-align:right"'

Cell = str | float | int | None


def html_of_run(trace: RunTrace) -> str:
    """The headline of a run, its phases and its verdicts."""
    run = trace.run
    note = " Synthetic data." if run.is_synthetic else ""
    parts = [f"<p><b>{escaped(run.headline)}</b><br>{escaped(run.detail)}{note}</p>"]
    phases = [phase for phase in (trace.phases.pretrain, trace.phases.finetune, trace.phases.scratch) if phase]
    rows = [row for phase in phases for row in _phase_rows(phase)]
    if rows:
        score = "accuracy" if all(phase.metric == "accuracy" for phase in phases) else "score"
        parts.append(html_table(["phase", "epoch", "training loss", "loss", score, "kept", "observation"], rows))
    if trace.comparison is not None:
        verdicts = "".join(f"<li>{_text(verdict.sentence)}</li>" for verdict in trace.comparison.verdicts)
        parts.append(f"<ul>{verdicts}</ul>")
    parts += [f"<p>{escaped(missing.sentence)}</p>" for missing in trace.missing]
    return _fragment(parts)


def _phase_rows(phase: Phase) -> list[list[Cell]]:
    name = _PHASE_NAMES[phase.stage]
    decimals = formats.epoch_decimals(row.epoch for row in phase.evaluations)
    rows: list[list[Cell]] = []
    for row in phase.evaluations:
        kept = "kept" if row.is_best else ""
        rows.append([name, round(row.epoch, decimals), row.train_loss, row.loss, row.score, kept, row.summary])
    return rows


def html_of_training(rows: Sequence[dict[str, float | None]]) -> str:
    """The rows of a training trace, as they were logged."""
    names = ["epoch", "train_loss", "loss", metric_of(rows)]
    return _fragment([html_table(names, [[row.get(name) for name in names] for row in rows])])


def html_of_predictions(
    rows: Sequence[tuple[tuple[str, ...], str | None, float | None]],
    expected: Sequence[str | None] | None,
    notes: Iterable[str],
) -> str:
    """The text or the pair of texts, label and probability of some predictions, beside the expected labels if they are
    known."""
    titles = ["text", "text_pair"][: len(rows[0][0])] if rows else ["text"]
    names = [*titles, "label", "probability", *(["expected"] if expected is not None else [])]
    cells: list[list[Cell]] = [
        [*(text[:MOST_CHARACTERS] for text in texts), label, probability] for texts, label, probability in rows
    ]
    for row, label in zip(cells, expected or (), strict=False):
        row.append(label)
    return _fragment([html_table(names, cells), *(f"<p>{escaped(note)}</p>" for note in notes)])


def html_of_prediction(trace: PredictionTrace) -> str:
    """The decision about one text, its tokens, and the words that speak for and against it."""
    returned = _returned(trace)
    tokens = " ".join(f"<code>{_text(token.surface)}</code>" for token in trace.tokens[: 4 * MOST_WORDS])
    more = " ..." if len(trace.tokens) > 4 * MOST_WORDS else ""
    parts = [
        *(f"<p>{_text(text[: 5 * MOST_CHARACTERS])}</p>" for text in (trace.text, trace.text_pair) if text is not None),
        _decision(trace),
        f"<p>{len(trace.tokens):,} tokens: {tokens}{more}</p>",
    ]
    if returned.probabilities:
        if trace.word is not None:
            parts.append(f"<p>Labels of the word {_text(trace.text[trace.word.start : trace.word.end])}:</p>")
        parts.append(html_table(["label", "probability"], _best(trace.label_names, returned.probabilities)))
    reasons = trace.reasons
    if reasons is not None:
        order = sorted(range(len(reasons.words)), key=lambda index: -abs(reasons.integrated_gradients[index]))
        rows: list[list[Cell]] = [
            [reasons.words[index], reasons.integrated_gradients[index], reasons.occlusion[index]]
            for index in order[:MOST_WORDS]
        ]
        title = f"Reasons {'' if trace.stack is None else 'of the network alone '}for {_text(reasons.label)}"
        if reasons.runner_up is not None:
            title += f" rather than {_text(reasons.runner_up)}, as a difference of logits"
        parts += [f"<p>{title}:</p>", html_table(["word", "integrated gradients", "occlusion"], rows)]
    return _fragment(parts)


def decided(trace: PredictionTrace) -> str:
    """What `predict` returns for the text, on one line: the label, with its probability if it is the only one."""
    label = _label(trace)
    return label if trace.task != "classification" else f"{label}, probability {_returned(trace).probability:.3f}"


def _decision(trace: PredictionTrace) -> str:
    label, returned = _text(_label(trace)), _returned(trace)
    if trace.task != "classification":
        return f"<p><b>{label}</b></p>"
    first, second = sorted([*returned.probabilities, 0.0], reverse=True)[:2]
    return f"<p><b>{label}</b>, probability {returned.probability:.3f}, lead {first - second:.3f}</p>"


def _returned(trace: PredictionTrace) -> Decision | StackedDecision:
    """The decision of the stack where there is one, or else of the network."""
    return trace.stack or trace.decision


def _label(trace: PredictionTrace) -> str:
    """The label, or of a model that labels words, the entities."""
    if trace.task != "tokens":
        return _returned(trace).label
    found = [f"{trace.text[each.start : each.end]} ({each.type})" for each in trace.entities]
    more = f" and {len(found) - MOST_WORDS} more" if len(found) > MOST_WORDS else ""
    return f"{', '.join(found[:MOST_WORDS]) or 'no entity'}{more}"


def _best(names: Sequence[str], probabilities: Sequence[float]) -> list[list[Cell]]:
    pairs = sorted(zip(names, probabilities, strict=True), key=lambda pair: -pair[1])
    return [[name, probability] for name, probability in pairs[:MOST_WORDS]]


def html_table(names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table; a figure stands right, and a missing value is a dash."""
    is_text = [any(isinstance(row[column], str) for row in rows) for column in range(len(names))]
    heads = "".join(f"<th{_LEFT if left else _RIGHT}>{escaped(n)}</th>" for n, left in zip(names, is_text, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{_LEFT if left else _RIGHT}>{_cell(v)}</td>" for v, left in zip(row, is_text, strict=True))
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Cell) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return _text(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _text(text: str) -> str:
    """Text of the user, which may run from right to left without turning its neighbours around."""
    return f"<bdi>{escaped(text)}</bdi>"


def _fragment(parts: Iterable[str]) -> str:
    return f"<div>{''.join(parts)}</div>"
