"""The one text that every stage logs, from raw text to prediction."""

from __future__ import annotations

from pretune.run_trace.log_values import figure, last_of, objects, texts, whole, wholes, words
from pretune.run_trace.places import without_folders
from pretune.runtime.events import Event
from pretune.trace_schema import Example, MaskedExample, WordGuess

TOKENS = 512  # of a long text, from its start


def read_example(events: list[Event]) -> Example | None:
    """The example as each stage saw it; None if no stage has logged it."""
    seen = {stage: last_of(events, stage, "example") for stage in ("collect", "preprocess", "pretrain", "prepare")}
    split, finetuned = last_of(events, "split", "example"), last_of(events, "finetune", "example")
    if not any((*seen.values(), split, finetuned)):
        return None
    collected, clean = seen["collect"], seen["preprocess"]
    labelled = seen["prepare"] or split
    source = words(collected.get("source"))
    return Example(
        # As collected, it may have personal data that the preprocess stage has replaced.
        text=words(clean.get("text_before", collected.get("text"))),
        source=None if source is None else without_folders(source),
        clean_text=words(clean.get("text")),
        tokens=texts(clean.get("tokens"))[:TOKENS],
        ids=wholes(clean.get("ids"))[:TOKENS],
        masked=_masked(seen["pretrain"]),
        label=words(labelled.get("label", finetuned.get("label"))),
        split=words(labelled.get("split")),
        num_tokens=whole(labelled.get("num_tokens")),
        predicted=words(finetuned.get("predicted")),
        probability=figure(finetuned.get("probability")),
    )


def _masked(event: Event) -> MaskedExample | None:
    masked, word = words(event.get("masked_text")), words(event.get("true_word"))
    if masked is None or word is None:
        return None
    return MaskedExample(
        masked_text=masked,
        true_word=word,
        probability=figure(event.get("probability")),
        rank=whole(event.get("rank")),
        predictions=guesses(event),
    )


def guesses(event: Event) -> list[WordGuess]:
    """The words that the model found most probable for a mask."""
    found = []
    for each in objects(event.get("predictions")):
        word, probability = words(each.get("word")), figure(each.get("probability"))
        if word is not None and probability is not None:
            found.append(WordGuess(word=word, probability=probability))
    return found
