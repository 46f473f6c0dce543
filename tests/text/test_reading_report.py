"""Things are counted by name, in the singular and the plural."""

from __future__ import annotations

from pretune.text.reading_report import counted, name_lines


def test_one_thing_is_in_the_singular_and_others_are_not() -> None:
    assert [counted(n, "row") for n in (0, 1, 2, 1000)] == ["0 rows", "1 row", "2 rows", "1,000 rows"]
    assert [counted(n, "class", "classes") for n in (1, 2)] == ["1 class", "2 classes"]


def test_lines_are_named_and_the_last_of_many_counted() -> None:
    assert name_lines([3]) == "line 3"
    assert name_lines([3, 5]) == "lines 3, 5"
    assert name_lines(range(1, 9)) == "lines 1, 2, 3, 4, 5 and 3 more"
