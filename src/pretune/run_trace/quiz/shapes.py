"""Questions about shapes and sizes: a batch, the head, the embedding table."""

from __future__ import annotations

from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at
from pretune.trace_schema import Json, PredictionTrace, RunTrace

BATCH = 32


def _with_shapes(trace: RunTrace) -> list[tuple[int, PredictionTrace]]:
    return [
        (i, p)
        for i, p in enumerate(trace.predictions)
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


def _with_head(trace: RunTrace) -> list[tuple[int, PredictionTrace]]:
    """Predictions of a head with parameters of its own. A cloze, which reads [MASK], scores words with weights of
    pre-training; a model of entities reads one word at a time with a head of its own."""
    return [
        (i, p)
        for i, p in enumerate(trace.predictions)
        if (p.read_position is None or p.word is not None) and len(p.head.weight) >= 2 and len(p.head.pooled) >= 8
    ]


def _has_head(trace: RunTrace) -> bool:
    return bool(_with_head(trace))


def _head_size(trace: RunTrace, _rng: Random) -> Draft:
    index, prediction = _with_head(trace)[0]
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
            "The smaller a network, the larger the part of its embedding table; so the vocabulary must fit the text.",
        ],
    )


TEMPLATES = (
    Template("Q-SHAPE", "easy", "shape of a batch", "prediction", _has_shapes, _shape),
    Template("Q-HEAD", "medium", "parameters of the head", "prediction", _has_head, _head_size),
    Template("Q-TABLE", "hard", "parameters of the embedding", "prediction", _has_table, _table_fraction),
)
