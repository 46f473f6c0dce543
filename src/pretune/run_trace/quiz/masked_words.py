"""Questions about masked words: what pre-training makes of them."""

from __future__ import annotations

import math
from random import Random

from pretune.run_trace import formats
from pretune.run_trace.quiz.losses import starts_from_base
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at, excerpt
from pretune.trace_schema import RunTrace, WatchedMoment, WatchedSentence

LEAD = 0.05  # by which the probability of the first word must exceed that of the second
FACTOR = 3.0  # by which a probability must have changed


def _watched(trace: RunTrace) -> list[tuple[int, WatchedSentence]]:
    return [] if trace.is_redacted else list(enumerate(trace.watched))


def _decided(trace: RunTrace) -> list[tuple[int, WatchedSentence]]:
    """Sentences whose first word is clearly ahead of the second at the end, and where all of the first four are words:
    a question for a word must not have a punctuation mark as its answer."""
    found = []
    for index, sentence in _watched(trace):
        words = sentence.moments[-1].predictions if sentence.moments else []
        is_of_words = all(guess.word.isalpha() for guess in words[:4])
        if len(words) >= 3 and is_of_words and words[0].probability - words[1].probability >= LEAD:
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
            why=f"It got {formats.probability(guess.probability)}"
            + (", more than any other word." if place == 0 else f", place {place + 1}."),
            holds=["eq", ["argmax", probabilities], place],
            misconception=None if place == 0 else "takes a word that fits for the word that is most probable",
        )
        for place, guess in enumerate(last.predictions[:4])
    ]
    if last.rank is not None and last.rank > len(claims) and last.probability is not None:
        claims[-1] = Claim(
            text=f"“{sentence.true_word}”",
            why=f"This word was hidden, but it got {formats.probability(last.probability)}, rank "
            f"{formats.count(last.rank)}.",
            holds=["eq", at("watched", index, "moments", len(sentence.moments) - 1, "rank"), 1],
            misconception="expects the hidden word itself; the model never reads it",
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
            + ", ".join(f"“{g.word}” {formats.probability(g.probability)}" for g in last.predictions[:4])
            + ".",
            f"The hidden word was “{sentence.true_word}”"
            + (f", rank {formats.count(last.rank)}." if last.rank is not None else "."),
        ],
    )


def _ends(sentence: WatchedSentence) -> tuple[WatchedMoment, WatchedMoment] | None:
    if len(sentence.moments) < 2 or sentence.moments[0].step != 0:
        return None
    first, last = sentence.moments[0], sentence.moments[-1]
    return (first, last) if first.probability and last.probability else None


def _before(trace: RunTrace) -> list[tuple[int, WatchedSentence]]:
    """Sentences whose hidden word got about 1/V from the random weights; none of a run from a base, which has none."""
    size = 0 if trace.tokenizer is None else trace.tokenizer.vocab_size
    found: list[tuple[int, WatchedSentence]] = []
    if starts_from_base(trace):
        return found
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
    shown = formats.probability(first.probability or 0)
    return Draft(
        prompt=f"{excerpt(sentence.masked_text)} Before training, the hidden word “{sentence.true_word}” gets "
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
                text="The word is rare in the training texts.",
                why="Before the first update no text has been read, so the frequency of a word plays no part.",
                holds=["gt", at(*place, "step"), 0],
                misconception="expects knowledge before the first update",
            ),
            Claim(
                text="Another word is almost certain.",
                why=f"The best word gets only {formats.probability(first.predictions[0].probability)}."
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
        prompt=f"{excerpt(sentence.masked_text)} Pre-training raised the probability of the hidden word "
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
            "The loss at a mask is minus the natural logarithm of the probability of the hidden word.",
            f"The fall is ln({shown[1]}) - ln({shown[0]}), which is the logarithm of the ratio.",
        ],
        solution=[f"ln({shown[1]} / {shown[0]}) = {fall:.2f} nats."],
    )


TEMPLATES = (
    Template("Q-MASK", "easy", "hidden word", "training", _has_decided, _masked_word),
    Template("Q-UNTRAINED", "medium", "hidden word before training", "training", _has_before, _untrained_word),
    Template("Q-NATS", "hard", "loss of a word", "training", _has_risen, _nats_of_a_word),
)
