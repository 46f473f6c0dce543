"""Convert a label of any type or spelling to its one written form."""

from __future__ import annotations

import numbers
import re
import unicodedata
from typing import Any

from pretune.text.readers.records import replace_surrogates

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_MISSING_TYPES = ("NAType", "NaTType")  # of pandas, which need not be installed


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN, pandas' NA, or a blank string."""
    if isinstance(value, str):
        return not value or value.isspace()
    return (
        value is None
        or type(value).__name__ in _MISSING_TYPES
        or (isinstance(value, numbers.Number) and value != value)
    )


def label_text(value: Any) -> str:
    """The label as text: `true` and `false` for booleans, digits for whole numbers, "" for a missing value.

    White space around strings is removed, and letters are composed; "True" becomes `true` and "1.0" becomes `1`, but
    "007" stays as it is.
    """
    if not isinstance(value, str | numbers.Number) and getattr(value, "shape", None) == () and hasattr(value, "item"):
        value = value.item()  # a boolean of numpy, an array or tensor of one number
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real) and float(value).is_integer():
        return str(int(float(value)))
    text = compose(replace_surrogates(str(value).strip()))
    if text.casefold() in ("true", "false"):
        return text.casefold()
    whole = _WHOLE.fullmatch(text)
    return whole[1] if whole else text


def compose(text: str) -> str:
    """The text in Unicode NFC, in which an é is one character however it was typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
