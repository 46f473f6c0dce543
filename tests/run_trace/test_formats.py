from __future__ import annotations

import pytest

from pretune.run_trace import formats


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formats.count(1_234_567), "1,234,567"),
        (formats.count(2.5), "2.5"),
        (formats.epoch(3.0, [0.0, 1.0, 2.0]), "3"),
        (formats.epoch(0.1, [0.0, 0.2]), "0.1"),
        (formats.epoch(0.0034, [0.0, 0.0068]), "0.003"),
        (formats.epoch(0.0034, [0.0034, 0.0036]), "0.0034"),
        (formats.epoch(0.004), "0.004"),
        (formats.short_count(5_342_720), "5.3 M"),
        (formats.short_count(13_912.4), "13.9 k"),
        (formats.short_count(950.2), "950"),
        (formats.duration(0.42), "0.4 s"),
        (formats.duration(99.9), "99.9 s"),
        (formats.duration(185), "3 min 05 s"),
        (formats.duration(3599.9), "1 h 00 min"),
        (formats.duration(3720), "1 h 02 min"),
        (formats.clock(38), "0:38"),
        (formats.clock(3725), "1:02:05"),
        (formats.size(85_000_000), "85 MB"),
        (formats.size(1_200_000_000), "1.2 GB"),
        (formats.size(12), "12 B"),
        (formats.percent(0.9523), "95.2 %"),
        (formats.percent(0.0012), "0.12 %"),
        (formats.percent(0.000001), "<0.01 %"),
        (formats.percent(0), "0 %"),
        (formats.percent(1.0), "100 %"),
        (formats.probability(0.9523), "95.2 %"),
        (formats.probability(0.0012), "0.12 %"),
        (formats.probability(0.9995), "99.95 %"),
        (formats.probability(1.0), ">99.99 %"),
        (formats.probability(0.0), "<0.01 %"),
        (formats.spread(0.012), "±1.2"),
        (formats.spread(0.0004), "±0.04"),
        (formats.interval([0.943, 0.969]), "94.3 to 96.9"),
        (formats.nats(9.0109), "9.01"),
        (formats.nats(0.69314), "0.693"),
        (formats.change(-0.817), "0.82"),
        (formats.change(1.07), "1.1"),
        (formats.rate(0.0015), "0.0015"),
    ],
)
def test_a_number_is_written_with_few_digits_and_a_unit(written: str, expected: str) -> None:
    assert written == expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("files", 1, "file"),
        ("files", 2, "files"),
        ("classes", 1, "class"),
        ("polar word families", 1, "polar word family"),
        ("train_documents", 1, "train document"),
        ("tokens per row", 1.0, "token per row"),
        ("loss", 1, "loss"),
    ],
)
def test_a_quantity_of_one_has_its_name_in_the_singular(name: str, value: float, expected: str) -> None:
    assert formats.unit_of(name, value) == expected


def test_epochs_get_the_decimals_that_tell_them_apart() -> None:
    assert formats.epoch_decimals([]) == formats.epoch_decimals([1.0, 2.0]) == formats.epoch_decimals([0.01, 0.02]) == 2
    assert formats.epoch_decimals([0.004 * step for step in range(5)]) == 3
    assert formats.epoch_decimals([1.0, 1.0003]) == 4
    assert formats.epoch_decimals([0.1 + 0.2, 0.3]) == 2  # the same but for rounding
