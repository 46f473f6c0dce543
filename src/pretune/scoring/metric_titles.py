"""The metrics by their names in logs and files, and how a sentence writes them and their differences."""

from __future__ import annotations

METRIC_TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "micro_f1": "micro-F1",
    "entity_f1": "entity F1",
    "pearson": "Pearson correlation",
    "spearman": "Spearman correlation",
    "mean_absolute_error": "mean absolute error",
}


def write_metric(name: str, value: float) -> str:
    """A metric with its value: accuracy 91.2%, macro-F1 0.873."""
    return f"accuracy {value:.1%}" if name == "accuracy" else f"{METRIC_TITLES[name]} {_minus(f'{value:.3f}')}"


def write_telling(value: float, decimals: int) -> str:
    """A number with a true minus sign and so many decimals, or one or two more where fewer would hide on which side of
    zero it lies: −1.2, −0.03."""
    for digits in range(decimals, decimals + 3):
        if rounded := round(value, digits):
            return _minus(f"{rounded:.{digits}f}")
    return f"{0:.{decimals}f}"


def write_signed(difference: float, decimals: int) -> str:
    """The same with its sign, unless it rounds to zero: +0.031, −0.2, 0.0."""
    text = write_telling(difference, decimals)
    return f"+{text}" if difference > 0 and any(digit in text for digit in "123456789") else text


def write_points(difference: float) -> str:
    """A difference of fractions as percentage points: 13.4, −1.2, −0.03."""
    return write_telling(100 * difference, 1)


def signed_points(difference: float) -> str:
    """The same with its sign: +13.4, −0.2, 0.0."""
    return write_signed(100 * difference, 1)


def points_interval(low: float, high: float) -> str:
    """An interval of differences in percentage points: 11.8 to 14.9, or −2.3 to −0.03."""
    return f"{write_points(low)} to {write_points(high)}"


def _minus(text: str) -> str:
    return text.replace("-", "−")
