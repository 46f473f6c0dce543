"""Questions about stage 3: what a loss says, what the masked words show, and what training costs."""

from __future__ import annotations

import math
from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at, excerpt
from pretune.trace_schema import Json, Phase, Reference, RunTrace, WatchedMoment, WatchedSentence

NEAR = 0.3  # nats around a level within which a loss counts as that level
APART = 0.2  # nats that a loss must be away from a level to be called above or below it
LEAD = 0.05  # by which the probability of the first word must exceed that of the second
FACTOR = 3.0  # by which a probability must have changed


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


# ---- the loss before training


def _starts_at_uniform(trace: RunTrace) -> bool:
    uniform, unigram, phase = _reference(trace, "uniform"), _reference(trace, "unigram"), trace.phases.pretrain
    if uniform is None or unigram is None or phase is None or not phase.evaluations:
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
                text="It knows already which tokens are frequent.",
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
            "Weights are random before training. What can a random network know?",
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
    return Draft(
        prompt=f"Predicting from token frequencies alone has a loss of {level} nats, the unigram entropy. The "
        "validation "
        f"loss was: {listed}. At which evaluation does the model first use the words around a mask?",
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
        prompt=f"The last validation loss of pre-training is {formats.nats(final)} nats. Among how many equally likely "
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
        solution=[f"e^{formats.nats(final)} = {math.exp(final):.2f}."],
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
        "geometric mean over the masked tokens.)",
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


# ---- the masked words


def _watched(trace: RunTrace) -> list[tuple[int, WatchedSentence]]:
    return [] if trace.is_redacted else list(enumerate(trace.watched))


def _decided(trace: RunTrace) -> list[tuple[int, WatchedSentence]]:
    """Sentences whose first word is clearly ahead of the second at the end."""
    found = []
    for index, sentence in _watched(trace):
        words = sentence.moments[-1].predictions if sentence.moments else []
        if len(words) >= 3 and words[0].probability - words[1].probability >= LEAD:
            found.append((index, sentence))
    return found


def _has_decided(trace: RunTrace) -> bool:
    return bool(_decided(trace))


def _masked_word(trace: RunTrace, rng: Random) -> Draft:
    index, sentence = rng.choice(_decided(trace))
    last = sentence.moments[-1]
    probabilities = ["map", at("watched", index, "moments", len(sentence.moments) - 1, "predictions"), "probability"]
    claims = [
        Claim(
            text=f"“{guess.word}”",
            why=f"It got {formats.percent(guess.probability)}"
            + (", more than any other word." if place == 0 else f", place {place + 1}."),
            holds=["eq", ["argmax", probabilities], place],
            misconception=None if place == 0 else "takes a word that fits for the word that is most probable",
        )
        for place, guess in enumerate(last.predictions[:4])
    ]
    if last.rank is not None and last.rank > len(claims) and last.probability is not None:
        claims[-1] = Claim(
            text=f"“{sentence.true_word}”",
            why=f"This word was masked, but it got {formats.percent(last.probability)}, rank "
            f"{formats.count(last.rank)}.",
            holds=["eq", at("watched", index, "moments", len(sentence.moments) - 1, "rank"), 1],
            misconception="expects the masked word itself; the model never reads it",
        )
    return Draft(
        prompt=f"{excerpt(sentence.masked_text)} Which word gets the highest probability at [MASK] after pre-training?",
        right=claims[0],
        wrong=claims[1:],
        hints=[
            "The model predicts from the other words of the text, and from what followed such words in training.",
            "Section 3, “watch it learn”, shows the five best words at every evaluation.",
        ],
        solution=[
            "After the last step: "
            + ", ".join(f"“{g.word}” {formats.percent(g.probability)}" for g in last.predictions[:4])
            + ".",
            f"The masked word was “{sentence.true_word}”"
            + (f", rank {formats.count(last.rank)}." if last.rank is not None else "."),
        ],
    )


def _ends(sentence: WatchedSentence) -> tuple[WatchedMoment, WatchedMoment] | None:
    if len(sentence.moments) < 2 or sentence.moments[0].step != 0:
        return None
    first, last = sentence.moments[0], sentence.moments[-1]
    return (first, last) if first.probability and last.probability else None


def _before(trace: RunTrace) -> list[tuple[int, WatchedSentence]]:
    """Sentences whose masked word got about 1/V from the random weights."""
    size = 0 if trace.tokenizer is None else trace.tokenizer.vocab_size
    found = []
    for index, sentence in _watched(trace):
        ends = _ends(sentence)
        if ends is not None and size and (ends[0].probability or 1) <= 3 / size and ends[0].rank and ends[0].rank > 10:
            found.append((index, sentence))
    return found


def _has_before(trace: RunTrace) -> bool:
    return bool(_before(trace))


def _untrained_word(trace: RunTrace, rng: Random) -> Draft:
    index, sentence = rng.choice(_before(trace))
    assert trace.tokenizer is not None
    first, size = sentence.moments[0], trace.tokenizer.vocab_size
    place = ("watched", index, "moments", 0)
    probability, reads_size = at(*place, "probability"), at("tokenizer", "vocab_size")
    shown = formats.percent(first.probability or 0)
    return Draft(
        prompt=f"{excerpt(sentence.masked_text)} Before training, the masked word “{sentence.true_word}” gets "
        f"{shown}, rank "
        f"{formats.count(first.rank or 0)} of {formats.count(size)}. Why so little?",
        right=Claim(
            text="The weights are random, so every token gets roughly the same, about 1/V.",
            why=f"1/V is {formats.percent(1 / size)}, and the word gets {shown}.",
            holds=["le", probability, ["div", 5, reads_size]],
        ),
        wrong=[
            Claim(
                text="The word is not in the vocabulary.",
                why="Every token of the vocabulary has a rank, and this word has one.",
                holds=["gt", at(*place, "rank"), reads_size],
                misconception="takes an improbable token for an unknown one",
            ),
            Claim(
                text="The model has read too few texts with this word so far.",
                why="At step 0 it has read none at all.",
                holds=["gt", at(*place, "step"), 0],
                misconception="expects knowledge before the first update",
            ),
            Claim(
                text="Another word is almost certain.",
                why=f"The best word gets only {formats.percent(first.predictions[0].probability)}."
                if first.predictions
                else "No word is.",
                holds=["gt", at(*place, "predictions", 0, "probability"), 0.5],
                misconception="expects an untrained model to be sure of something wrong",
            ),
        ],
        hints=[
            "Ask what the network has learned at step 0.",
            "Compare the probability with 1 divided by the vocabulary.",
        ],
        solution=[
            f"1/{formats.count(size)} = {formats.percent(1 / size)}.",
            f"{shown} is about that: a uniform guess.",
        ],
    )


def _risen(trace: RunTrace) -> list[tuple[int, WatchedSentence]]:
    found = []
    for index, sentence in _watched(trace):
        ends = _ends(sentence)
        if ends is not None and (ends[1].probability or 0) >= FACTOR * (ends[0].probability or 1):
            found.append((index, sentence))
    return found


def _has_risen(trace: RunTrace) -> bool:
    return bool(_risen(trace))


def _nats_of_a_word(trace: RunTrace, rng: Random) -> Draft:
    index, sentence = rng.choice(_risen(trace))
    ends = _ends(sentence)
    assert ends is not None and ends[0].probability and ends[1].probability
    before, after = (
        at("watched", index, "moments", moment, "probability") for moment in (0, len(sentence.moments) - 1)
    )
    shown = [f"{100 * (moment.probability or 0):.3g} %" for moment in ends]
    fall = math.log(ends[1].probability / ends[0].probability)
    return Draft(
        prompt=f"{excerpt(sentence.masked_text)} Pre-training raised the probability of the masked word "
        f"“{sentence.true_word}” from {shown[0]} to {shown[1]}. By how many nats did the loss at this mask fall?",
        number=["ln", ["div", after, before]],
        tolerance=0.05,
        unit="nats",
        wrong_numbers=[
            WrongNumber(
                ["sub", after, before], "That is the difference of the probabilities.", "subtracts probabilities"
            ),
            WrongNumber(["div", after, before], "That is their ratio, without the logarithm.", "forgets the logarithm"),
            WrongNumber(
                ["div", ["ln", ["div", after, before]], ["ln", 10]],
                "That is the logarithm to base 10.",
                "takes the logarithm to base 10 for the natural one",
            ),
        ],
        hints=[
            "The loss at a mask is minus the natural logarithm of the probability of the masked word.",
            f"The fall is ln({shown[1]}) - ln({shown[0]}), which is the logarithm of the ratio.",
        ],
        solution=[f"ln({shown[1]} / {shown[0]}) = {fall:.2f} nats."],
    )


# ---- the plan


def _rates(trace: RunTrace) -> list[float]:
    phase = trace.phases.pretrain
    rates = [] if phase is None else phase.steps.learning_rate
    return [rate for rate in rates if rate is not None] if None not in rates else []


def _rate_rises_and_falls(trace: RunTrace) -> bool:
    rates = _rates(trace)
    return len(rates) >= 5 and max(rates) > 1.1 * rates[0] and rates[-1] < 0.5 * max(rates)


def _warm_up(trace: RunTrace, _rng: Random) -> Draft:
    rates = at("phases", "pretrain", "steps", "learning_rate")
    shown, steps = _rates(trace), _phase(trace).steps.step
    top = shown.index(max(shown))
    return Draft(
        prompt="How does the learning rate of pre-training change over this run?",
        right=Claim(
            text="It rises in a short warm-up, and falls toward the end.",
            why=f"It starts at {formats.rate(shown[0])}, reaches {formats.rate(max(shown))}, and ends at "
            f"{formats.rate(shown[-1])}.",
            holds=[
                "and",
                ["lt", ["first", rates], ["max", rates]],
                ["lt", ["last", rates], ["mul", 0.5, ["max", rates]]],
            ],
        ),
        wrong=[
            Claim(
                text="It stays the same in every step.",
                why=f"It lies between {formats.rate(min(shown))} and {formats.rate(max(shown))}.",
                holds=["eq", ["min", rates], ["max", rates]],
                misconception="takes the learning rate for a constant",
            ),
            Claim(
                text="It is highest at the first step, and falls from there.",
                why=f"It is highest at step {formats.count(steps[top])}: with random weights, large first steps do "
                "damage.",
                holds=["eq", ["argmax", rates], 0],
                misconception="does not know the warm-up",
            ),
            Claim(
                text="It rises until the last step, because the model can take more and more.",
                why=f"It ends at {formats.rate(shown[-1])}, far below its maximum: small steps let the loss settle.",
                holds=["eq", ["argmax", rates], ["sub", ["len", rates], 1]],
                misconception="expects larger steps of a better model",
            ),
        ],
        hints=[
            "Early updates point in unreliable directions; late ones should be fine.",
            "Section 3 shows the learning rate below the charts.",
        ],
        solution=[
            f"First {formats.rate(shown[0])}, highest {formats.rate(max(shown))} at step "
            f"{formats.count(steps[top])}, last "
            f"{formats.rate(shown[-1])}."
        ],
    )


def _has_plan(trace: RunTrace) -> bool:
    phase = trace.phases.pretrain
    return phase is not None and phase.plan is not None and bool(phase.plan.tokens_per_step) and phase.plan.steps > 1


def _tokens_in_all(trace: RunTrace, _rng: Random) -> Draft:
    plan = _phase(trace).plan
    assert plan is not None and plan.tokens_per_step is not None
    steps, tokens = at("phases", "pretrain", "plan", "steps"), at("phases", "pretrain", "plan", "tokens_per_step")
    total = plan.steps * plan.tokens_per_step
    return Draft(
        prompt=f"Pre-training makes {formats.count(plan.steps)} updates with {formats.count(plan.tokens_per_step)} "
        "tokens "
        "each. How many million tokens does the model read?",
        number=["div", ["mul", steps, tokens], 1e6],
        tolerance=max(0.01 * total / 1e6, 0.001),
        unit="million tokens",
        wrong_numbers=[
            WrongNumber(["div", ["mul", steps, tokens], 1e3], "That is in thousands.", "counts thousands as millions"),
            WrongNumber(["div", tokens, 1e6], "That is one update.", "leaves out the number of updates"),
        ],
        hints=["Every update reads one batch.", "Multiply updates by tokens, and divide by 1,000,000."],
        solution=[f"{formats.count(plan.steps)} x {formats.count(plan.tokens_per_step)} = {formats.count(total)}."],
    )


def _has_schedule(trace: RunTrace) -> bool:
    plan = None if trace.phases.pretrain is None else trace.phases.pretrain.plan
    if plan is None or plan.warmup_steps is None or plan.decay_start_step is None:
        return False
    return 0 < plan.warmup_steps < plan.decay_start_step < plan.steps


def _full_rate(trace: RunTrace, _rng: Random) -> Draft:
    plan = _phase(trace).plan
    assert plan is not None and plan.warmup_steps is not None and plan.decay_start_step is not None
    read = {name: at("phases", "pretrain", "plan", name) for name in ("steps", "warmup_steps", "decay_start_step")}
    full = plan.decay_start_step - plan.warmup_steps
    return Draft(
        prompt=f"Pre-training has {formats.count(plan.steps)} steps. The learning rate rises until step "
        f"{formats.count(plan.warmup_steps)}, stays, and falls from step {formats.count(plan.decay_start_step)} on. "
        "For how "
        "many per cent of the steps does it stay at its maximum?",
        number=["div", ["mul", 100, ["sub", read["decay_start_step"], read["warmup_steps"]]], read["steps"]],
        tolerance=0.6,
        unit="%",
        wrong_numbers=[
            WrongNumber(
                ["div", ["mul", 100, ["sub", read["steps"], read["decay_start_step"]]], read["steps"]],
                "That is the fraction in which it falls.",
                "takes the decay for the maximum",
            ),
            WrongNumber(
                ["div", ["mul", 100, read["warmup_steps"]], read["steps"]],
                "That is the warm-up.",
                "takes the warm-up for the maximum",
            ),
        ],
        hints=[
            "Early updates point in unreliable directions, so the rate begins low; at the end small steps let the loss "
            "settle.",
            f"Count the steps from {formats.count(plan.warmup_steps)} to {formats.count(plan.decay_start_step)}.",
        ],
        solution=[
            f"({formats.count(plan.decay_start_step)} - {formats.count(plan.warmup_steps)}) / "
            f"{formats.count(plan.steps)} = "
            f"{100 * full / plan.steps:.1f} %."
        ],
    )


def _has_cost(trace: RunTrace) -> bool:
    phase = trace.phases.pretrain
    return (
        phase is not None and bool(phase.parameters) and bool(phase.evaluations) and bool(phase.evaluations[-1].tokens)
    )


def _operations(trace: RunTrace, _rng: Random) -> Draft:
    phase = _phase(trace)
    parameters, tokens = phase.parameters or 0, phase.evaluations[-1].tokens or 0
    read = [
        at("phases", "pretrain", "parameters"),
        at("phases", "pretrain", "evaluations", len(phase.evaluations) - 1, "tokens"),
    ]
    total = 6 * parameters * tokens / 1e12
    return Draft(
        prompt=f"A rule of thumb: training takes 6 operations for each parameter and token. This model has "
        f"{formats.count(parameters)} parameters and read {formats.count(tokens)} tokens. How many million million "
        "(10^12) "
        "operations is that?",
        number=["div", ["mul", 6, ["mul", *read]], 1e12],
        tolerance=0.02 * total,
        unit="x 10^12",
        wrong_numbers=[
            WrongNumber(
                ["div", ["mul", 2, ["mul", *read]], 1e12],
                "2 operations for each parameter and token are the forward pass alone.",
                "leaves out the backward pass",
            ),
            WrongNumber(["div", ["mul", *read], 1e12], "The factor 6 is missing.", "leaves out the factor"),
        ],
        hints=[
            "The forward pass takes 2 operations for each parameter and token, the backward pass twice as many.",
            f"6 x {formats.count(parameters)} x {formats.count(tokens)}.",
        ],
        solution=[f"6 x {parameters / 1e6:.3g} million x {tokens / 1e6:.3g} million = {total:.3g} x 10^12 operations."],
    )


TEMPLATES = (
    Template("Q-CROSSING", "easy", "unigram entropy", "training", _crosses, _crossing_step),
    Template("Q-MASK", "easy", "masked word", "training", _has_decided, _masked_word),
    Template("Q-WARMUP", "easy", "learning rate", "training", _rate_rises_and_falls, _warm_up),
    Template("Q-SCHEDULE", "medium", "learning rate", "training", _has_schedule, _full_rate),
    Template("Q-TOTAL", "easy", "steps and tokens", "training", _has_plan, _tokens_in_all),
    Template("Q-FLOOR", "medium", "loss before training", "training", _starts_at_uniform, _start),
    Template("Q-UNTRAINED", "medium", "masked word before training", "training", _has_before, _untrained_word),
    Template("Q-PERPLEXITY", "medium", "perplexity", "training", _has_final_loss, _perplexity),
    Template("Q-NATS", "hard", "loss of a word", "training", _has_risen, _nats_of_a_word),
    Template("Q-GAIN", "hard", "loss and probability", "training", _is_below_unigram, _gain),
    Template("Q-OPERATIONS", "hard", "cost of training", "training", _has_cost, _operations),
)
