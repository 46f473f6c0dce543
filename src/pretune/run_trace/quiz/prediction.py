"""Questions about one prediction: shapes, logits and softmax, contributions, attributions, attention."""

from __future__ import annotations

import math
from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at, excerpt
from pretune.trace_schema import Json, PredictionTrace, RunTrace

UNSURE = (0.02, 0.98)  # probabilities between which the second decimal of a logit is seen
LEAD = 0.1  # fraction by which the largest contribution must exceed the second
SCORE = 0.3  # smallest difference of scores that counts
MOST_COMPONENTS = 12  # that a prompt lists
BATCH = 32

Found = list[tuple[int, PredictionTrace]]


def _predictions(trace: RunTrace) -> Found:
    return list(enumerate(trace.predictions))


def _name(label: str) -> str:
    return f"“{label}”"


def _runner_up(prediction: PredictionTrace) -> int:
    probabilities = prediction.decision.probabilities
    others = [k for k in range(len(probabilities)) if k != prediction.decision.index]
    return max(others, key=lambda k: probabilities[k])


# ---- shapes


def _with_shapes(trace: RunTrace) -> Found:
    return [
        (i, p)
        for i, p in _predictions(trace)
        if trace.tokenizer is not None
        and p.head.weight
        and len({BATCH, len(p.tokens), len(p.head.pooled), len(p.head.weight), trace.tokenizer.vocab_size}) == 5
    ]


def _has_shapes(trace: RunTrace) -> bool:
    return bool(_with_shapes(trace))


def _shape(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_with_shapes(trace))
    assert trace.tokenizer is not None
    tokens, width, size = len(prediction.tokens), len(prediction.head.pooled), trace.tokenizer.vocab_size
    read = [BATCH, ["len", at("predictions", index, "tokens")], ["len", at("predictions", index, "head", "pooled")]]

    def is_shape(*shape: int) -> Json:
        return ["all", ["eq", ["list", *shape], ["list", *read]]]

    return Draft(
        prompt=f"A batch has {BATCH} texts of {tokens} tokens each. A row of the embedding table has {width} "
        "numbers, and the "
        f"vocabulary has {formats.count(size)} tokens. Which shape does the batch have after the embedding?",
        right=Claim(
            text=f"{BATCH} x {tokens} x {width}",
            why="Each of the tokens of each text is replaced by its row of the table.",
            holds=is_shape(BATCH, tokens, width),
        ),
        wrong=[
            Claim(
                text=f"{BATCH} x {width} x {tokens}",
                why=f"The last axis is the row of a token, which has {width} numbers.",
                holds=is_shape(BATCH, width, tokens),
                misconception="swaps positions and dimensions",
            ),
            Claim(
                text=f"{BATCH} x {tokens} x {size}",
                why="That would be a number for each token of the vocabulary, as in the output of pre-training.",
                holds=is_shape(BATCH, tokens, size),
                misconception="mixes up the embedding with the scores of the vocabulary",
            ),
            Claim(
                text=f"{tokens} x {width} x {BATCH}",
                why="The texts of the batch come first.",
                holds=is_shape(tokens, width, BATCH),
                misconception="puts the batch last",
            ),
        ],
        hints=["Before the embedding the shape is texts x tokens.", "Each token id becomes a row of numbers."],
        solution=[f"{BATCH} x {tokens} ids become {BATCH} x {tokens} x {width} numbers."],
    )


def _has_head(trace: RunTrace) -> bool:
    return any(len(p.head.weight) >= 2 and len(p.head.pooled) >= 8 for p in trace.predictions)


def _head_size(trace: RunTrace, _rng: Random) -> Draft:
    index, prediction = next((i, p) for i, p in _predictions(trace) if len(p.head.weight) >= 2)
    classes, width = len(prediction.head.weight), len(prediction.head.pooled)
    weight = at("predictions", index, "head", "weight")
    read = [["len", weight], ["len", ["first", weight]], ["len", at("predictions", index, "head", "bias")]]
    return Draft(
        prompt=f"The head turns a vector of {width} numbers into {classes} logits, one for each class: logits = W h "
        "+ b. How many "
        "parameters does it have?",
        number=["add", ["mul", read[0], read[1]], read[2]],
        unit="parameters",
        wrong_numbers=[
            WrongNumber(["mul", read[0], read[1]], "The bias is missing.", "leaves out the bias"),
            WrongNumber(
                ["add", read[0], read[1]], "W has a row for each class, so multiply.", "adds sizes that multiply"
            ),
        ],
        hints=[f"W has {classes} rows of {width} numbers.", f"b has one number for each class: {classes}."],
        solution=[
            f"{classes} x {width} + {classes} = {classes * width + classes}. All other parameters are pre-trained."
        ],
    )


