"""Invariants of the traced predictions: each is computed again from the numbers in the trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from pretune.trace_schema import Check, PredictionTrace, Reasons, RunTrace, Token

ARITHMETIC = 1e-4  # relative to the size of the logits; the file has six significant digits
FORWARD = 1e-4  # between two ways of running the model
COMPLETENESS = 1e-3  # of a sum of attributions, relative to the score
# An integral that is called converged is nearer than this: of the difference of scores, or of the unit of the score.
CONVERGED, CONVERGED_UNITS = 0.02, 0.01
MASK = "[MASK]"  # as the text of a cloze has it, whatever the tokenizer of its base calls it


def check_predictions(trace: RunTrace) -> list[Check]:
    """The checks of all traced predictions; none if there are no predictions."""
    if not trace.predictions:
        return []
    vocab_size = trace.tokenizer.vocab_size if trace.tokenizer is not None else None
    checks = [
        _largest(
            trace, "I01", "Tokens rebuild the text", _rebuild_error, 0.0,
            "Characters that the tokens and the blanks between them do not give back: at most {}.",
        ),
        _largest(
            trace, "I02", "Token ids are in the vocabulary", lambda p: _strange_tokens(p, vocab_size), 0.0,
            "Tokens outside of the vocabulary, or wrongly marked as special: at most {}.",
        ),
        _largest(
            trace, "I03", "Attention weights sum to 1", _attention_error, FORWARD,
            "Rows of attention weights differ from a sum of 1 by at most {}.",
        ),
        _largest(
            trace, "I04", "The trace predicts what the model predicts", lambda p: p.prediction_error, FORWARD,
            "Logits of the traced and of the plain forward pass differ by at most {}.",
        ),
        _largest(
            trace, "I05", "The head's arithmetic holds", _head_error, ARITHMETIC,
            "Weights times vector plus bias differ from the logits by at most {} of their size.", in_browser=True,
        ),
        _largest(
            trace, "I06", *_link_of(trace), in_browser=True,
        ),
        _largest(
            trace, "I07", *_rule_of(trace), in_browser=True, adds=True,
        ),
        _largest(
            trace, "I08", "Contributions sum to the logits", _contribution_error, ARITHMETIC,
            "The sums of the contributions differ from the logits by at most {} of their size.",
        ),
    ]  # fmt: skip
    return checks + _check_reasons(trace)


_Measure = Callable[[PredictionTrace], float | None]


def _link_of(trace: RunTrace) -> tuple[str, _Measure, float, str]:
    """How outputs become probabilities, or a number: name of the check, its measure and tolerance, and its sentence."""
    task = trace.predictions[0].task
    if task == "regression":
        return (
            "The number is the output in units of the file", _number_error, ARITHMETIC,
            "Mean plus deviation times output, and the prediction, differ by at most {} of its size.",
        )  # fmt: skip
    link = "sigmoid" if task == "multilabel" else "softmax"
    return (
        f"Probabilities are the {link} of the logits", _link_error, ARITHMETIC,
        f"The {link} of the logits and the probabilities differ by at most {{}}.",
    )  # fmt: skip


def _rule_of(trace: RunTrace) -> tuple[str, _Measure, float, str]:
    """How probabilities become a label."""
    task = trace.predictions[0].task
    if task == "multilabel":
        return (
            "The labels are those that reach their thresholds", _label_set_error, 0.0,
            "Predictions whose labels are not those with a probability at its threshold or above: {}.",
        )  # fmt: skip
    if task == "regression":
        return (
            "The number is that of the last layer", _last_layer_error, 0.0,
            "Predictions whose number is not the one that is read out after the last layer: {}.",
        )  # fmt: skip
    what = "class" if task == "classification" else "label of the word"
    return (
        f"The label is the most probable {what}", _label_error, 0.0,
        f"Predictions whose label is not the {what} with the highest probability: {{}}.",
    )  # fmt: skip


def _check_reasons(trace: RunTrace) -> list[Check]:
    if not any(prediction.reasons is not None for prediction in trace.predictions):
        return []
    return [
        _largest(
            trace, "I09", "Attributions sum to the score", _completeness_error, COMPLETENESS,
            "Integrated gradients that are called converged miss the score by at most {} of its size.", in_browser=True,
        ),
        _largest(
            trace, "I10", "The explained score is the lead in logits", _score_error, ARITHMETIC,
            "Score and lead over the runner-up differ by at most {} of the size of the logits.",
        ),
        _largest(
            trace, "I11", "Hiding nothing changes nothing", _deletion_error, ARITHMETIC,
            "With no word masked, the score differs from the explained one by at most {} of its size.",
        ),
    ]  # fmt: skip


def _largest(
    trace: RunTrace,
    id: str,
    name: str,
    measure: Callable[[PredictionTrace], float | None],
    tolerance: float,
    sentence: str,
    *,
    in_browser: bool = False,
    adds: bool = False,
) -> Check:
    """A check of the largest value of a measure (or, with `adds`, the sum) over all predictions that have it."""
    found = [(measure(prediction), index) for index, prediction in enumerate(trace.predictions)]
    known = [(math.inf if math.isnan(value) else value, index) for value, index in found if value is not None]
    value = sum(each for each, _ in known) if adds else max((each for each, _ in known), default=0.0)
    written = f"{value:g}" if value in (0.0, math.inf) or value >= 1 else f"{value:.1e}"
    return Check(
        id=id,
        name=name,
        sentence=sentence.format(written),
        is_ok=value <= tolerance,
        value=value if math.isfinite(value) else None,
        tolerance=tolerance,
        in_browser=in_browser,
        pointers=[f"/predictions/{index}" for each, index in known if each > tolerance]
        or [f"/predictions/{index}" for _, index in known],
    )


def _rebuild_error(prediction: PredictionTrace) -> float:
    """Characters that are neither those of a token nor blanks between tokens; the middle of a cut text may be lost."""
    is_cloze = prediction.read_position is not None and prediction.word is None
    most_cuts = 2 if is_cloze else 1  # the sentence of a cloze has both texts of a pair
    num_cuts = most_cuts if prediction.was_cut else 0
    of_first = [token for token in prediction.tokens if not token.in_pair]
    error = _rebuild_text_error(prediction.text, of_first, num_cuts)
    if prediction.text_pair is not None:
        of_second = [token for token in prediction.tokens if token.in_pair]
        error += _rebuild_text_error(prediction.text_pair, of_second, num_cuts)
    return error


def _rebuild_text_error(text: str, tokens: Sequence[Token], num_cuts: int) -> float:
    place, wrong, gaps = 0, 0, []
    unread, is_new_window = 0, True  # of a very long text only some windows are read
    for token in tokens:
        if token.start is None or token.end is None:
            is_new_window = True
            rest = text[place:].lstrip()
            own = next((each for each in (token.surface, MASK) if each and rest.startswith(each)), None)
            if own is not None:  # a special token that the text itself has
                place = len(text) - len(rest) + len(own)
            continue
        if text[token.start : token.end] != token.surface:
            wrong += max(token.end - token.start, len(token.surface), 1)
        gaps.append(len(text[place : token.start].strip()))
        unread += gaps[-1] if is_new_window else 0
        is_new_window = False
        place = max(place, token.end)
    gaps.append(len(text[place:].strip()))
    cut = max(unread, sum(sorted(gaps, reverse=True)[:num_cuts])) if num_cuts else 0
    return float(wrong + sum(gaps) - cut)


def _strange_tokens(prediction: PredictionTrace, vocab_size: int | None) -> float:
    return float(
        sum(
            token.id is None
            or token.id < 0
            or (vocab_size is not None and token.id >= vocab_size)
            or token.is_special != (token.start is None)
            for token in prediction.tokens
        )
    )


def _attention_error(prediction: PredictionTrace) -> float | None:
    return None if prediction.attention is None else prediction.attention.row_sum_error


def _size(logits: Sequence[float]) -> float:
    return max(1.0, *(abs(logit) for logit in logits))


def _head_error(prediction: PredictionTrace) -> float:
    head = prediction.head
    rows = zip(head.weight, head.bias, head.logits, strict=True)
    errors = [abs(math.fsum(w * x for w, x in zip(row, head.pooled, strict=True)) + b - z) for row, b, z in rows]
    return max(errors) / _size(head.logits)


def softmax(logits: Sequence[float]) -> list[float]:
    """Probabilities (C,) from logits (C,)."""
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def sigmoid(logits: Sequence[float]) -> list[float]:
    """The probability of each label (C,) by itself."""
    return [1 / (1 + math.exp(-min(max(logit, -700.0), 700.0))) for logit in logits]


def _number_error(prediction: PredictionTrace) -> float:
    decision = prediction.decision
    if decision.score is None or decision.mean is None or decision.deviation is None:
        return math.inf
    computed = decision.mean + decision.deviation * prediction.head.logits[0]
    size = max(abs(decision.deviation), abs(decision.score), abs(decision.mean))  # in the units of the file
    return abs(computed - decision.score) / (size or 1.0)


def _last_layer_error(prediction: PredictionTrace) -> float:
    return float(not prediction.readouts or prediction.readouts[-1].label != prediction.decision.label)


def _label_set_error(prediction: PredictionTrace) -> float:
    decision = prediction.decision
    reached = zip(prediction.label_names, decision.probabilities, decision.thresholds, strict=True)
    return float(decision.labels != [name for name, probability, level in reached if probability >= level])


def _link_error(prediction: PredictionTrace) -> float:
    computed = (sigmoid if prediction.task == "multilabel" else softmax)(prediction.head.logits)
    return max(abs(a - b) for a, b in zip(computed, prediction.decision.probabilities, strict=True))


def _label_error(prediction: PredictionTrace) -> float:
    decision = prediction.decision
    is_highest = decision.probabilities[decision.index] == max(decision.probabilities)
    is_named = prediction.label_names[decision.index] == decision.label
    return float(not (is_highest and is_named))


def _contribution_error(prediction: PredictionTrace) -> float | None:
    """None for a model whose logits do not divide into contributions."""
    if not prediction.contributions:
        return None
    logits = prediction.head.logits
    sums = [math.fsum(each.logits[k] for each in prediction.contributions) for k in range(len(logits))]
    return max(abs(a - b) for a, b in zip(sums, logits, strict=True)) / _size(logits)


def _unit(prediction: PredictionTrace) -> float:
    """What one logit is in the explained score: a number is in the units of its file, which may be of any size."""
    return abs(prediction.decision.deviation or 1.0)


def _completeness_error(prediction: PredictionTrace) -> float | None:
    """How far the attributions are from the difference that they share out. If they are flagged as not converged, how
    far the error that is shown with them is from the true one."""
    reasons = prediction.reasons
    if reasons is None:
        return None
    change = reasons.score - reasons.masked_score
    unit = _unit(prediction)
    size = max(unit, abs(reasons.score), abs(reasons.masked_score))
    error = math.fsum(reasons.integrated_gradients) - change
    is_far = abs(error) > max(CONVERGED * abs(change), CONVERGED_UNITS * unit) + COMPLETENESS * size
    if reasons.is_converged and is_far:
        return max(abs(error) / size, 2 * COMPLETENESS)
    return abs(error - reasons.completeness_error) / size


def _score_error(prediction: PredictionTrace) -> float | None:
    reasons, names = prediction.reasons, prediction.label_names
    if reasons is None:
        return None
    logits = prediction.head.logits
    if reasons.runner_up is None:
        return _lone_score_error(prediction, reasons)
    if reasons.label not in names or reasons.runner_up not in names:
        return math.inf
    lead = logits[names.index(reasons.label)] - logits[names.index(reasons.runner_up)]
    return abs(lead - reasons.score) / _size(logits)


def _lone_score_error(prediction: PredictionTrace, reasons: Reasons) -> float:
    """Of a score without a runner-up: a number, or the logit above that of the threshold."""
    decision, logits = prediction.decision, prediction.head.logits
    if prediction.task == "regression":
        score = math.inf if decision.score is None else decision.score
        return abs(score - reasons.score) / max(_unit(prediction), abs(reasons.score))
    level = min(max(decision.thresholds[decision.index], 1e-9), 1 - 1e-9)
    lead = logits[decision.index] - math.log(level / (1 - level))
    return abs(lead - reasons.score) / _size(logits)


def _deletion_error(prediction: PredictionTrace) -> float | None:
    reasons = prediction.reasons
    if reasons is None or not reasons.deletion:
        return None
    return abs(reasons.deletion[0] - reasons.score) / max(_unit(prediction), abs(reasons.score))
