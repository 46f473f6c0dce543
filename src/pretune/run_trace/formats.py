"""Numbers in, short text out: few digits, a unit, thousands separators."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

MINUTE = 60
HOUR = 3600
MOST_DECIMALS = 6  # of an epoch: the trace keeps six significant digits


def count(value: float) -> str:
    """A count in full: 1,234,567."""
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def epoch(value: float, others: Iterable[float] = ()) -> str:
    """An epoch, with as many decimals as tell it from others: 3, 0.5, 0.0034."""
    if float(value).is_integer():
        return count(value)
    return f"{value:.{epoch_decimals([value, *others])}f}".rstrip("0").rstrip(".")


def epoch_decimals(epochs: Iterable[float]) -> int:
    """The decimals that tell these epochs apart, 2 at least: of much data, only a small part of an epoch may be
    read."""
    gaps = [after - before for before, after in pairwise(sorted({0.0, *epochs}))]
    smallest = min((gap for gap in gaps if gap >= 10**-MOST_DECIMALS), default=1.0)
    return min(max(2, math.ceil(-math.log10(smallest) - 1e-6)), MOST_DECIMALS)


def unit_of(name: str, value: float) -> str:
    """The name of a quantity beside its value, in the singular beside 1: 2 train_documents -> train documents,
    1 files -> file."""
    words = name.replace("_", " ")
    return _PLURAL.sub(_singular, words, count=1) if value == 1 else words


_PLURAL = re.compile(r"\b\w*[^\Ws]s\b")  # the first plural is the noun: files, tokens per row


def _singular(plural: re.Match[str]) -> str:
    word = plural[0]
    if word.endswith("ies"):
        return word.removesuffix("ies") + "y"
    return word.removesuffix("es") if word.endswith(("sses", "xes")) else word.removesuffix("s")


def short_count(value: float) -> str:
    """A count to three digits or so: 5.3 M, 812 k, 950."""
    for factor, suffix in ((1e9, " G"), (1e6, " M"), (1e4, " k")):
        if value >= factor:
            scaled = value / (1e3 if suffix == " k" else factor)
            return f"{scaled:.1f}{suffix}" if scaled < 100 else f"{scaled:,.0f}{suffix}"
    return count(round(value))


def duration(seconds: float) -> str:
    """A time span: 0.4 s, 12.8 s, 3 min 05 s, 1 h 02 min."""
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes // MINUTE:,} h {minutes % MINUTE:02d} min"


def clock(seconds: float) -> str:
    """A time span as a clock shows it, for narrow columns: 0:38, 12:05, 1:02:00."""
    hours, rest = divmod(round(seconds), HOUR)
    minutes, left = divmod(rest, MINUTE)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def size(num_bytes: float) -> str:
    """A size in memory or on disk, decimal units: 85 MB, 1.2 GB."""
    for factor, suffix in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= factor:
            scaled = num_bytes / factor
            return f"{scaled:.1f} {suffix}" if scaled < 10 else f"{scaled:,.0f} {suffix}"
    return f"{num_bytes:.0f} B"


def percent(fraction: float) -> str:
    """A fraction as a percentage; small ones keep two digits: 95.2 %, 0.12 %, <0.01 %."""
    value = 100 * fraction
    if value in (0, 100):
        return f"{value:.0f} %"
    if abs(value) < 0.01:
        return "<0.01 %"
    return f"{value:.2f} %" if abs(value) < 1 else f"{value:.1f} %"


def probability(value: float) -> str:
    """A softmax probability as a percentage. It is never 0 or 1, so it is never written as such, whatever it rounds
    to: >99.99 %, <0.01 %."""
    if value < 0.0001:
        return "<0.01 %"
    if value > 0.9999:
        return ">99.99 %"
    return f"{100 * value:.{2 if value < 0.01 or value > 0.999 else 1}f} %"


def nats(loss: float) -> str:
    """A loss: two decimals from 1 upwards, three below."""
    return f"{loss:.2f}" if abs(loss) >= 1 else f"{loss:.3f}"


def change(difference: float) -> str:
    """The size of a difference, two significant digits: 1.1, 0.82, 0.067."""
    return f"{abs(difference):.2g}" if abs(difference) < 10 else count(round(abs(difference)))


def spread(fraction: float) -> str:
    """Half the width of an interval in percentage points: ±1.2, ±0.04."""
    value = 100 * fraction
    return f"±{value:.1f}" if value >= 0.1 or value == 0 else f"±{value:.2f}"


def interval(bounds: Sequence[float]) -> str:
    """An interval of fractions in percent: 94.3 to 96.9."""
    return f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}"


def rate(value: float) -> str:
    """A learning rate: 0.0015, 2e-05."""
    return f"{value:.2g}"