def _has_table(trace: RunTrace) -> bool:
    phase = trace.phases.pretrain
    return phase is not None and bool(phase.parameters) and trace.tokenizer is not None and bool(trace.predictions)


def _table_fraction(trace: RunTrace, _rng: Random) -> Draft:
    assert trace.tokenizer is not None and trace.phases.pretrain is not None
    size, width = trace.tokenizer.vocab_size, len(trace.predictions[0].head.pooled)
    parameters = trace.phases.pretrain.parameters or 1
    read = ["mul", at("tokenizer", "vocab_size"), ["len", at("predictions", 0, "head", "pooled")]]
    total = at("phases", "pretrain", "parameters")
    return Draft(
        prompt=f"The pre-trained model has {formats.count(parameters)} parameters. Its embedding table has a row of "
        f"{width} numbers for "
        f"each of {formats.count(size)} tokens. How many per cent of the parameters is that?",
        number=["div", ["mul", 100, read], total],
        tolerance=1.0,
        unit="%",
        wrong_numbers=[
            WrongNumber(
                ["div", ["mul", 100, ["sub", total, read]], total], "That is the rest.", "answers with the rest"
            ),
            WrongNumber(
                ["div", ["mul", 100, at("tokenizer", "vocab_size")], total],
                "That counts one number for each token.",
                "forgets that a row has many numbers",
            ),
        ],
        hints=[
            "The table has rows times numbers of a row.",
            f"{formats.count(size)} x {width} = {formats.count(size * width)}.",
        ],
        solution=[
            f"{formats.count(size * width)} / {formats.count(parameters)} = {100 * size * width / parameters:.1f} %.",
            "In a small model most parameters are the vocabulary, which is why its size is chosen from the text.",
        ],
    )


# ---- the decision


def _unsure(trace: RunTrace) -> Found:
    return [
        (i, p)
        for i, p in _predictions(trace)
        if len(p.head.logits) == 2 and UNSURE[0] <= p.decision.probability <= UNSURE[1]
    ]


def _has_unsure(trace: RunTrace) -> bool:
    return bool(_unsure(trace))


def _softmax(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_unsure(trace))
    asked = rng.randrange(2)
    logits = prediction.head.logits
    names = [_name(label) for label in prediction.label_names] if not trace.is_redacted else ["class 0", "class 1"]
    read = at("predictions", index, "head", "logits")
    own = ["index", read, asked]
    difference = logits[asked] - logits[1 - asked]
    text = "For a text of this run" if trace.is_redacted else f"For {excerpt(prediction.text)}"
    return Draft(
        prompt=f"{text} the head gives the logits {logits[0]:.2f} for {names[0]} and {logits[1]:.2f} for {names[1]}. "
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
            f"{logits[asked]:.2f} - ({logits[1 - asked]:.2f}) = {difference:.2f}.",
            f"1 / (1 + e^({-difference:.2f})) = {100 / (1 + math.exp(-difference)):.1f} %.",
        ],
        mistakes=["divides a logit by the sum of the logits"],
    )


# ---- contributions


def _margins(prediction: PredictionTrace) -> list[float]:
    first, second = prediction.decision.index, _runner_up(prediction)
    return [each.logits[first] - each.logits[second] for each in prediction.contributions]


def _margins_of(index: int, prediction: PredictionTrace) -> Json:
    logits = ["map", at("predictions", index, "contributions"), "logits"]
    return ["sub", ["map", logits, prediction.decision.index], ["map", logits, _runner_up(prediction)]]


def _summable(trace: RunTrace) -> Found:
    found = []
    for i, p in _predictions(trace):
        if len(p.decision.probabilities) >= 2 and 3 <= len(p.contributions) <= MOST_COMPONENTS:
            margins = [round(margin, 2) for margin in _margins(p)]
            if abs(sum(margins)) >= SCORE and abs(sum(margins) - sum(_margins(p))) <= 0.02:
                found.append((i, p))
    return found


def _has_summable(trace: RunTrace) -> bool:
    return bool(_summable(trace))


def _labels(trace: RunTrace, prediction: PredictionTrace) -> tuple[str, str]:
    if trace.is_redacted:
        return "the label", "the runner-up"
    return _name(prediction.decision.label), _name(prediction.label_names[_runner_up(prediction)])


def _listed(prediction: PredictionTrace) -> str:
    pairs = zip(prediction.contributions, _margins(prediction), strict=True)
    return ", ".join(f"{each.name.replace('_', ' ')} {margin:+.2f}" for each, margin in pairs)


