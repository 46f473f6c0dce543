"""The decision of a network with linear models stacked on it: what each part adds, and the words behind it."""

from __future__ import annotations

from pretune.reporting.sections.decision import bar_width, check, signed_bar, write_added
from pretune.run_trace import formats
from pretune.run_trace.prediction_checks import sigmoid, softmax
from pretune.terminal import Cell, Column, Lines, Page, Row, clean, paragraph, quote, table
from pretune.trace_schema import PredictionTrace, StackedDecision

BIAS = "bias"
_OF_CLASSES = ("classification", "tokens")  # tasks whose scores compete; of tokens, those of one word


def stacked_title(stack: StackedDecision) -> str:
    """The linear parts by name: "With NB-SVM + TF-IDF"."""
    return "With " + " + ".join(part.name for part in stack.parts[1:] if part.name != BIAS)


def render_stack(trace: PredictionTrace, stack: StackedDecision, page: Page) -> Lines:
    """What each part adds to the lead of the label over the next class, and the largest words behind it; with several
    labels to the log-odds of the one furthest above its threshold, and of a number to the number."""
    added = {part.name: _lead(trace, stack, part.logits) or 0.0 for part in stack.parts}  # no minus zero
    weighed = {name: abs(lead) for name, lead in added.items() if trace.task != "regression" or name != BIAS}
    scale, total, half = max(weighed.values()) or 1.0, sum(weighed.values()) or 1.0, bar_width(page) // 2
    rows: list[Row] = [
        [
            name,
            write_added(lead, trace),
            formats.percent(weighed[name] / total) if name in weighed else "",
            Cell(signed_bar(lead / scale, half) if name in weighed else "", "cyan"),
        ]
        for name, lead in added.items()
    ]
    columns = [Column("part"), Column(_what(trace, stack), "right", wraps=True), Column("of all", "right"), Column("")]
    lines = table(columns, rows, page, indent=2)
    for name in added:
        words = [(each.ngram, _lead(trace, stack, each.logits)) for each in stack.ngrams if each.part == name]
        if words:
            listed = ", ".join(f"{quote(ngram, 24)} {write_added(lead, trace)}" for ngram, lead in words)
            lines += paragraph(f"{name}, largest: {listed}", page, indent=2, style="dim")
    lines += _check(trace, stack, page)
    changed = "" if stack.label == trace.decision.label else ", unlike the network alone"
    sentence = clean(stack.label, 200)
    if trace.task in _OF_CLASSES:
        sentence = f"{clean(stack.label, 40)} with probability {formats.probability(stack.probability)}"
    return lines + paragraph(f"{sentence}{changed}", page, indent=2, first="→ ", style="bold green")


def _lead(trace: PredictionTrace, stack: StackedDecision, logits: list[float]) -> float:
    if trace.task not in _OF_CLASSES:
        return logits[stack.index]
    ranked = sorted(range(len(logits)), key=lambda k: (k != stack.index, -stack.probabilities[k]))
    return logits[ranked[0]] - logits[ranked[min(1, len(ranked) - 1)]]


def _what(trace: PredictionTrace, stack: StackedDecision) -> str:
    if trace.task == "regression":
        return "adds to the number"
    if trace.task == "multilabel":
        return f"adds to the log-odds of {clean(trace.label_names[stack.index], 20)}"
    return "adds to the lead"


def _check(trace: PredictionTrace, stack: StackedDecision, page: Page) -> Lines:
    """The sum of the parts gives the probabilities; a number is shown as the sum itself."""
    if trace.task == "regression":
        return []
    total = [sum(part.logits[k] for part in stack.parts) for k in range(len(stack.probabilities))]
    if trace.task == "multilabel":
        computed, what = sigmoid(total), "the sigmoids of the parts' sums and the probabilities"
    else:
        computed, what = softmax(total), "the softmax of the parts' sum and the probabilities"
    return check(what, max(abs(a - b) for a, b in zip(computed, stack.probabilities, strict=True)), page)
