"""The words that a pre-trained model puts in the place of [MASK]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretune.inference.load import load_filler


def fill(model: Path | str, text: str, *, top: int = 5) -> dict[str, Any]:
    """For each [MASK] in the text the `top` words with their probabilities, as JSON values.

    `{"text", "model", "masks": [[{"word", "probability"}]]}`, masks in the order of the text, words best first.
    Raises ModelNotFoundError, CorruptModelError or ModelError for the model and UsageError for the text.
    """
    filler = load_filler(model)
    return {
        "text": text,
        "model": str(filler.path),
        "masks": [
            [{"word": each.word, "probability": each.probability} for each in words] for words in filler.fill(text, top)
        ],
    }
