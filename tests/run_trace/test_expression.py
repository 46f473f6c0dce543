"""The language of answers: values, laws, and an error for everything else."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.run_trace.expression import DEEPEST, evaluate, pointers, read_pointer

DOCUMENT = {
    "evals": [{"loss": 3.0, "step": 0}, {"loss": 1.0, "step": 7}],
    "matrix": [[5, 1], [2, 7]],
    "a/b": {"~": "é"},
}
NUMBERS = st.floats(min_value=-100, max_value=100)
LISTS = st.lists(NUMBERS, min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (3, 3), ("word", "word"), (True, True), (None, None),
        (["at", "/evals/1/loss"], 1.0), (["at", "/a~1b/~0"], "é"),
        (["map", ["at", "/evals"], "step"], [0, 7]), (["map", ["at", "/matrix"], 0], [5, 2]),
        (["index", ["list", 4, 5, 6], 2], 6), (["first", ["list", 4, 5]], 4), (["last", ["list", 4, 5]], 5),
        (["take", ["list", "a", "b", "c"], ["list", 2, 0]], ["c", "a"]),
        (["len", "aé\U0001f600"], 3), (["len", ["at", "/matrix"]], 2), (["len", ["at", "/a~1b"]], 1),
        (["sum", ["list"]], 0), (["sum", ["list", 1, 2, 3.5]], 6.5),
        (["argmin", ["list", 3, 1, 1]], 1), (["argmax", ["list", 1, 3, 3]], 1),
        (["min", ["list", 3, 1]], 1), (["max", ["list", 3, 1]], 3), (["sort", ["list", 3, 1, 2]], [1, 2, 3]),
        (["flatten", ["at", "/matrix"]], [5, 1, 2, 7]),
        (["distinct", ["list", 1, True, 1.0, "1", True]], [1, True, "1"]),
        (["first", ["where", ["lt", ["map", ["at", "/evals"], "loss"], 2]]], 1),
        (["all", ["list"]], True), (["any", ["list", False, True]], True),
        (["add", ["list", 1, 2], 10], [11, 12]), (["mul", ["list", 1, 2], ["list", 3, 4]], [3, 8]),
        (["add", ["at", "/matrix"], 1], [[6, 2], [3, 8]]),
        (["round", 2.5], 3), (["round", -2.5], -2), (["floor", -0.5], -1), (["sqrt", 9], 3), (["abs", -3], 3),
        (["near", 1, 1.25, 0.25], True), (["eq", 1, 1.0], True), (["eq", True, 1], False), (["ne", None, None], False),
        (["and", ["list", True, False], True], [True, False]), (["or", False, True], True), (["not", True], False),
        (["if", ["lt", 1, 2], "x", "y"], "x"),
    ],
)  # fmt: skip
def test_a_value_is_what_the_specification_says(expression: Any, value: Any) -> None:
    found = evaluate(expression, DOCUMENT)
    assert found == value
    assert kinds(found) == kinds(value)  # Python takes True for 1


def kinds(value: Any) -> Any:
    return [kinds(each) for each in value] if isinstance(value, list) else isinstance(value, bool)


@pytest.mark.parametrize(
    "expression",
    [
        ["at", "/missing"], ["at", "/evals/2"], ["at", "/evals/01"], ["at", "/evals/-1"], ["at", "evals"], ["at", 3],
        ["at", "/evals", "/matrix"], ["at", ["at", "/evals"]], [], [3], ["no_such", 1], ["add", 1], ["add", 1, 2, 3],
        ["add", True, 1], ["add", "1", 1], ["add", None, 1], ["add", ["list", 1], ["list", 1, 2]], ["div", 1, 0],
        ["ln", 0], ["ln", -1], ["sqrt", -1], ["exp", 1000], ["mul", 1e300, 1e300], ["min", ["list"]],
        ["argmax", ["list"]], ["first", ["list"]], ["softmax", ["list"]], ["index", ["list", 1], 1],
        ["index", ["list", 1], 0.5], ["index", ["list", 1], True], ["map", ["at", "/evals"], "no"],
        ["where", ["list", 1]], ["and", 1, True], ["not", None], ["if", 1, 2, 3], ["eq", ["at", "/a~1b"], 1],
        ["flatten", ["list", 1]], ["distinct", ["at", "/matrix"]], ["len", 3], ["sum", 3], ["sort", ["list", "a"]],
        {"at": "/evals"}, float("nan"), ["add", float("inf"), 1],
    ],
)  # fmt: skip
def test_what_has_no_value_is_an_error(expression: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        evaluate(expression, DOCUMENT)


def test_calls_inside_each_other_are_limited() -> None:
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = ["abs", deep]
    assert evaluate(deep, {}) == 1
    with pytest.raises(ValueError, match="64"):
        evaluate(["abs", deep], {})


@given(LISTS)
def test_softmax_is_a_distribution_that_keeps_the_order_and_ignores_a_shift(xs: list[float]) -> None:
    found = evaluate(["softmax", ["list", *xs]], {})
    assert math.isclose(sum(found), 1) and all(0 <= p <= 1 for p in found)
    assert found[evaluate(["argmax", ["list", *xs]], {})] == max(found)
    shifted = evaluate(["softmax", ["add", ["list", *xs], 3]], {})
    assert all(math.isclose(a, b, abs_tol=1e-9) for a, b in zip(found, shifted, strict=True))


@given(LISTS, NUMBERS)
def test_a_scalar_next_to_a_list_is_repeated(xs: list[float], c: float) -> None:
    for name in ("add", "sub", "mul", "lt", "eq"):
        each = [evaluate([name, x, c], {}) for x in xs]
        assert evaluate([name, ["list", *xs], c], {}) == each
        assert evaluate([name, ["list", *xs], ["list", *[c] * len(xs)]], {}) == each


@given(LISTS)
def test_positions_and_values_belong_together(xs: list[float]) -> None:
    listed = ["list", *xs]
    assert evaluate(["index", listed, ["argmin", listed]], {}) == evaluate(["min", listed], {}) == min(xs)
    assert evaluate(["take", listed, ["where", ["ge", listed, ["max", listed]]]], {}) == [max(xs)] * xs.count(max(xs))


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_exp_undoes_ln(x: float) -> None:
    assert math.isclose(evaluate(["exp", ["ln", x]], {}), x, rel_tol=1e-9)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.sampled_from(["at", "add", "map", "list", "/evals", "loss", "if"]),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_any_json_has_a_value_or_is_a_value_error(expression: Any) -> None:
    try:
        json.dumps(evaluate(expression, DOCUMENT), allow_nan=False)
    except ValueError as error:
        assert str(error).endswith(".")


def test_every_pointer_is_named_once() -> None:
    expression = ["add", ["at", "/a"], ["mul", ["at", "/b/0"], ["at", "/a"]]]
    assert pointers(expression) == ["/a", "/b/0"]


def test_the_empty_pointer_is_the_document() -> None:
    assert read_pointer(DOCUMENT, "") is DOCUMENT
