"""JSON of files that may be damaged, or made by somebody else."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """The value. Raises ValueError for text that is no JSON, and also if lists or objects nest too deeply, for which
    the decoder has an error of another kind."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("lists or objects are nested too deeply") from None