def _sum(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_summable(trace))
    first, second = _labels(trace, prediction)
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
    for i, p in _predictions(trace):
        if len(p.decision.probabilities) >= 2 and len(p.contributions) >= 4:
            ordered = sorted(_margins(p), reverse=True)
            if ordered[0] >= SCORE and ordered[0] - ordered[1] >= LEAD * ordered[0]:
                found.append((i, p))
    return found


def _has_largest(trace: RunTrace) -> bool:
    return bool(_with_largest(trace))


def _largest(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_with_largest(trace))
    first, second = _labels(trace, prediction)
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
    text = "In the first prediction" if trace.is_redacted else f"For {excerpt(prediction.text)}"
    return Draft(
        prompt=f"{text} the model decides for {first}. Which part of the network adds most to the logit of {first} "
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


# ---- reasons


def _complete(trace: RunTrace) -> Found:
    return [
        (i, p)
        for i, p in _predictions(trace)
        if p.reasons is not None
        and p.reasons.is_converged
        and abs(p.reasons.score - p.reasons.masked_score) >= SCORE
        and abs(p.reasons.masked_score) >= 0.1
    ]


def _is_complete(trace: RunTrace) -> bool:
    return bool(_complete(trace))


def _completeness(trace: RunTrace, rng: Random) -> Draft:
    index, prediction = rng.choice(_complete(trace))
    reasons = prediction.reasons
    assert reasons is not None
    first, second = _labels(trace, prediction)
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
            f"The model gives {reasons.score:.2f}; the rest is the error of the numeric integral.",
        ],
    )


def _flipping(trace: RunTrace) -> list[tuple[int, PredictionTrace, int]]:
    """Predictions in which masking one word, and no other single word, clearly flips the label."""
    found = []
    for i, p in _predictions(trace):
        flip, reasons = p.decision.flip, p.reasons
        if trace.is_redacted or flip is None or reasons is None or len(flip.words) != 1 or len(set(reasons.words)) < 4:
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
    first, second = _labels(trace, prediction)
    order = sorted(range(len(reasons.words)), key=lambda k: -reasons.occlusion[k])
    shown = [word]
    for other in order:
        if len(shown) < 4 and reasons.words[other] not in {reasons.words[k] for k in shown}:
            shown.append(other)
    place = ("predictions", index, "reasons")
    claims = [
        Claim(
            text=_name(reasons.words[k]),
            why=f"Without it the score is {reasons.score - reasons.occlusion[k]:+.2f}"
            + (f": below zero, so the label becomes {second}." if k == word else ", still above zero."),
            holds=["gt", ["index", at(*place, "occlusion"), k], at(*place, "score")],
            misconception=None if k == word else "takes any word that speaks for the label for one that decides it",
        )
        for k in shown
    ]
    return Draft(
        prompt=f"{excerpt(prediction.text)} The model says {first}. Masking one word turns that into {second}. Which "
        "word is it?",
        right=claims[0],
        wrong=claims[1:],
        hints=[
            f"Ask which word says the most against {second}.",
            "Hiding a word lowers the score by its occlusion; the label flips where the score falls below zero.",
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
    for i, p in _predictions(trace):
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
    first, _ = _labels(trace, prediction)
    fraction = prediction.attention.special_fraction[layer][head]
    reads = at("predictions", index, "attention", "special_fraction", layer, head)
    place = ("predictions", index, "reasons")
    difference = ["sub", at(*place, "score"), at(*place, "masked_score")]
    shown = formats.percent(fraction)
    special = " and ".join(token.surface.strip() for token in prediction.tokens if token.is_special)
    return Draft(
        prompt=f"Head {head + 1} of layer {layer + 1} puts {shown} of its attention on the special tokens {special}. "
        "The "
        f"label is {first}. Did the special tokens cause it?",
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
    Template("Q-SHAPE", "easy", "shape of a batch", "prediction", _has_shapes, _shape),
    Template("Q-PART", "easy", "contributions", "prediction", _has_largest, _largest),
    Template("Q-SOFTMAX", "medium", "softmax", "prediction", _has_unsure, _softmax),
    Template("Q-SUM", "medium", "contributions", "prediction", _has_summable, _sum),
    Template("Q-FLIP", "medium", "masking a word", "prediction", _has_flip, _flip),
    Template("Q-HEAD", "medium", "parameters of the head", "prediction", _has_head, _head_size),
    Template("Q-IG", "hard", "integrated gradients", "prediction", _is_complete, _completeness),
    Template("Q-TABLE", "hard", "parameters of the embedding", "prediction", _has_table, _table_fraction),
    Template("Q-ATTENTION", "hard", "attention", "prediction", _has_heads, _attention),
)
