"""How sentences write metrics and their differences."""

from __future__ import annotations

import pytest

from pretune.scoring.metric_titles import points_interval, signed_points, write_metric, write_points, write_signed


@pytest.mark.parametrize(
    ("name", "value", "written"),
    [
        ("accuracy", 0.912, "accuracy 91.2%"),
        ("macro_f1", 0.873, "macro-F1 0.873"),
        ("pearson", -0.2, "Pearson correlation −0.200"),
    ],
)
def test_a_metric_is_written_with_its_name(name: str, value: float, written: str) -> None:
    assert write_metric(name, value) == written


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-0.0234, "−2.3"), (0.134, "13.4"), (-0.0003, "−0.03"), (0.00002, "0.002"), (0.0, "0.0"), (-1e-9, "0.0")],
)
def test_points_keep_the_side_of_zero(value: float, expected: str) -> None:
    assert write_points(value) == expected


def test_points_have_a_true_minus_and_no_minus_zero() -> None:
    assert [signed_points(value) for value in (0.134, -0.002, 0.0, -0.000001)] == ["+13.4", "−0.2", "0.0", "0.0"]
    assert [signed_points(value) for value in (0.0004, 0.00002)] == ["+0.04", "+0.002"]
    assert points_interval(-0.006, 0.0061) == "−0.6 to 0.6"


def test_rounding_does_not_hide_on_which_side_of_zero_an_interval_ends() -> None:
    # An interval of −2.3 to 0.0 would contradict a verdict that rests on its upper end below zero.
    assert points_interval(-0.0234, -0.0003) == "−2.3 to −0.03"


def test_other_differences_are_written_alike() -> None:
    differences = (0.0312, -0.2, 0.0002, -0.00004, 0.0, -1e-9)
    written = ["+0.031", "−0.200", "+0.0002", "−0.00004", "0.000", "0.000"]
    assert [write_signed(difference, 3) for difference in differences] == written
