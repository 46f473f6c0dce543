"""A page is sent exactly what its version lacks, and all of it if its version is not known."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.live.versions import Versions

traces = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2) | st.text(max_size=2), min_size=1)


def changed(versions: Versions, name: str | None) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(versions.changes_since(name))["changed"]
    return found


@given(st.lists(traces, min_size=1, max_size=6), st.data())
def test_the_changes_make_the_latest_of_any_earlier_version(
    contents: list[dict[str, Any]], data: st.DataObject
) -> None:
    keys = {key for content in contents for key in content}
    contents = [{**dict.fromkeys(keys, None), **content} for content in contents]  # a trace always has all its keys
    versions = Versions()
    names = [versions.add(content).name for content in contents]
    index = data.draw(st.sampled_from(range(len(names))))
    known = contents[index]
    difference = changed(versions, names[index])
    assert {**known, **difference} == contents[-1]
    assert all(known[key] != value for key, value in difference.items())


def test_an_unknown_version_gets_everything() -> None:
    versions = Versions()
    versions.add({"a": 1, "b": [2]})
    assert changed(versions, "nothing") == changed(versions, None) == {"a": 1, "b": [2]}


def test_the_name_follows_from_the_content() -> None:
    """So a page that has it is sent nothing by a server that was started again."""
    first, second = Versions(), Versions()
    name = first.add({"a": 1}).name
    assert second.add({"a": 1}).name == name
    assert changed(second, name) == {}
    assert second.add({"a": 2}).name != name


def test_old_versions_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.live.versions._REMEMBERED", 2)
    versions = Versions()
    names = [versions.add({"a": number, "b": 0}).name for number in range(3)]
    assert changed(versions, names[0]) == {"a": 2, "b": 0}
    assert changed(versions, names[1]) == {"a": 2}


def test_every_text_is_json() -> None:
    version = Versions().add({"a": "\ud800\u2028\n\x00"})
    assert json.loads(version.as_json()) == {"a": "\ud800\u2028\n\x00"}
    assert b"\n" not in version.as_json()


def test_nothing_is_no_version() -> None:
    with pytest.raises(RuntimeError):
        Versions().changes_since(None)
