"""Questions about the reasons for a label: attributions, masking a word, attention."""

from __future__ import annotations

from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.prediction import labels_of, predictions_of
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at, excerpt
from pretune.trace_schema import PredictionTrace, RunTrace

SCORE = 0.3  # smallest difference of scores that counts


def _complete(trace: RunTrace) -> list[tuple[int, PredictionTrace]]:
    return [
        (i, p)
        for i, p in predictions_of(trace)
        if p.reasons is not None
        and p.reasons.is_converged
        and abs(p.reasons.score - p.reasons.masked_score) >= SCORE
        and abs(p.reasons.masked_score) >= max(0.125, 0.05 * abs(p.reasons.score))
    ]


def _is_complete(trace: RunTrace) -> bool:
    return bool(_complete(trace))


def _completeness(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_complete(trace))
    reasons = prediction.reasons
    assert reasons is not None
    first, second = labels_of(prediction)
    place = ("predictions", index, "reasons")
    total, masked = ["sum", at(*place, "integrated_gradients")], at(*place, "masked_score")
    summed = sum(reasons.integrated_gradients)
    return Draft(
        prompt=f"The score of a text is the logit of {first} minus that of {second}. With every word masked it is "
        f"{reasons.masked_score:.2f}. The integrated gradients of the words sum to {summed:.2f}. What is the score "
        "of the text itself?",
        number=["add", masked, total],
        tolerance=max(0.02 * abs(reasons.score), 0.05),
        wrong_numbers=[
            WrongNumber(total, "That is the difference to the masked text.", "takes the sum for the score"),
            WrongNumber(
                ["sub", total, masked], "The sum is score minus masked score, so add.", "subtracts where it should add"
            ),
            WrongNumber(
                1, "The sum belongs to scores, which are no probabilities.", "expects attributions to sum to 1"
            ),
        ],
        hints=[
            "Integrated gradients are complete: they sum to the score of the text minus that of the masked text.",
            f"score = {reasons.masked_score:.2f} + {summed:.2f}.",
        ],
        solution=[
            f"{reasons.masked_score:.2f} + {summed:.2f} = {reasons.masked_score + summed:.2f}.",
            f"The network gives {reasons.score:.2f}; the rest is the error of the numeric integral.",
        ],
    )


def _flipping(trace: RunTrace) -> list[tuple[int, PredictionTrace, int]]:
    """Predictions of one text in which masking one word, and no other single word, clearly flips the label to the
    runner-up, which the score is about. Of three classes, the third may win instead."""
    found = []
    for i, p in predictions_of(trace):
        flip, reasons = p.decision.flip, p.reasons
        if p.text_pair is not None or flip is None or reasons is None or flip.label != reasons.runner_up:
            continue
        if trace.is_redacted or len(flip.words) != 1 or len(set(reasons.words)) < 4:
            continue
        word, left = flip.words[0], [reasons.score - fall for fall in reasons.occlusion]
        others = [value for k, value in enumerate(left) if k != word]
        if left[word] <= -0.1 and min(others) >= 0.1 and reasons.words.count(reasons.words[word]) == 1:
            found.append((i, p, word))
    return found


def _has_flip(trace: RunTrace) -> bool:
    return bool(_flipping(trace))


def _flip(trace: RunTrace, rng: Random) -> Draft:
    index, prediction, word = rng.choice(_flipping(trace))
    reasons = prediction.reasons
    assert reasons is not None
    first, second = labels_of(prediction)
    order = sorted(range(len(reasons.words)), key=lambda k: -reasons.occlusion[k])
    shown = [word]
    for other in order:
        if len(shown) < 4 and reasons.words[other] not in {reasons.words[k] for k in shown}:
            shown.append(other)
    place = ("predictions", index, "reasons")
    claims = [
        Claim(
            text=f"“{reasons.words[k]}”",
            why=f"Without it the score is {reasons.score - reasons.occlusion[k]:+.2f}"
            + (f": below zero, so the label becomes {second}." if k == word else ", still above zero."),
            holds=["gt", ["index", at(*place, "occlusion"), k], at(*place, "score")],
            misconception=None if k == word else "takes any word that speaks for the label for one that decides it",
        )
        for k in shown
    ]
    return Draft(
        prompt=f"{excerpt(prediction.text)} The network says {first}, with a score (logit of {first} minus that of "
        f"{second}) of {reasons.score:.2f}. Masking one word turns that into {second}. Which word is it?",
        right=claims[0],
        wrong=claims[1:],
        hints=[
            f"Ask which word says the most against {second}.",
            "Masking a word changes the score; the label flips where the score falls below zero.",
        ],
        solution=[
            f"The score is {reasons.score:.2f}; masking “{reasons.words[word]}” lowers it by "
            f"{reasons.occlusion[word]:.2f}.",
            f"That is below zero, so the label becomes {second}.",
        ],
    )


