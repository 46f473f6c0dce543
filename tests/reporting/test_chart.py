from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from pretune.reporting.chart import Chart, Marker, Reference, Series, draw_chart, nice_ticks
from pretune.terminal import Page, to_text


def drawn(chart: Chart, width: int = 32, height: int = 5, charset: str = "unicode") -> list[str]:
    page = Page(width, "ascii" if charset == "ascii" else "unicode")
    return to_text(draw_chart(chart, page, height=height), page).rstrip("\n").split("\n")


FALLING = Series("validation", [(0, 9.0), (1, 5.0), (2, 4.0)])


def test_a_falling_line_with_a_reference_in_braille() -> None:
    chart = Chart("loss", "epoch", [FALLING], [Reference("ln V 9.01", 9.01)])
    assert drawn(chart) == [
        "loss",
        "━ validation",
        "10 ┤⠤⢄⣀╌╌╌╌╌╌╌╌╌╌╌╌╌ ln V 9.01 ╌",
        "   │   ⠉⠉⠑⠒⠤⠤⢄⣀",
        " 5 ┤           ⠉⠉⠑⠒⠒⠒⠢⠤⠤⠤⠤⠤⠤⢄⣀⣀⣀",
        "   │",
        " 0 ┤",
        "   └┬─────────────┬────────────┬",
        "    0             1            2",
        "                           epoch",
    ]


def test_the_same_line_in_ascii() -> None:
    chart = Chart("loss", "epoch", [FALLING], [Reference("ln V 9.01", 9.01)])
    assert drawn(chart, charset="ascii") == [
        "loss",
        "* validation",
        "10 |****------------ ln V 9.01 -",
        "   |    *******",
        " 5 |           *****************",
        "   |",
        " 0 |",
        "   ++-------------+------------+",
        "    0             1            2",
        "                           epoch",
    ]


def test_a_flat_line_and_a_single_point_can_be_drawn() -> None:
    for points in ([(0.0, 0.5)], [(0.0, 0.5), (1.0, 0.5)], [(0.0, 0.0)]):
        lines = drawn(Chart("accuracy", "epoch", [Series("validation", points)]))
        assert any(0x2800 < ord(character) < 0x2900 for line in lines for character in line)


def test_references_of_one_row_share_a_label_and_those_without_room_go_below() -> None:
    references = [Reference("ln K 0.693", 0.693), Reference("prior 0.692", 0.692)]
    zigzag = Series("validation", [(x, 0.69 * (x % 2)) for x in range(9)])
    assert drawn(Chart("loss", "epoch", [zigzag], references), height=2)[-1] == "   ╌ ln K 0.693, prior 0.692"
    free = Chart("loss", "epoch", [Series("validation", [(0, 0.1), (5, 0.0)])], references)
    assert any("ln K 0.693, prior 0.692" in line for line in drawn(free)[2:7])


def test_a_marker_is_drawn_at_its_point() -> None:
    chart = Chart("loss", "epoch", [FALLING], markers=[Marker("kept", (2, 4.0))])
    lines = drawn(chart)
    assert "● kept" in lines[1]
    assert next(line for line in lines[2:] if "●" in line).endswith("●")


def test_dashes_distinguish_the_other_line() -> None:
    solid = drawn(Chart("loss", "epoch", [FALLING]))
    dashed = drawn(Chart("loss", "epoch", [Series("train", FALLING.points, "dashed")]))
    dots = [sum((ord(c) - 0x2800).bit_count() for c in "".join(lines[2:]) if 0x2800 < ord(c) < 0x2900)
            for lines in (solid, dashed)]  # fmt: skip
    assert 0.3 * dots[0] < dots[1] < 0.8 * dots[0]


def test_accuracy_never_gets_a_tick_beyond_its_limits() -> None:
    series = Series("validation", [(0, 0.01), (1, 0.99)])
    lines = drawn(Chart("accuracy", "epoch", [series], y_limits=(0.0, 1.0), format_y="{:.0%}".format), height=9)
    assert lines[2].startswith("100% ┤")
    assert lines[-4].startswith("  0% ┤")


def test_a_chart_without_points_says_so() -> None:
    assert drawn(Chart("loss", "epoch", [])) == ["loss", "(no evaluation yet)"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (3.0, 9.01, [2, 4, 6, 8, 10]),
        (0.0, 0.42, [0, 0.2, 0.4, 0.6]),
        (0.0, 15.0, [0, 5, 10, 15]),
        (0, 0, [0, 0.05, 0.1]),
    ],
)
def test_ticks_are_round_numbers_around_the_values(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high, at_most=5) == pytest.approx(ticks)


@given(st.floats(-1e6, 1e6), st.floats(0, 1e6), st.integers(2, 12))
def test_ticks_cover_the_values(low: float, span: float, at_most: int) -> None:
    ticks = nice_ticks(low, low + span, at_most)
    tolerance = 1e-6 * max(abs(low), span, 1)
    assert ticks[0] <= low + tolerance
    assert ticks[-1] >= low + span - tolerance
    assert 2 <= len(ticks) <= max(at_most, 2) + 1
    assert all(a < b for a, b in pairwise(ticks))


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 12)), min_size=1, max_size=20), st.integers(30, 120))
def test_a_chart_is_never_wider_than_its_page(points: list[tuple[float, float]], width: int) -> None:
    chart = Chart("loss", "epoch", [Series("validation", sorted(points))], [Reference("ln V 9.01", math.log(8192))])
    for line in draw_chart(chart, Page(width)):
        assert cell_len(line.plain) <= width
