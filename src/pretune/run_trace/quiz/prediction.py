"""Questions about one prediction: logits and softmax, and what each part of the network adds."""

from __future__ import annotations

import math
from random import Random

from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at, excerpt
from pretune.trace_schema import Json, PredictionTrace, RunTrace

SUREST = 0.98  # probability up to which the second decimal of a logit is seen
DECIDED = 0.1  # distance from one half from which on a guess of one half is wrong
LEAD = 0.1  # fraction by which the largest contribution must exceed the second
SCORE = 0.3  # smallest difference of scores that counts
MOST_COMPONENTS = 12  # that a prompt lists

Found = list[tuple[int, PredictionTrace]]


def predictions_of(trace: RunTrace) -> Found:
    """The predictions to ask about, which is to ask about the network: without those in which linear models that are
    stacked on it change the label, since the page shows the label that is delivered."""
    return [
        (index, each)
        for index, each in enumerate(trace.predictions)
        if each.stack is None or each.stack.label == each.decision.label
    ]


def _name(label: str) -> str:
    return f"“{label}”"


def _runner_up(prediction: PredictionTrace) -> int:
    probabilities = prediction.decision.probabilities
    others = [k for k in range(len(probabilities)) if k != prediction.decision.index]
    return max(others, key=lambda k: probabilities[k])


# ---- the decision


def _unsure(trace: RunTrace) -> Found:
    return [
        (i, p)
        for i, p in predictions_of(trace)
        if len(p.head.logits) == 2 and 0.5 + DECIDED <= p.decision.probability <= SUREST
    ]


def _has_unsure(trace: RunTrace) -> bool:
    return bool(_unsure(trace))


def _softmax(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_unsure(trace))
    asked = rng.randrange(2)
    logits = prediction.head.logits
    names = [_name(label) for label in prediction.label_names]
    read = at("predictions", index, "head", "logits")
    own = ["index", read, asked]
    shown = [round(logit, 2) for logit in logits]  # a reader computes with these
    difference = shown[asked] - shown[1 - asked]
    text = "For a text of this run" if trace.is_redacted else f"For {excerpt(prediction.text)}"
    return Draft(
        prompt=f"{text} the head gives the logits {shown[0]:.2f} for {names[0]} and {shown[1]:.2f} for {names[1]}. "
        f"Which probability does {names[asked]} get?",
        number=["mul", 100, ["index", ["softmax", read], asked]],
        tolerance=0.5,
        unit="%",
        wrong_numbers=[
            WrongNumber(
                ["mul", 100, ["div", 1, ["add", 1, ["exp", ["sub", 0, own]]]]],
                "That is the sigmoid of one logit; the other one counts, too.",
                "puts one logit into the sigmoid",
            ),
            WrongNumber(
                ["mul", 100, ["index", ["softmax", read], 1 - asked]],
                f"That is the probability of {names[1 - asked]}.",
                "swaps the classes",
            ),
        ],
        hints=[
            "Softmax turns differences of logits into probabilities.",
            "With two classes it is 1 / (1 + e^(other - own)).",
            f"other - own = {-difference:.2f}.",
        ],
        solution=[
            f"{shown[asked]:.2f} - {_subtrahend(shown[1 - asked])} = {difference:.2f}.",
            f"1 / (1 + e^({-difference:.2f})) = {100 / (1 + math.exp(-difference)):.1f} %.",
        ],
        mistakes=["divides a logit by the sum of the logits"],
    )


def _subtrahend(value: float) -> str:
    return f"({value:.2f})" if value < 0 else f"{value:.2f}"


# ---- contributions


def _margins(prediction: PredictionTrace) -> list[float]:
    first, second = prediction.decision.index, _runner_up(prediction)
    return [each.logits[first] - each.logits[second] for each in prediction.contributions]


def _margins_of(index: int, prediction: PredictionTrace) -> Json:
    logits = ["map", at("predictions", index, "contributions"), "logits"]
    return ["sub", ["map", logits, prediction.decision.index], ["map", logits, _runner_up(prediction)]]


def _summable(trace: RunTrace) -> Found:
    found = []
    for i, p in predictions_of(trace):
        if len(p.decision.probabilities) >= 2 and 3 <= len(p.contributions) <= MOST_COMPONENTS:
            margins = [round(margin, 2) for margin in _margins(p)]
            if abs(sum(margins)) >= SCORE and abs(sum(margins) - sum(_margins(p))) <= 0.02:
                found.append((i, p))
    return found


