"""A small language for answers that are computed from the trace of a run; the page has the same one in TypeScript.

An expression is JSON. A number, a string, true, false and null stand for themselves. A list is a call in prefix form:
the first element is the name of a function, the others are expressions, too, and all of them are evaluated.

    ["softmax", ["at", "/predictions/0/head/logits"]]

**Values** are numbers (doubles, always finite), strings, booleans, null, lists, and objects of the document. A boolean
is not a number.

**Reading.**
`["at", pointer]`: the value at a JSON pointer (RFC 6901) of the document; the pointer is a string in the expression.
`["index", xs, i]`: the element i of a list, from 0. `["map", xs, key]`: of each element of a list, its member `key` (a
string, for objects) or its element `key` (a number, for lists). `["first", xs]`, `["last", xs]`: of a list that is not
empty. `["take", xs, is]`: the elements at these positions.

**Lists.**
`["list", a, b, ...]`: a list of the values. `["len", x]`: elements of a list, members of an object, code points of a
string. `["sum", xs]` (0 if empty), `["min", xs]`, `["max", xs]`: of numbers. `["argmin", xs]`, `["argmax", xs]`: the
position of the smallest or largest number, the first one of several. `["sort", xs]`: numbers in ascending order.
`["flatten", xss]`: lists in a list, one after another. `["distinct", xs]`: the different scalars, in order of their
first occurrence. `["where", bs]`: the positions of true in a list of booleans. `["all", bs]`, `["any", bs]`: of a list
of booleans. `["softmax", xs]`: exp(x - max) / sum of the same.

**Element by element.** These take scalars. If one of their arguments is a list, they give a list: element by element,
with lists of equal length, and a scalar beside a list is repeated. Elements may be lists again.
Numbers to a number: `add`, `sub`, `mul`, `div`, `abs`, `sqrt`, `ln`, `exp`, `floor`, `round` (floor(x + 1/2)).
Numbers to a boolean: `lt`, `le`, `gt`, `ge`, and `["near", a, b, tolerance]` (abs(a - b) <= tolerance). Scalars to a
boolean: `eq`, `ne` (values of different types are not equal). Booleans to a boolean: `and`, `or`, `not`.

**Choice.** `["if", b, x, y]`: x if b is true, else y; both are evaluated.

**Errors.** A name that does not exist, a wrong number of arguments, a wrong type, a position or pointer without value,
an empty list where an element is needed, division by zero, ln of a number that is not positive, sqrt of a negative
one, a result that is not finite, and more than 64 calls inside each other. Nothing else can happen: without loops and
definitions, every expression ends.

**Answers of a quiz.** The expression of a `number` gives a number that differs from `answer` by at most a tenth of
`tolerance` (0: they are equal). The expression of a `choice` gives a list of booleans, one for each option: what the
option claims is true or false of this run. Exactly one is true, that of the right option. A question about concepts
has the expression null, and nothing of the run decides it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Value = Any  # a number, string, boolean, None, list, or an object of the document
DEEPEST = 64  # calls inside each other


def evaluate(expression: Any, document: Any) -> Value:
    """The value of an expression for a document as parsed JSON.

    Raises:
        ValueError: the expression is none of the language, or has no value for this document
    """
    return _evaluate(expression, document, 0)


def pointers(expression: Any) -> list[str]:
    """Every pointer that an expression reads, in order and once."""
    return list(dict.fromkeys(_pointers(expression)))


def read_pointer(document: Any, pointer: str) -> Value:
    """The value at a JSON pointer.

    Raises:
        ValueError: there is no value at it
    """
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"{pointer!r} is no JSON pointer; expected a slash at the beginning.")
    value = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _is_position(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise ValueError(f"The document has nothing at {pointer}.")
    return value


def _is_position(name: str) -> bool:
    return name.isascii() and name.isdigit() and (name == "0" or not name.startswith("0"))


def _pointers(expression: Any) -> Iterator[str]:
    if isinstance(expression, list) and expression:
        if expression[0] == "at":
            yield from (pointer for pointer in expression[1:] if isinstance(pointer, str))
        else:
            for argument in expression[1:]:
                yield from _pointers(argument)


def _evaluate(expression: Any, document: Any, depth: int) -> Value:
    if depth > DEEPEST:
        raise ValueError(f"More than {DEEPEST} calls are inside each other.")
    if not isinstance(expression, list):
        return _scalar(expression)
    if not expression or not isinstance(expression[0], str):
        raise ValueError("A call must begin with the name of a function.")
    name, *arguments = expression
    if name == "at":
        if len(arguments) != 1 or not isinstance(arguments[0], str):
            raise ValueError("at needs one pointer, a string.")
        return read_pointer(document, arguments[0])
    values = [_evaluate(argument, document, depth + 1) for argument in arguments]
    if name == "list":
        return values
    for table, apply in ((_OF_LISTS, _call), (_OF_SCALARS, _element_by_element)):
        if name in table:
            count, function = table[name]
            if len(values) != count:
                raise ValueError(f"{name} needs {count} arguments, found {len(values)}.")
            return apply(function, values)
    raise ValueError(f"There is no function {name!r}.")


def _scalar(value: Any) -> Value:
    if value is None or isinstance(value, str | bool):
        return value
    return _number(value)


def _call(function: Callable[..., Value], values: list[Value]) -> Value:
    return function(*values)


def _element_by_element(function: Callable[..., Value], values: list[Value]) -> Value:
    lengths = {len(value) for value in values if isinstance(value, list)}
    if not lengths:
        return function(*values)
    if len(lengths) > 1:
        raise ValueError(f"Lists of {' and '.join(map(str, sorted(lengths)))} elements do not fit together.")
    length = lengths.pop()
    columns = [value if isinstance(value, list) else [value] * length for value in values]
    return [_element_by_element(function, list(row)) for row in zip(*columns, strict=True)]


# --- types ------------------------------------------------------------------------------------------------------------


def _number(value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"Expected a number, found {_kind(value)}.")
    if not math.isfinite(value):
        raise ValueError("A number is not finite.")
    return value


def _boolean(value: Value) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"Expected true or false, found {_kind(value)}.")
    return value


def _list(value: Value) -> list[Value]:
    if not isinstance(value, list):
        raise ValueError(f"Expected a list, found {_kind(value)}.")
    return value


def _numbers(value: Value) -> list[float]:
    return [_number(element) for element in _list(value)]


def _some(values: list[Any]) -> list[Any]:
    if not values:
        raise ValueError("Expected at least one element, found an empty list.")
    return values


def _plain(value: Value) -> Value:
    if isinstance(value, list | dict):
        raise ValueError(f"Expected a number, a string, true, false or null, found {_kind(value)}.")
    return value


def _kind(value: Value) -> str:
    for types, name in ((bool, "a boolean"), (str, "a string"), (list, "a list"), (dict, "an object")):
        if isinstance(value, types):
            return name
    return "null" if value is None else "a number"


# --- functions --------------------------------------------------------------------------------------------------------


def _index(values: Value, position: Value) -> Value:
    elements, place = _list(values), _number(position)
    if place != math.floor(place) or not 0 <= place < len(elements):
        raise ValueError(f"A list of {len(elements)} elements has none at {position}.")
    return elements[int(place)]


def _map(values: Value, key: Value) -> list[Value]:
    if not isinstance(key, str):
        return [_index(element, key) for element in _list(values)]
    found = []
    for element in _list(values):
        if not isinstance(element, dict) or key not in element:
            raise ValueError(f"An element of the list has no member {key!r}.")
        found.append(element[key])
    return found


def _len(value: Value) -> int:
    if not isinstance(value, list | dict | str):
        raise ValueError(f"Expected a list, an object or a string, found {_kind(value)}.")
    return len(value)


def _argmin(values: Value) -> int:
    numbers = _some(_numbers(values))
    return numbers.index(min(numbers))


def _argmax(values: Value) -> int:
    numbers = _some(_numbers(values))
    return numbers.index(max(numbers))


def _flatten(values: Value) -> list[Value]:
    return [element for part in _list(values) for element in _list(part)]


def _distinct(values: Value) -> list[Value]:
    found: list[Value] = []
    for value in _list(values):
        if not any(_equal(value, other) for other in found):
            found.append(_plain(value))
    return found


def _where(values: Value) -> list[int]:
    return [position for position, value in enumerate(_list(values)) if _boolean(value)]


def _softmax(values: Value) -> list[float]:
    numbers = _some(_numbers(values))
    largest = max(numbers)
    weights = [math.exp(_finite(number - largest)) for number in numbers]
    return [weight / sum(weights) for weight in weights]


def _equal(a: Value, b: Value) -> bool:
    is_number = [isinstance(value, int | float) and not isinstance(value, bool) for value in (_plain(a), _plain(b))]
    return bool(a == b) and (all(is_number) or type(a) is type(b))


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("A result is not finite.")
    return value


def _div(a: float, b: float) -> float:
    if b == 0:
        raise ValueError("Division by zero.")
    return a / b


def _ln(x: float) -> float:
    if x <= 0:
        raise ValueError("ln needs a positive number.")
    return math.log(x)


def _sqrt(x: float) -> float:
    if x < 0:
        raise ValueError("sqrt needs a number that is not negative.")
    return math.sqrt(x)


def _exp(x: float) -> float:
    return math.exp(x) if x < 710 else math.inf  # beyond, math.exp raises instead of giving infinity


def _of_numbers(function: Callable[..., float | bool]) -> Callable[..., Value]:
    return lambda *values: _checked(function(*(_number(value) for value in values)))


def _checked(result: float | bool) -> Value:
    return result if isinstance(result, bool) else _finite(result)


_Table = dict[str, tuple[int, Callable[..., Value]]]  # a function's name: how many arguments it takes, and what it does

_OF_LISTS: _Table = {
    "index": (2, _index),
    "map": (2, _map),
    "first": (1, lambda xs: _some(_list(xs))[0]),
    "last": (1, lambda xs: _some(_list(xs))[-1]),
    "take": (2, lambda xs, positions: [_index(xs, position) for position in _list(positions)]),
    "len": (1, _len),
    "sum": (1, lambda xs: _finite(_sum(_numbers(xs)))),
    "min": (1, lambda xs: min(_some(_numbers(xs)))),
    "max": (1, lambda xs: max(_some(_numbers(xs)))),
    "argmin": (1, _argmin),
    "argmax": (1, _argmax),
    "sort": (1, lambda xs: sorted(_numbers(xs))),
    "flatten": (1, _flatten),
    "distinct": (1, _distinct),
    "where": (1, _where),
    "all": (1, lambda bs: all([_boolean(b) for b in _list(bs)])),
    "any": (1, lambda bs: any([_boolean(b) for b in _list(bs)])),
    "softmax": (1, _softmax),
    "if": (3, lambda condition, x, y: x if _boolean(condition) else y),
}

_OF_SCALARS: _Table = {
    "add": (2, _of_numbers(lambda a, b: a + b)),
    "sub": (2, _of_numbers(lambda a, b: a - b)),
    "mul": (2, _of_numbers(lambda a, b: a * b)),
    "div": (2, _of_numbers(_div)),
    "abs": (1, _of_numbers(abs)),
    "sqrt": (1, _of_numbers(_sqrt)),
    "ln": (1, _of_numbers(_ln)),
    "exp": (1, _of_numbers(_exp)),
    "floor": (1, _of_numbers(math.floor)),
    "round": (1, _of_numbers(lambda x: math.floor(x + 0.5))),
    "lt": (2, _of_numbers(lambda a, b: a < b)),
    "le": (2, _of_numbers(lambda a, b: a <= b)),
    "gt": (2, _of_numbers(lambda a, b: a > b)),
    "ge": (2, _of_numbers(lambda a, b: a >= b)),
    "near": (3, _of_numbers(lambda a, b, tolerance: abs(a - b) <= tolerance)),
    "eq": (2, _equal),
    "ne": (2, lambda a, b: not _equal(a, b)),
    "and": (2, lambda a, b: bool(_boolean(a) & _boolean(b))),
    "or": (2, lambda a, b: bool(_boolean(a) | _boolean(b))),
    "not": (1, lambda a: not _boolean(a)),
}


def _sum(numbers: Sequence[float]) -> float:
    """From left to right, as the page adds."""
    total = 0.0
    for number in numbers:
        total += number
    return total
