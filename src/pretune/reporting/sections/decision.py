"""The decision of a traced prediction that is not one class: labels against their thresholds, or a number; and the bars
and checks that other parts of a traced prediction share."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from pretune.run_trace import formats
from pretune.run_trace.prediction_checks import sigmoid
from pretune.terminal import NARROW, Column, Lines, Page, Row, bar, clean, pad, paragraph, table
from pretune.trace_schema import PredictionTrace

TOLERANCE = 1e-4  # between the sum of the contributions and the logit
BAR, NARROW_BAR = 20, 8  # columns
LABELS_SHOWN = 6  # beside those that are predicted


def check(what: str, error: float, page: Page) -> Lines:
    """A line that says how far two results of the same sum differ."""
    is_fine = error <= TOLERANCE
    mark, style = ("✓", "dim") if is_fine else ("!", "bold red")
    sentence = f"{what} differ by at most {f'{error:.0e}' if error else '0'}"
    sentence += "" if is_fine else f", more than {TOLERANCE:g}: this trace does not add up"
    return paragraph(sentence, page, indent=2, first=f"{mark} ", style=style)


def bar_width(page: Page) -> int:
    """The columns of a bar."""
    return BAR if page.width >= NARROW else NARROW_BAR


def signed_bar(fraction: float, half: int) -> str:
    """A bar to the left of a line for a negative fraction, to the right for a positive one, at most `half` columns."""
    length = round(abs(fraction) * half)
    left = "█" * length if fraction < 0 else ""
    right = "█" * length if fraction > 0 else ""
    return left.rjust(half) + "│" + right.ljust(half)


def write_added(value: float, trace: PredictionTrace, decimals: int = 2) -> str:
    """What is added to a logit, or to a number: the latter may be of any size, as the units of its file are."""
    if trace.task != "regression":
        return f"{value:+.{decimals}f}"
    return f"{value:+,.0f}" if abs(value) >= 1000 else f"{value:+.3g}"


def decide(trace: PredictionTrace, page: Page) -> Lines:
    """The decision on several labels, or on a number."""
    return _number(trace, page) if trace.task == "regression" else _labels(trace, page)


def list_read_outs(trace: PredictionTrace, page: Page) -> Lines:
    """The number that can be read out after each layer, in the units of the file."""
    mean, deviation = trace.decision.mean or 0.0, trace.decision.deviation or 1.0
    rows: list[Row] = [
        [f"layer {each.layer}" if each.layer else "embedding", f"{mean + deviation * each.logits[0]:.4g}"]
        for each in trace.readouts
    ]
    lines = table([Column("after"), Column("predicted number", "right")], rows, page, indent=2)
    return lines + paragraph(describe_read_outs(trace), page, indent=2, style="dim")


def describe_read_outs(trace: PredictionTrace) -> str:
    """How the layers are read, and what that shows."""
    read = "Each layer is read through the final norm, at the layer's own scale"
    if trace.contributions_note is not None:  # an encoder whose layers end with a norm
        vector = "mean vector" if trace.read_position is None else "vector"
        read = f"Each layer's {vector} goes through the head as if it were the last"
    return f"{read}: this is what can be decoded there, not what was decided there."


def _number(trace: PredictionTrace, page: Page) -> Lines:
    decision = trace.decision
    mean, deviation, score = decision.mean or 0.0, decision.deviation or 1.0, decision.score or 0.0
    logit = trace.head.logits[0]
    sentence = f"mean {mean:.4g} + deviation {deviation:.4g} × output {logit:+.4g} = {mean + deviation * logit:.4g}, "
    sentence += "mean and deviation of the training rows"
    lines = paragraph(sentence, page, indent=2)
    lines += check(
        "this sum and the prediction", abs(mean + deviation * logit - score) / max(deviation, abs(score)), page
    )
    truth = "" if trace.true_label is None else f"; the label is {clean(trace.true_label, 20)}"
    return lines + paragraph(f"{decision.label}{truth}", page, indent=2, first="→ ", style="bold green")


def _labels(trace: PredictionTrace, page: Page) -> Lines:
    decision, names = trace.decision, trace.label_names
    order = sorted(range(len(names)), key=lambda k: decision.thresholds[k] - decision.probabilities[k])
    num_predicted = sum(decision.probabilities[k] >= decision.thresholds[k] for k in order)
    shown = order[: max(num_predicted, 1) + LABELS_SHOWN]
    width = max(cell_len(clean(names[k], 20)) for k in shown)
    lines: Lines = []
    for k in shown:
        probability, threshold = decision.probabilities[k], decision.thresholds[k]
        is_predicted = probability >= threshold
        line = Text(f"  {'✓' if is_predicted else ' '} {pad(clean(names[k], 20), width)}  ")
        line.append(bar(probability, 2 * bar_width(page)), style="cyan")
        line.append(f"  {formats.probability(probability)}", style="bold" if is_predicted else "")
        lines.append(line.append(f", threshold {formats.percent(threshold)}", style="dim"))
    hidden = len(names) - len(shown)
    lines += (
        paragraph(f"and {hidden} labels further below their thresholds", page, indent=2, style="dim") if hidden else []
    )
    computed = sigmoid(trace.head.logits)
    error = max(abs(a - b) for a, b in zip(computed, decision.probabilities, strict=True))
    lines += check("the sigmoids of the logits and the probabilities", error, page)
    return lines + paragraph(clean(decision.label, 200), page, indent=2, first="→ ", style="bold green")