# ---- attention


def _heads(trace: RunTrace) -> list[tuple[int, PredictionTrace, int, int]]:
    """Heads that put much weight on special tokens, in predictions where the words move the score."""
    found = []
    for i, p in predictions_of(trace):
        if p.attention is None or p.reasons is None or abs(p.reasons.score - p.reasons.masked_score) < 1:
            continue
        for layer, fractions in enumerate(p.attention.special_fraction):
            for head, fraction in enumerate(fractions):
                if 0.25 <= fraction <= 0.9 and abs(fraction - p.decision.probability) > 0.02:
                    found.append((i, p, layer, head))
    return found


def _has_heads(trace: RunTrace) -> bool:
    return bool(_heads(trace))


def _attention(trace: RunTrace, rng: Random) -> Draft:
    index, prediction, layer, head = rng.choice(_heads(trace))
    assert prediction.attention is not None and prediction.reasons is not None
    first, second = labels_of(prediction)
    fraction = prediction.attention.special_fraction[layer][head]
    reads = at("predictions", index, "attention", "special_fraction", layer, head)
    place = ("predictions", index, "reasons")
    difference = ["sub", at(*place, "score"), at(*place, "masked_score")]
    shown = formats.percent(fraction)
    text = f"In prediction {index + 1}," if trace.is_redacted else f"For {excerpt(prediction.text)}"
    special = " and ".join(token.surface.strip() for token in prediction.tokens if token.is_special)
    return Draft(
        prompt=f"{text} head {head + 1} of layer {layer + 1} puts {shown} of its attention on the special tokens "
        f"{special}. The label is {first}, with a score (logit of {first} minus that of {second}) of "
        f"{prediction.reasons.score:.2f}. Did the special tokens cause it?",
        right=Claim(
            text="That cannot be read off the weights: they say where a head reads, not what that changes.",
            why="Masking every word, with the special tokens left in place, moves the score by "
            f"{prediction.reasons.masked_score - prediction.reasons.score:+.2f}: the words do count.",
            holds=["ge", ["abs", difference], 1],
        ),
        wrong=[
            Claim(
                text=f"Yes: {shown} of the probability comes from them.",
                why="An attention weight is not a part of the probability.",
                holds=["near", reads, at("predictions", index, "decision", "probability"), 0.01],
                misconception="takes an attention weight for an effect on the label",
            ),
            Claim(
                text="Yes: the words themselves have hardly any effect.",
                why="The score without the words is far from the score with them.",
                holds=["lt", ["abs", difference], 1],
                misconception="concludes from attention that words do not count",
            ),
            Claim(
                text="No: a head cannot read from special tokens.",
                why=f"This head does, with {shown} of its weight.",
                holds=["eq", reads, 0],
                misconception="expects attention on words only",
            ),
        ],
        hints=[
            "A head adds what it reads, times a matrix of weights; that product may be small.",
            "A change of the input shows an effect; a weight does not.",
        ],
        solution=[
            f"With the words masked the score is {prediction.reasons.masked_score:.2f} instead of "
            f"{prediction.reasons.score:.2f}.",
            "Heads often put weight on special tokens, where little is read (Kobayashi et al., 2020).",
        ],
    )


TEMPLATES = (
    Template("Q-FLIP", "medium", "masking a word", "prediction", _has_flip, _flip),
    Template("Q-IG", "hard", "integrated gradients", "prediction", _is_complete, _completeness),
    Template("Q-ATTENTION", "hard", "attention", "prediction", _has_heads, _attention),
)
