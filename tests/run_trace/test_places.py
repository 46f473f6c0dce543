from __future__ import annotations

import pytest

from pretune.run_trace.places import file_name, has_absolute_path, without_folders


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("10 rows in /home/ann/my-data/labels.csv (csv utf-8).", "10 rows in labels.csv (csv utf-8)."),
        ("Read ~/texts/a.txt, line 3.", "Read a.txt, line 3."),
        (r"Read C:\Users\ann\a.txt.", "Read a.txt."),
        ("Read '/data/two words/a b.txt' twice.", "Read 'a b.txt' twice."),
        ("Read /data/corpus/ and /data/corpus.", "Read corpus and corpus."),
        (
            "Rows by and/or, 3/4 of them, in runs/demo/labels.csv.",
            "Rows by and/or, 3/4 of them, in runs/demo/labels.csv.",
        ),
        ("See https://example.org/a/b.", "See https://example.org/a/b."),
        ("Nothing to see.", "Nothing to see."),
    ],
)
def test_only_file_names_are_left_of_absolute_paths(sentence: str, expected: str) -> None:
    assert without_folders(sentence) == expected
    assert not has_absolute_path(without_folders(sentence))


def test_a_known_path_with_blanks_is_shortened_too() -> None:
    path = "/home/ann lee/my data.csv"
    assert without_folders(f"Text in {path}, column 2.", path) == "Text in my data.csv, column 2."


def test_an_absolute_path_is_found() -> None:
    assert has_absolute_path("in /home/ann/x.csv")
    assert has_absolute_path(r"in D:\data\x.csv")
    assert not has_absolute_path("runs/demo/x.csv and 1/2 of https://example.org/x/y")


def test_the_name_of_a_folder_is_its_last_part() -> None:
    assert file_name("/a/b/") == "b"
    assert file_name("/") == "/"
