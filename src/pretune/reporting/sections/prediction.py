"""A prediction trace in; out comes one text through tokenization, embedding, transformer layers, head and decision, and
then the reasons: two attributions side by side, with their agreement and a random control.

Sums and probabilities are recomputed from the numbers of the trace, and the difference is shown.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from pretune.reporting.sections.decision import (
    bar_width,
    check,
    decide,
    describe_read_outs,
    list_read_outs,
    signed_bar,
    write_added,
)
from pretune.reporting.sections.stacked_decision import render_stack, stacked_title
from pretune.run_trace import formats
from pretune.run_trace.prediction_checks import softmax
from pretune.terminal import (
    NARROW,
    Cell,
    Column,
    Lines,
    Page,
    Row,
    bar,
    clean,
    heading,
    pad,
    paragraph,
    quote,
    table,
)
from pretune.trace_schema import Contribution, Embedding, PredictionTrace, Readout, Reasons, Token

TOKENS_SHOWN = 40  # of a long text, from its start
CLASSES_SHOWN = 3
JOINT, INSIDE, BLANK = "·", "··", "␣"
TERMS_SHOWN = 4  # of the products that sum to a logit, in each direction
WORDS_SHOWN = 16  # of the reasons: those with the largest attributions
LEAST_AGREEMENT = 0.5  # rank correlation of two attributions; below, single words are not to be read
DELETED = 3  # words, in the sentence about the random control
NO_PROBES = "There are no probes of the layers: they are trained for tasks with one class for each text only."
_LEVELS = "▁▂▃▄▅▆▇█"


def render_prediction(trace: PredictionTrace, page: Page, note: str = "") -> Lines:
    """The five layers of a trace and the reasons for its label; `note` names where the data came from."""
    lines = heading("PREDICTION TRACE", note, page)
    for text in (trace.text, trace.text_pair):
        lines += [] if text is None else paragraph(quote(text, 400), page, indent=1)
    if trace.word is not None:
        lines += paragraph(_describe_word(trace), page, indent=1, style="dim")
    lines += _title(1, "Tokenization", "the text is split into tokens of the vocabulary; below each, its id", page)
    lines += _tokenization(trace, page)
    lines += _title(2, "Embedding", "each token becomes a vector; below each, the vector's length", page)
    lines += _embedding(trace.embedding, trace.tokens, page)
    lines += _title(3, "Transformer layers", "the read-out after each layer, and what each component adds", page)
    lines += _transformer(trace, page)
    vector = "mean vector" if trace.read_position is None else "vector of [MASK]"
    vector = vector if trace.word is None else "vector of the word's first token"
    outputs = {"regression": "one row of weights", "tokens": "a row of weights per label of a word"}
    rows_of_weights = outputs.get(trace.task, "a row of weights per class")
    lines += _title(4, "Head", f"the {vector} times {rows_of_weights}, plus a bias", page)
    lines += _head(trace, page)
    lines += _title(5, "Decision", _DECISIONS[trace.task], page)
    lines += decide(trace, page) if trace.task in ("multilabel", "regression") else _decision(trace, page)
    if trace.stack is not None:
        named = stacked_title(trace.stack)
        lines += _title(6, named, "what predict returns: what each part gives, weighted and added", page)
        lines += render_stack(trace, trace.stack, page)
    if trace.reasons is not None:
        lines += _title(None, "Reasons", f"what each word adds to {_explained(trace.reasons, trace)}", page)
        lines += _reasons(trace, trace.reasons, page)
    return lines


_DECISIONS = {
    "classification": "softmax of the logits",
    "multilabel": "sigmoid of each logit, against a threshold that validation chose",
    "regression": "back to the units of the file",
    "tokens": "softmax of the logits of this word; entities come from the likeliest sequence of labels",
}


def _describe_word(trace: PredictionTrace) -> str:
    """The entities of a text, and the word that the layers are shown for."""
    assert trace.word is not None
    found = ", ".join(f"{quote(trace.text[each.start : each.end], 40)} {each.type}" for each in trace.entities[:12])
    more = f", and {len(trace.entities) - 12} more" if len(trace.entities) > 12 else ""
    shown = quote(trace.text[trace.word.start : trace.word.end], 40)
    entities = f"Entities: {found}{more}." if found else "No entity is predicted."
    return f"{entities} The layers below are those of the first token of {shown}."


def _explained(reasons: Reasons, trace: PredictionTrace) -> str:
    """The score of the reasons in words."""
    if trace.task == "regression":
        return "the predicted number"
    label = clean(reasons.label, 20)
    if reasons.runner_up is None:
        return f"the logit of {label} above its threshold"
    return f"the lead of {label} over {clean(reasons.runner_up, 20)}, in logits"


def _title(number: int | None, name: str, note: str, page: Page) -> Lines:
    title = Text("").append(name if number is None else f"{number} {name}", style="bold cyan")
    if title.cell_len + cell_len(note) + 3 > page.width:
        return [Text(""), title, *paragraph(note, page, indent=2, style="dim")]
    return [Text(""), title.append(f"   {note}", style="dim")]


# ---- 1 and 2: tokens


def _tokenization(trace: PredictionTrace, page: Page) -> Lines:
    tokens = trace.tokens
    ids = ["" if token.id is None else str(token.id) for token in tokens]
    columns = list(zip(_surfaces(tokens), ids, strict=False))
    lines = _gloss(columns, page, ("", "dim"))
    joined = f"; {JOINT} joined to the token before" if any(name.startswith(JOINT) for name, _ in columns) else ""
    joined += f"; {INSIDE} more bytes of the same character" if any(name == INSIDE for name, _ in columns) else ""
    read = f"{len(tokens)} tokens{_more(tokens)}{joined}{_describe_cut(trace)}"
    return lines + paragraph(read, page, indent=2, style="dim")


def _describe_cut(trace: PredictionTrace) -> str:
    """In how many windows the text is read, and what of it is not."""
    windows = _count_windows(trace)
    read = f"; read in {windows} windows" if windows > 1 else ""
    if not trace.was_cut:
        return read
    if trace.word is not None:
        return f"{read}; the text was too long to be read at once, so only the part around this word is shown"
    left_out = "some of it was left out" if windows > 1 else "its middle was cut"
    return f"{read}; the text was too long, so {left_out}"


def _count_windows(trace: PredictionTrace) -> int:
    """In how many windows a text is read; 1 if it is read at once.

    Each window has the special tokens of a text at its ends: two of them with pretune's own tokenizers, one or none
    with those of some bases. A special token that is written in the text stands in a window.
    """
    tokens = trace.tokens
    places = [place for place, token in enumerate(tokens) if not token.is_special]
    if not places or trace.text_pair is not None or trace.read_position is not None:
        return 1
    num_around = min(places[0] + len(tokens) - 1 - places[-1], 2)
    count = 1
    for last, first in pairwise(places):
        is_border = 0 < num_around < first - last
        between = trace.text[tokens[last].end : tokens[first].start]
        count += is_border and (trace.was_cut or not between.strip())
    return count


def _more(items: Sequence[Any]) -> str:
    return f", the first {TOKENS_SHOWN} shown" if len(items) > TOKENS_SHOWN else ""


def _surfaces(tokens: list[Token]) -> list[str]:
    """The tokens to draw, with a sign before those that start where the token before ended."""
    surfaces = []
    for before, token in zip([None, *tokens], tokens[:TOKENS_SHOWN], strict=False):
        span = (token.start, token.end)
        is_joined = before is not None and token.start is not None and token.start == before.end
        is_joined = is_joined and not token.surface.startswith(" ")
        is_inside = before is not None and token.start is not None and span == (before.start, before.end)
        surfaces.append(INSIDE if is_inside else JOINT * is_joined + (clean(token.surface, 20) or BLANK))
    return surfaces


def _embedding(embedding: Embedding, tokens: list[Token], page: Page) -> Lines:
    norms = embedding.norms
    low, high = min(norms), max(norms)
    columns = []
    for name, norm in zip(_surfaces(tokens), norms, strict=False):
        level = 0 if high == low else round((norm - low) / (high - low) * (len(_LEVELS) - 1))
        columns.append((name, f"{_LEVELS[level]} {formats.nats(norm)}"))
    lines = _gloss(columns, page, ("", "cyan"))
    return lines + paragraph(f"shortest {formats.nats(low)}, longest {formats.nats(high)}", page, indent=2, style="dim")


def _gloss(columns: Sequence[tuple[str, str]], page: Page, styles: tuple[str, str]) -> Lines:
    """Pairs, one text above the other, as many in a row as the page has room for."""
    lines: Lines = []
    upper, lower, used = Text("  "), Text("  "), 2
    for top, bottom in columns:
        width = max(cell_len(top), cell_len(bottom)) + 2
        if used + width > page.width and used > 2:
            lines += [upper, lower]
            upper, lower, used = Text("  "), Text("  "), 2
        upper.append(pad(top, width), style=styles[0])
        lower.append(pad(bottom, width), style=styles[1])
        used += width
    return [*lines, upper, lower]


# ---- 3: layers


def _shown_classes(trace: PredictionTrace) -> list[int]:
    """The classes to show, the most probable first."""
    decision = trace.decision
    if not decision.probabilities:  # a number
        return [decision.index]
    levels = decision.thresholds or [0.0] * len(decision.probabilities)
    order = sorted(range(len(levels)), key=lambda k: levels[k] - decision.probabilities[k])
    return list(dict.fromkeys([decision.index, *order]))[:CLASSES_SHOWN]


def _label(trace: PredictionTrace, index: int, page: Page | None = None) -> str:
    """The name of a class; shorter if it is to be the title of a column on a narrow page."""
    return clean(trace.label_names[index], 10 if page is not None and page.width < NARROW else 20)


def _layer_name(layer: int) -> str:
    return f"layer {layer}" if layer else "embedding"


def _transformer(trace: PredictionTrace, page: Page) -> Lines:
    shown = _shown_classes(trace)
    first = shown[0]
    if trace.task == "regression":
        lines = list_read_outs(trace, page) + paragraph(NO_PROBES, page, indent=2, style="dim")
        return lines + _added(trace, shown, page)
    columns = [Column("after")]
    columns += [Column(_label(trace, k, page), "right", wraps=True) for k in shown]
    width = bar_width(page)
    columns += [Column("0 %".ljust(max(width - 5, 4)) + "100 %")]
    rows: list[Row] = []
    for readout in trace.readouts:
        values = readout.probabilities
        cells = [_layer_name(readout.layer), *(formats.probability(values[k]) for k in shown)]
        rows.append([*cells, Cell(bar(values[first], width), "cyan")])
    lines = table(columns, rows, page, indent=2)
    note = f"Bars: {_label(trace, first)}. {describe_read_outs(trace)}"
    lines += paragraph(note, page, indent=2, style="dim")
    lines += _probes(trace, trace.readouts, page)
    return lines + _added(trace, shown, page)


def _probes(trace: PredictionTrace, readouts: list[Readout], page: Page) -> Lines:
    """The probes of the layers, beside their controls."""
    first = trace.decision.index
    is_narrow = page.width < NARROW
    columns = [Column("probe after", wraps=is_narrow), Column(_label(trace, first, page), "right", wraps=is_narrow)]
    names = ("accuracy", "shuffled labels", "random weights")
    columns += [Column(name, "right", wraps=is_narrow) for name in names]
    rows: list[Row] = []
    n = 0
    for readout in readouts:
        if (probe := readout.probe) is not None:
            accuracies = (probe.validation_accuracy, probe.shuffled_accuracy, probe.random_weights_accuracy)
            shown = [formats.probability(probe.probabilities[first]), *map(formats.percent, accuracies)]
            rows.append([_layer_name(readout.layer), *shown])
            n = probe.n
    if not rows:
        return paragraph(NO_PROBES, page, indent=2, style="dim") if trace.task != "classification" else []
    note = f"Probes are linear classifiers trained on the run's training rows; accuracies on {n:,} validation rows. "
    note += "The controls show what a probe reads without labels that mean anything, or without trained layers."
    return [Text(""), *table(columns, rows, page, indent=2), *paragraph(note, page, indent=2, style="dim")]


def _added(trace: PredictionTrace, shown: list[int], page: Page) -> Lines:
    """What each part adds to the logits, or why that is not shown."""
    if trace.contributions:
        return [Text(""), *_contributions(trace, trace.contributions, shown, page)]
    if trace.contributions_note is None:
        return []
    return [Text(""), *paragraph(clean(trace.contributions_note), page, indent=2, style="dim")]


def _contributions(trace: PredictionTrace, contributions: list[Contribution], shown: list[int], page: Page) -> Lines:
    first = shown[0]
    half = bar_width(page) // 2
    unit = trace.decision.deviation or 1.0  # the contributions to a number are in the units of the file
    title = "added to the logit" if trace.decision.deviation is None else "added to the number"
    columns = [Column(title, wraps=page.width < NARROW)]
    columns += [Column(_label(trace, k, page), "right", wraps=True) for k in shown]
    columns += [Column(_scale(half))]
    components = [
        (clean(each.name.replace("_", " "), 24), [unit * logit for logit in each.logits]) for each in contributions
    ]
    largest = max(abs(values[first]) for _, values in components) or 1.0
    rows: list[Row] = [
        [
            name,
            *(write_added(values[k], trace, 3) for k in shown),
            Cell(signed_bar(values[first] / largest, half), "cyan"),
        ]
        for name, values in components
    ]
    sums = [sum(values[k] for _, values in components) for k in range(len(components[0][1]))]
    rows.append([Cell("sum", "bold"), *(Cell(write_added(sums[k], trace, 3), "bold") for k in shown), ""])
    error = max(abs(a - unit * b) for a, b in zip(sums, trace.head.logits, strict=True)) / unit
    lines = table(columns, rows, page, indent=2)
    if trace.decision.mean is not None:
        note = f"The sum and the mean of the training rows, {trace.decision.mean:.4g}, are the prediction."
        lines += paragraph(note, page, indent=2, style="dim")
    return lines + check("the sums and the logits", error, page)


def _scale(half: int) -> str:
    """The title of a column of signed bars."""
    return ("against" if half > 6 else "-").rjust(half) + ("│for" if half > 6 else "│+")


# ---- 4 and 5: head and decision


def _head(trace: PredictionTrace, page: Page) -> Lines:
    head, shown = trace.head, _shown_classes(trace)
    columns = [
        Column("class" if trace.task == "classification" else "output"),
        Column("weights · vector", "right"),
        Column("bias", "right"),
        Column("logit", "right"),
    ]
    rows: list[Row] = []
    for k in shown:
        logit, bias = head.logits[k], head.bias[k]
        rows.append([_label(trace, k), f"{logit - bias:+.3f}", f"{bias:+.3f}", f"{logit:+.3f}"])
    lines = table(columns, rows, page, indent=2) + _hidden_classes(trace, shown, page)
    return lines + _arithmetic(trace, shown[0], page)


def _arithmetic(trace: PredictionTrace, first: int, page: Page) -> Lines:
    """The logits recomputed from vector, weights and bias, and the largest products in the sum of the first class."""
    head = trace.head
    products = [weight * value for weight, value in zip(head.weight[first], head.pooled, strict=True)]
    order = sorted(range(len(products)), key=lambda d: -products[d])
    largest = [d for d in order[:TERMS_SHOWN] if products[d] > 0] + [d for d in order[-TERMS_SHOWN:] if products[d] < 0]
    terms = ", ".join(f"[{d}] {products[d]:+.3f}" for d in dict.fromkeys(largest))
    sentence = f"largest of the {len(products)} products for {_label(trace, first)}, by dimension: {terms}"
    rows = zip(head.weight, head.bias, head.logits, strict=True)
    error = max(abs(math.fsum(w * v for w, v in zip(row, head.pooled, strict=True)) + b - z) for row, b, z in rows)
    lines = paragraph(sentence, page, indent=2, style="dim")
    return lines + check("weights · vector + bias and the logits", error, page)


def _hidden_classes(trace: PredictionTrace, shown: list[int], page: Page) -> Lines:
    hidden = len(trace.decision.probabilities) - len(shown)
    if hidden <= 0:
        return []
    what = "less probable classes" if trace.task == "classification" else "less probable labels"
    if trace.task == "multilabel":  # in the order of the distance to their thresholds
        what = "more labels"
    return paragraph(f"and {hidden} {what}", page, indent=2, style="dim")


def _decision(trace: PredictionTrace, page: Page) -> Lines:
    decision, shown = trace.decision, _shown_classes(trace)
    lines: Lines = []
    width = max(cell_len(_label(trace, k)) for k in shown)
    for k in shown:
        probability = decision.probabilities[k]
        line = Text(f"  {pad(_label(trace, k), width)}  ")
        line.append(bar(probability, 2 * bar_width(page)), style="cyan")
        lines.append(line.append(f"  {formats.probability(probability)}"))
    lines += _hidden_classes(trace, shown, page)
    computed = softmax(trace.head.logits)
    error = max(abs(a - b) for a, b in zip(computed, decision.probabilities, strict=True))
    lines += check("the softmax of the logits and the probabilities", error, page)
    shown_probability, margin = formats.probability(decision.probability), f"{100 * decision.margin:.1f} points"
    sentence = f"{clean(decision.label, 40)} with probability {shown_probability}, {margin} ahead of the next class"
    return lines + paragraph(sentence, page, indent=2, first="→ ", style="bold green")


# ---- reasons


def _reasons(trace: PredictionTrace, reasons: Reasons, page: Page) -> Lines:
    lines = _attributions(trace, reasons, page)
    error = formats.change(reasons.completeness_error)
    if reasons.is_converged:
        lead = "lead" if reasons.runner_up is not None else "score"
        change = write_added(reasons.score - reasons.masked_score, trace)
        sentence = f"the gradients sum to {change}, the {lead} minus that of the text "
        sentence += f"with every word masked, up to an error of {error} ({reasons.steps} steps)"
        lines += paragraph(sentence, page, indent=2, first="✓ ", style="dim")
        lines += paragraph(_agreement(reasons), page, indent=2)
    else:
        sentence = f"the gradients miss the sum by {error} after {reasons.steps} steps: do not read them"
        lines += paragraph(sentence, page, indent=2, first="! ", style="bold red")
    lines += paragraph(_control(trace, reasons), page, indent=2)
    if trace.task == "regression":  # a number has no other label to turn into
        return lines
    return lines + paragraph(_flip(trace, reasons), page, indent=2)


def _attributions(trace: PredictionTrace, reasons: Reasons, page: Page) -> Lines:
    """The words with the largest attributions, in the order of the text, with a bar for each of the two methods."""
    pairs = list(zip(reasons.integrated_gradients, reasons.occlusion, strict=True))
    scales = [max(abs(pair[method]) for pair in pairs) or 1.0 for method in (0, 1)]
    order = sorted(range(len(pairs)), key=lambda w: -max(abs(pairs[w][m]) / scales[m] for m in (0, 1)))
    half = bar_width(page) // 2
    columns = [Column("word", wraps=page.width < NARROW)]
    columns += [Column("gradients", "right"), Column(_scale(half)), Column("masked", "right"), Column(_scale(half))]
    rows: list[Row] = []
    for word in sorted(order[:WORDS_SHOWN]):
        cells: list[str | Cell] = [clean(reasons.words[word], 20) or BLANK]
        for value, scale in zip(pairs[word], scales, strict=True):
            cells += [write_added(value, trace), Cell(signed_bar(value / scale, half), "cyan")]
        rows.append(cells)
    lines = table(columns, rows, page, indent=2)
    note = "gradients: integrated gradients from the text with every word masked. "
    lead = "lead" if reasons.runner_up is not None else "score"
    note += f"masked: how far the {lead} falls when only this word is masked."
    if len(pairs) > len(rows):
        note += f" The {len(rows)} of {len(pairs)} words with the largest values are shown."
    return lines + paragraph(note, page, indent=2, style="dim")


def _agreement(reasons: Reasons) -> str:
    if reasons.rank_correlation is None:
        return "There are too few different values to say whether the two methods agree."
    same = "the same word" if reasons.is_top_word_equal else "different words"
    figures = f"rank correlation {reasons.rank_correlation:.2f}, {same} first"
    if reasons.rank_correlation < LEAST_AGREEMENT:
        return f"The two methods disagree ({figures}): do not read the importance of single words here."
    return f"The two methods agree ({figures})."


def _control(trace: PredictionTrace, reasons: Reasons) -> str:
    count = min(DELETED, len(reasons.deletion) - 1)
    words = "the word" if count == 1 else f"the {count} words"
    lead = "lead" if reasons.runner_up is not None else "score"
    scores = (reasons.score, reasons.deletion[count], reasons.random_deletion[count])
    before, after, by_chance = (write_added(score, trace) for score in scores)
    sentence = f"Masking {words} with the largest gradients changes the {lead} from {before} to {after}; "
    sentence += f"masking {'a random word' if count == 1 else f'{count} random words'} "
    sentence += f"changes it to {by_chance} (mean of {reasons.random_orders} orders)."
    if reasons.deletion[count] >= reasons.random_deletion[count]:
        sentence += " Here, the gradients find no more than chance does."
    return sentence


def _flip(trace: PredictionTrace, reasons: Reasons) -> str:
    flip = trace.decision.flip
    if flip is None:
        return "Masking any one word leaves the label as it is, and so do the sets of up to 4 words that were tried."
    words = ", ".join(quote(reasons.words[word], 24) for word in flip.words)
    changed = f"changes the label to {clean(flip.label, 40)} ({formats.probability(flip.probability)})"
    if trace.task == "multilabel":
        now = f"{clean(reasons.label, 40)} {formats.probability(flip.probability)}"
        changed = f"changes the labels to {clean(flip.label, 60)} ({now})"
    return f"Masking {words} {changed}."
