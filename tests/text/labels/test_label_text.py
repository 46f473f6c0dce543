"""One label, however it is typed or spelled, has one written form."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from pretune.text.labels.label_text import label_text


class NAType:
    """Stands in for pandas' NA, which cannot be compared."""

    def __repr__(self) -> str:  # which names the test: an address would differ between processes
        return "NA"

    def __bool__(self) -> bool:
        raise TypeError("boolean value of NA is ambiguous")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, "true"),
        (False, "false"),
        (np.True_, "true"),
        ("True", "true"),
        (" FALSE ", "false"),
        (1, "1"),
        (np.int64(1), "1"),
        (1.0, "1"),
        (np.float32(1.0), "1"),
        (Decimal("1.0"), "1"),
        (np.array(1.0), "1"),
        ("1.0", "1"),
        ("-3.00", "-3"),
        (0.5, "0.5"),
        ("half \ud800", "half \ufffd"),
        (np.float32(0.1), "0.1"),
        (10**30, str(10**30)),
        (10**400, str(10**400)),
        (float("inf"), "inf"),
        ("good ", "good"),
        ("007", "007"),
        ("cafe\u0301 ", "caf\u00e9"),  # it was another class than that with the composed letter
        ("1.0.0", "1.0.0"),
        ("nan", "nan"),
        (None, ""),
        (float("nan"), ""),
        (np.float32("nan"), ""),
        (np.datetime64("NaT"), ""),
        (NAType(), ""),
        ("  ", ""),
    ],
    ids=repr,
)
def test_a_label_has_one_form(value: Any, expected: str) -> None:
    assert label_text(value) == expected