def _has_summable(trace: RunTrace) -> bool:
    return bool(_summable(trace))


def labels_of(prediction: PredictionTrace) -> tuple[str, str]:
    """The label and the runner-up, in quotation marks."""
    return _name(prediction.decision.label), _name(prediction.label_names[_runner_up(prediction)])


def _listed(prediction: PredictionTrace) -> str:
    pairs = zip(prediction.contributions, _margins(prediction), strict=True)
    return ", ".join(f"{each.name.replace('_', ' ')} {margin:+.2f}" for each, margin in pairs)


def _sum(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_summable(trace))
    first, second = labels_of(prediction)
    margins, read = _margins(prediction), _margins_of(index, prediction)
    text = "In one prediction of this run" if trace.is_redacted else f"For {excerpt(prediction.text)}"
    return Draft(
        prompt=f"{text} the parts of the network add to the logit of {first} minus that of {second}: "
        f"{_listed(prediction)}. What is "
        "the difference of the two logits?",
        number=["sum", read],
        tolerance=0.1,
        wrong_numbers=[
            WrongNumber(["max", read], "That is the largest part alone.", "takes the largest part for the whole"),
            WrongNumber(["sum", ["abs", read]], "Negative parts speak against the label.", "leaves out the signs"),
            WrongNumber(["last", read], "That is only what was added last.", "takes the last layer for the result"),
        ],
        hints=[
            "The logit is a sum over the parts of the network, the bias included.",
            "Add them up, with their signs.",
        ],
        solution=[f"{' '.join(f'{margin:+.2f}' for margin in margins)} = {sum(margins):+.2f}."],
    )


def _with_largest(trace: RunTrace) -> Found:
    found = []
    for i, p in predictions_of(trace):
        if len(p.decision.probabilities) >= 2 and len(p.contributions) >= 4:
            ordered = sorted(_margins(p), reverse=True)
            if ordered[0] >= SCORE and ordered[0] - ordered[1] >= LEAD * ordered[0]:
                found.append((i, p))
    return found


def _has_largest(trace: RunTrace) -> bool:
    return bool(_with_largest(trace))


def _largest(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_with_largest(trace))
    first, second = labels_of(prediction)
    margins = _margins(prediction)
    ordered = sorted(range(len(margins)), key=lambda k: -margins[k])
    names = [each.name.replace("_", " ") for each in prediction.contributions]
    last_layer = max(ordered, key=lambda k: (names[k] != "bias", k))
    first_part = names.index("embedding") if "embedding" in names else 0
    shown = list(dict.fromkeys([ordered[0], ordered[1], last_layer, first_part, *ordered]))[:4]
    misconceptions: dict[int, str | None] = dict.fromkeys(shown, "guesses a part instead of reading what it adds")
    misconceptions |= {last_layer: "expects the last layer to decide alone", ordered[0]: None}
    claims = [
        Claim(
            text=names[k].capitalize(),
            why=f"It adds {margins[k]:+.2f} to the logit of {first} minus that of {second}.",
            holds=["eq", ["argmax", _margins_of(index, prediction)], k],
            misconception=misconceptions[k],
        )
        for k in shown
    ]
    text = f"In prediction {index + 1}" if trace.is_redacted else f"For {excerpt(prediction.text)}"
    return Draft(
        prompt=f"{text} the network decides for {first}. Which part of the network adds most to the logit of {first} "
        "minus that of "
        f"{second}?",
        right=claims[0],
        wrong=claims[1:],
        hints=[
            "In this network a logit is exactly the sum of what its parts add.",
            "Layer 3 of the prediction, section 5, shows the parts as bars.",
        ],
        solution=[f"The parts add {_listed(prediction)}.", f"The largest is {names[ordered[0]]}."],
    )


TEMPLATES = (
    Template("Q-PART", "easy", "contributions", "prediction", _has_largest, _largest),
    Template("Q-SOFTMAX", "medium", "softmax", "prediction", _has_unsure, _softmax),
    Template("Q-SUM", "medium", "contributions", "prediction", _has_summable, _sum),
)
