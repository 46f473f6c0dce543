import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.text.readers import json_lists
from pretune.text.readers.json_lists import begins_list, begins_list_of_objects, iter_list

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=9)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=9,
)


@settings(max_examples=150)
@given(values=st.lists(JSON, max_size=6), indent=st.sampled_from([None, 0, 2]), size=st.integers(1, 9))
def test_elements_come_back_with_their_lines(values: list[Any], indent: int | None, size: int) -> None:
    text = "\n " + json.dumps(values, indent=indent) + "\n"
    blocks = [text[start : start + size] for start in range(0, len(text), size)]
    found = list(iter_list(blocks, "a.json"))
    assert [value for _, value in found] == values
    if indent == 0 and values and all(isinstance(value, int) for value in values):
        assert [line for line, _ in found] == list(range(3, 3 + len(values)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[{"a": 1}, {"b": ', r"a.json, line 1: it is not valid JSON \(Expecting value\), found ''; expected"),
        ('[{"a": 1},\n{"b" 2}]', r"line 2: it is not valid JSON \(Expecting ':' delimiter\), found '2}\]'"),
        ('[{"a": 1}\n{"b": 2}]', r"line 2: expected '\]', found '{\"b\": 2}\]'"),
        ('[{"a": 1}]\n[{"b": 2}]', "line 2: something follows the end of the list"),
        ('["a", 12', "line 1: the list has no end"),
        ("[" * 100_000, "lists or objects are nested too deeply"),
        ('["' + "long " * 30, "an element of more than 100 characters"),
        ("{}", r"line 1: expected '\['"),
    ],
)
def test_what_is_no_list_is_refused_with_its_line(text: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if "long" in text:
        monkeypatch.setattr(json_lists, "LONGEST_ELEMENT", 100)
    with pytest.raises(InputDataError, match=sentence):
        list(iter_list([text[:5], text[5:]], "a.json"))


def test_what_begins_a_list() -> None:
    assert begins_list('\n[\n  "a"') and not begins_list_of_objects('["a"')
    assert begins_list('[{"a"') and begins_list_of_objects(' [ {\n"a"')
    assert (
        not begins_list("[1, 2]") and not begins_list("[link](http://a.b)") and not begins_list_of_objects("[{name}]")
    )
