"""Questions about the loss of pre-training: the levels of guessing, before and after."""

from __future__ import annotations

import math
from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at
from pretune.run_trace.training import BASE
from pretune.trace_schema import Json, Phase, Reference, RunTrace

NEAR = 0.3  # nats around a level within which a loss counts as that level
APART = 0.2  # nats that a loss must be away from a level to be called above or below it


def _reference(trace: RunTrace, id: str) -> tuple[Json, Reference] | None:
    phase = trace.phases.pretrain
    for index, reference in enumerate([] if phase is None else phase.loss_references):
        if reference.id == id:
            return at("phases", "pretrain", "loss_references", index, "value"), reference
    return None


def _phase(trace: RunTrace) -> Phase:
    assert trace.phases.pretrain is not None
    return trace.phases.pretrain


def _losses() -> Json:
    return ["map", at("phases", "pretrain", "evaluations"), "loss"]


def starts_from_base(trace: RunTrace) -> bool:
    """Whether pre-training went on from a base, so that the weights before its first update are not random."""
    return _reference(trace, BASE) is not None


# ---- the loss before training


def _starts_at_uniform(trace: RunTrace) -> bool:
    uniform, unigram, phase = _reference(trace, "uniform"), _reference(trace, "unigram"), trace.phases.pretrain
    if uniform is None or unigram is None or phase is None or not phase.evaluations or starts_from_base(trace):
        return False
    start = phase.evaluations[0]
    is_uniform = abs(start.loss - uniform[1].value) <= NEAR
    return start.step == 0 and is_uniform and abs(start.loss - unigram[1].value) >= 2 * NEAR


def _start(trace: RunTrace, _rng: Random) -> Draft:
    uniform, unigram = _reference(trace, "uniform"), _reference(trace, "unigram")
    assert uniform is not None and unigram is not None
    loss = at("phases", "pretrain", "evaluations", 0, "loss")
    shown = formats.nats(_phase(trace).evaluations[0].loss)
    return Draft(
        prompt=f"The first evaluation, before any update, gives a loss of {shown} nats. How do you read it?",
        right=Claim(
            text="The network guesses: every token of the vocabulary gets about the same probability.",
            why=f"A uniform guess has the loss ln V = {formats.nats(uniform[1].value)}, and {shown} is next to it.",
            holds=["near", loss, uniform[0], NEAR],
        ),
        wrong=[
            Claim(
                text="The network gives frequent tokens a higher probability.",
                why=f"Frequencies alone would give {formats.nats(unigram[1].value)} nats, the unigram entropy.",
                holds=["near", loss, unigram[0], NEAR],
                misconception="mixes up the uniform guess and the guess from frequencies",
            ),
            Claim(
                text="Something is broken, since a loss lies between 0 and 1.",
                why="A loss in nats has no upper limit; it is an accuracy that lies between 0 and 1.",
                holds=["le", loss, 1],
                misconception="takes a loss for a fraction",
            ),
            Claim(
                text="The learning rate was too high.",
                why="This is step 0: no update has been made, so no learning rate has been used.",
                holds=["gt", at("phases", "pretrain", "evaluations", 0, "step"), 0],
                misconception="looks for the cause of a high loss in an update that was not made",
            ),
        ],
        hints=[
            "Weights are random before training. Which probabilities do random weights give?",
            "Compare the loss with the two reference lines of the loss chart.",
        ],
        solution=[
            f"ln V is {formats.nats(uniform[1].value)} nats, the unigram entropy {formats.nats(unigram[1].value)}.",
            f"{shown} lies at ln V: the guess is uniform, as it should be with random weights.",
        ],
    )


def _crossing(trace: RunTrace) -> int | None:
    """The evaluation from which on the loss is below the unigram entropy, if it passes it with a clear step."""
    unigram, phase = _reference(trace, "unigram"), trace.phases.pretrain
    if unigram is None or phase is None:
        return None
    losses, level = [each.loss for each in phase.evaluations], unigram[1].value
    below = next((i for i, loss in enumerate(losses) if loss < level), None)
    if below is None or below == 0 or len(losses) < 4:
        return None
    is_clear = losses[below] <= level - APART and losses[below - 1] >= level + APART
    return below if is_clear and all(loss < level for loss in losses[below:]) else None


def _crosses(trace: RunTrace) -> bool:
    return _crossing(trace) is not None


