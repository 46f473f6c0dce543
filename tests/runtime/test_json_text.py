import pytest

from pretune.runtime.json_text import parse_json


def test_what_is_no_json_is_an_error_of_one_kind() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    for text in ("", "{", "[" * 100_000, '{"a":' * 100_000, b"\xff", "9" * 5000):
        with pytest.raises(ValueError, match=r"."):
            parse_json(text)
