from __future__ import annotations

import pytest

from pretune.reporting import numbers as figures


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figures.count(1_234_567), "1,234,567"),
        (figures.count(2.5), "2.5"),
        (figures.short_count(5_342_720), "5.3 M"),
        (figures.short_count(13_912.4), "13.9 k"),
        (figures.short_count(950.2), "950"),
        (figures.duration(0.42), "0.4 s"),
        (figures.duration(99.9), "99.9 s"),
        (figures.duration(185), "3 min 05 s"),
        (figures.duration(3599.9), "1 h 00 min"),
        (figures.duration(3720), "1 h 02 min"),
        (figures.clock(38), "0:38"),
        (figures.clock(3725), "1:02:05"),
        (figures.size(85_000_000), "85 MB"),
        (figures.size(1_200_000_000), "1.2 GB"),
        (figures.size(12), "12 B"),
        (figures.percent(0.9523), "95.2 %"),
        (figures.percent(0.0012), "0.12 %"),
        (figures.percent(0.000001), "<0.01 %"),
        (figures.percent(0), "0 %"),
        (figures.percent(1.0), "100 %"),
        (figures.points(0.0314), "+3.1 points"),
        (figures.points(-0.2), "-20.0 points"),
        (figures.spread(0.012), "±1.2"),
        (figures.spread(0.0004), "±0.04"),
        (figures.interval([0.943, 0.969]), "94.3 to 96.9"),
        (figures.nats(9.0109), "9.01"),
        (figures.nats(0.69314), "0.693"),
        (figures.change(-0.817), "0.82"),
        (figures.change(1.07), "1.1"),
        (figures.rate(0.0015), "0.0015"),
    ],
)
def test_a_number_is_written_with_few_digits_and_a_unit(written: str, expected: str) -> None:
    assert written == expected