def _crossing_step(trace: RunTrace, _rng: Random) -> Draft:
    crossing, unigram, rows = _crossing(trace), _reference(trace, "unigram"), _phase(trace).evaluations
    assert crossing is not None and unigram is not None
    first = ["first", ["where", ["lt", _losses(), unigram[0]]]]
    start = max(min(crossing - 1, len(rows) - 4), 0)
    level = formats.nats(unigram[1].value)
    claims = [
        Claim(
            text=f"At step {formats.count(rows[index].step)}.",
            why=f"The loss there is {formats.nats(rows[index].loss)}, {'above' if index < crossing else 'below'} "
            f"{level}" + (", as it was at an earlier evaluation." if index > crossing else "."),
            holds=["eq", first, index],
            order=index,
            misconception="takes a falling loss for one below the level"
            if index < crossing
            else "looks for the lowest loss instead of the first below the level",
        )
        for index in range(start, start + 4)
    ]
    listed = ", ".join(f"step {formats.count(r.step)}: {formats.nats(r.loss)}" for r in rows[start : start + 4])
    context = "the words before a token" if _phase(trace).objective == "causal" else "the words around a mask"
    return Draft(
        prompt=f"Predicting from token frequencies alone has a loss of {level} nats, the unigram entropy. The "
        f"validation loss was: {listed}. Which is the first evaluation that shows that the model uses {context}?",
        right=claims[crossing - start],
        wrong=[claim for index, claim in enumerate(claims, start) if index != crossing],
        hints=[
            "A model that looks at no other word cannot do better than the token frequencies.",
            f"Find the first loss below {level}.",
        ],
        solution=[
            f"At step {formats.count(rows[crossing - 1].step)} the loss is {formats.nats(rows[crossing - 1].loss)}, "
            f"above {level}.",
            f"At step {formats.count(rows[crossing].step)} it is {formats.nats(rows[crossing].loss)}, below it: only "
            "the "
            "other words of a text can explain that.",
        ],
    )


# ---- the loss after training


def _has_final_loss(trace: RunTrace) -> bool:
    phase = trace.phases.pretrain
    return phase is not None and bool(phase.evaluations) and 0.05 <= phase.evaluations[-1].loss <= 6


def _perplexity(trace: RunTrace, _rng: Random) -> Draft:
    loss, final = ["last", _losses()], _phase(trace).evaluations[-1].loss
    return Draft(
        prompt=f"The last validation loss of pre-training is {final:.3f} nats. Among how many equally likely "
        "tokens would a guess have the same loss? (This number is called the perplexity.)",
        number=["exp", loss],
        tolerance=max(0.02 * math.exp(final), 0.02),
        unit="tokens",
        wrong_numbers=[
            WrongNumber(loss, "That is the loss itself.", "takes the loss for the perplexity"),
            WrongNumber(
                ["exp", ["mul", ["ln", 2], loss]], "That is 2 to the power of the loss.", "mixes up bits and nats"
            ),
        ],
        hints=["A guess among N equally likely tokens has the loss ln N.", "So N is e to the power of the loss."],
        solution=[f"e^{final:.3f} = {math.exp(final):.1f}."],
    )


def _is_below_unigram(trace: RunTrace) -> bool:
    unigram, phase = _reference(trace, "unigram"), trace.phases.pretrain
    if unigram is None or phase is None or not phase.evaluations:
        return False
    return APART * 2 <= unigram[1].value - phase.evaluations[-1].loss <= 8


def _gain(trace: RunTrace, _rng: Random) -> Draft:
    unigram, final = _reference(trace, "unigram"), _phase(trace).evaluations[-1].loss
    assert unigram is not None
    level, difference = unigram[1].value, unigram[1].value - final
    fall = ["sub", unigram[0], ["last", _losses()]]
    return Draft(
        prompt=f"A guess from token frequencies has a loss of {level:.3f} nats, the trained model one of "
        f"{final:.3f}. How many times as high is the probability that the model gives to the right token? (As a "
        "geometric mean over the predicted tokens.)",
        number=["exp", fall],
        tolerance=0.02 * math.exp(difference),
        unit="times",
        wrong_numbers=[
            WrongNumber(fall, "That is the difference in nats.", "takes a difference of logarithms for a factor"),
            WrongNumber(
                ["div", unigram[0], ["last", _losses()]], "That divides one loss by the other.", "divides logarithms"
            ),
        ],
        hints=[
            "A loss is minus a logarithm of a probability, and a difference of logarithms is the logarithm of a ratio.",
            f"The losses differ by {difference:.3f} nats.",
        ],
        solution=[
            f"{level:.3f} - {final:.3f} = {difference:.3f}.",
            f"e^{difference:.3f} = {math.exp(difference):.1f} times.",
        ],
    )


TEMPLATES = (
    Template("Q-CROSSING", "easy", "unigram entropy", "training", _crosses, _crossing_step),
    Template("Q-FLOOR", "medium", "loss before training", "training", _starts_at_uniform, _start),
    Template("Q-PERPLEXITY", "medium", "perplexity", "training", _has_final_loss, _perplexity),
    Template("Q-GAIN", "hard", "loss and probability", "training", _is_below_unigram, _gain),
)
