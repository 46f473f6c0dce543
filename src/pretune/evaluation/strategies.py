"""From the losses of several ways to a chatbot, on the same held-out conversations, to verdicts and one conclusion.

The ways: the base as it is; the same network from scratch on the conversations alone; the base fine-tuned on them; the
base pre-trained further on text of the domain and then fine-tuned. The usual advice is the third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pretune.scoring.conversation_losses import IntArray, describe_losses, loss_difference
from pretune.scoring.uncertainty import Difference, FloatArray, holm

AS_IS, SCRATCH, FINETUNED, FURTHER = "as_is", "scratch", "finetuned", "further"
KINDS = (AS_IS, SCRATCH, FINETUNED, FURTHER)
TITLES = {
    AS_IS: "as it is",
    SCRATCH: "from scratch",
    FINETUNED: "fine-tuned",
    FURTHER: "pre-trained further, then fine-tuned",
}
# The same in a sentence.
NAMES = {
    AS_IS: "the base as it is",
    SCRATCH: "training from scratch",
    FINETUNED: "fine-tuning",
    FURTHER: "pre-training further before fine-tuning",
}
_AGAINST = ((FINETUNED, AS_IS), (SCRATCH, AS_IS), (FURTHER, AS_IS), (SCRATCH, FINETUNED), (FURTHER, FINETUNED))
_ADVICE = "the usual advice, which is to fine-tune"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """N conversations that no strategy was trained on: a name, and the tokens of the replies of each (N,)."""

    name: str
    counts: IntArray


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A strategy: for each of the held-out texts the summed losses (S, N) of its S seeds."""

    kind: str
    sums: Sequence[FloatArray]


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """A sentence or two; the kind of the strategy with the lowest loss; and whether its lead over the next is clear."""

    sentence: str
    lowest: str
    is_clear: bool


def describe_strategy(measured: Measured, held_out: Sequence[HeldOut]) -> list[dict[str, Any]]:
    """The losses of a strategy as JSON values, one for each of the held-out texts."""
    return [
        {**describe_losses(sums, each.counts), "seeds": [float(seed) for seed in sums.sum(axis=1) / each.counts.sum()]}
        for sums, each in zip(measured.sums, held_out, strict=True)
    ]


def judge_strategies(every: Sequence[Measured], held_out: Sequence[HeldOut]) -> list[dict[str, Any]]:
    """Each strategy against the base as it is and against the fine-tuned one, as JSON values.

    Differences are paired by conversation; one is clear if it stays so after Holm's correction for the number of pairs
    on the same text.
    """
    by_kind = {each.kind: each for each in every}
    pairs = [(a, b) for a, b in _AGAINST if a in by_kind and b in by_kind]
    verdicts = []
    for place, text in enumerate(held_out):
        found = [lead_over(by_kind[a], by_kind[b], text, place) for a, b in pairs]
        corrected = holm([difference.p_value for difference in found])
        for pair, difference, p_value in zip(pairs, found, corrected, strict=True):
            judged = replace(difference, p_value=p_value)
            reason = _reason(difference, judged, len(pairs))
            verdicts.append(
                {
                    "between": list(pair),
                    "metric": "reply_loss",
                    "slice": text.name if place else None,
                    "difference": difference.difference,
                    "difference_interval": list(difference.interval),
                    "p_value": p_value,
                    "sentence": _sentence(*pair, judged, text.name if place else None, reason),
                }
            )
    return verdicts


def lead_over(a: Measured, b: Measured, text: HeldOut, place: int) -> Difference:
    """By how many nats per token the loss of `a` is lower than that of `b`."""
    return loss_difference(b.sums[place], a.sums[place], text.counts)


def conclude(every: Sequence[Measured], text: HeldOut) -> Conclusion:
    """What the first of the held-out texts says.

    The strategy with the lowest loss is called the best only if its lead over the next is clear, after a correction for
    the number of the others. Whether that follows the usual advice depends on the fine-tuned model alone: on whether
    anything else is clearly better.
    """
    order = sorted(every, key=lambda each: float(each.sums[0].sum(axis=1).mean()))
    best, following = order[0], order[1]
    lead = lead_over(best, following, text, 0)
    figures = f"{_nats(lead.difference)} nats per token (95 % interval {_range(lead)})"
    judged = _correct(lead, len(order) - 1)
    if judged.is_clear:
        first = f"Best here: {NAMES[best.kind]}. Its loss on the held-out replies is lower than that of the next, "
        first += f"{NAMES[following.kind]}, by {figures}."
    else:
        first = f"No clear winner: {NAMES[best.kind]} has the lowest loss on the held-out replies, but its lead over "
        first += f"{NAMES[following.kind]} is not clear{_reason(lead, judged, len(order) - 1)}: {figures}."
    sentence = f"{first} {_on_advice(every, best, text)}".strip()
    return Conclusion(sentence=sentence, lowest=best.kind, is_clear=judged.is_clear)


def _correct(lead: Difference, num_others: int) -> Difference:
    """The lead of the best of several, with Bonferroni's correction, since the best was chosen by its lead."""
    return replace(lead, p_value=min(1.0, num_others * lead.p_value))


def _on_advice(every: Sequence[Measured], best: Measured, text: HeldOut) -> str:
    finetuned = next((each for each in every if each.kind == FINETUNED), None)
    if finetuned is None:
        return ""
    if best.kind == FINETUNED:
        return f"That agrees with {_ADVICE}."
    if _correct(lead_over(best, finetuned, text, 0), len(every) - 1).is_clear:
        return f"That contradicts {_ADVICE}."
    return f"Nothing is clearly better than fine-tuning alone, so {_ADVICE}, holds here."


def _reason(lead: Difference, judged: Difference, num_corrected: int) -> str:
    """What makes a difference unclear although its interval, which is not corrected, does not include zero."""
    is_due_to_correction = lead.is_clear and not judged.is_clear
    return f", corrected for {num_corrected} comparisons (p = {judged.p_value:.3f})" if is_due_to_correction else ""


def _sentence(a: str, b: str, lead: Difference, name: str | None, reason: str) -> str:
    first = f"On {name}, {NAMES[a]}" if name else NAMES[a][:1].upper() + NAMES[a][1:]
    if not lead.is_clear:
        figures = f"{_nats(lead.difference)} nats per token, 95 % interval {_range(lead)}"
        return f"{first}: no clear difference from {NAMES[b]}{reason} ({figures}; above zero is better)."
    low, high = sorted(map(abs, lead.interval))
    word = "lower" if lead.difference > 0 else "higher"
    figures = f"{_nats(abs(lead.difference))} nats per token (95 % interval {_nats(low)} to {_nats(high)})"
    return f"{first}: the loss is {word} than that of {NAMES[b]}, by {figures}."


def _range(lead: Difference) -> str:
    return f"{_nats(lead.interval[0])} to {_nats(lead.interval[1])}"


def _nats(value: float) -> str:
    """A difference of losses with a true minus sign: −0.012. Three digits, or up to five where fewer would hide on
    which side of zero it lies: −0.0003. The page writes the same."""
    for digits in range(3, 6):
        if rounded := round(value, digits):
            return f"{rounded:.{digits}f}".replace("-", "−")
    return "0.000"
