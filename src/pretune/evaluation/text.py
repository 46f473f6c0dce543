"""From a causal model and a file of text to its perplexity and bits per byte."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from pretune.errors import InputDataError
from pretune.inference.load import load_generator
from pretune.inference.text_loss import TextLoss, check_windows, text_loss
from pretune.scoring.perplexity import perplexity_of
from pretune.scoring.uncertainty import ratio_interval
from pretune.text.collect.documents import Reading, iter_documents
from pretune.text.collect.report_sentences import remarks
from pretune.text.reading_report import Findings
from pretune.text.sources.files import find_files

FEWEST_DOCUMENTS = 10  # for an interval over documents; with fewer, it is over windows


def evaluate_text(
    model: Path | str,
    file: Path | str,
    *,
    text_column: str | None = None,
    window: int | None = None,
    stride: int | None = None,
) -> dict[str, Any]:
    """Loss, perplexity and bits per byte of the text of a file, or of all files of a folder, as JSON values.

    The text is read as `collect` reads it. A token is predicted from those before it in its document; `window` is the
    most that the model reads at once (by default its whole context), and `stride` how much further the next window of a
    long document reaches (by default half a window). Intervals are 95 %, over documents, or over windows if there are
    fewer than ten documents. Raises the errors of `load_generator`, UsageError for window and stride, and
    InputDataError if the file cannot be used.
    """
    generator = load_generator(model)
    window, stride = check_windows(generator, window, stride)
    findings = Findings()
    files = find_files([file], findings)
    documents = iter_documents(files, findings, Reading(text_column=text_column))
    found = text_loss(generator, (document.text for document in documents), window, stride)
    if not len(found.tokens):
        raise InputDataError(f"{file} has no document of at least two tokens; expected text to predict.")
    return {
        **figures_of(found),
        "window": window,
        "stride": stride,
        "model": str(generator.path),
        "detected": " ".join(each.sentence for each in findings.detections),
        "remarks": [each.sentence for each in remarks(findings, len(set(found.document.tolist())))],
    }


def figures_of(found: TextLoss) -> dict[str, Any]:
    """The figures over all tokens, with their intervals."""
    tokens, nats = int(found.tokens.sum()), float(found.nats.sum())
    numbers = np.unique(found.document, return_inverse=True)[1]
    num_documents = int(numbers.max()) + 1
    over_documents = num_documents >= FEWEST_DOCUMENTS or num_documents == len(found.nats)
    units = numbers if over_documents else np.arange(len(found.nats))
    of_units, tokens_of, bytes_of = (
        np.bincount(units, values).astype(np.float64) for values in (found.nats, found.tokens, found.num_bytes)
    )
    interval = ratio_interval(of_units, tokens_of)
    loss = nats / tokens
    num_bytes = max(1, int(found.num_bytes.sum()))  # 0 if the first token, unscored, has the only character
    return {
        "tokens": tokens,
        "documents": num_documents,
        "windows": len(found.nats),
        "bytes": num_bytes,
        "loss": loss,
        "loss_interval": interval,
        "perplexity": perplexity_of(loss),
        "perplexity_interval": None if interval is None else tuple(map(perplexity_of, interval)),
        "bits_per_byte": nats / (num_bytes * math.log(2)),
        # Not that of the loss, scaled: units also differ in how many bytes a token has.
        "bits_per_byte_interval": ratio_interval(of_units, bytes_of * math.log(2)),
        "interval_over": "documents" if over_documents else "windows",
        "unknown_tokens": found.num_unknown,
    }
