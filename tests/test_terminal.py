from __future__ import annotations

import io
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

import pretune
from pretune.terminal import (
    Cell,
    Column,
    Page,
    bar,
    clean,
    clean_lines,
    has_colour,
    heading,
    page_for,
    place,
    shorten,
    show,
    side_by_side,
    table,
    to_text,
    wrap,
    write_text,
)


class Stream(io.StringIO):
    """A stream with the terminal and the encoding that a test wants."""

    def __init__(self, *, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__()
        self._terminal, self._encoding = terminal, encoding

    def isatty(self) -> bool:
        return self._terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


HOSTILE = [
    ("\x1b[31mred\x1b[0m", "red"),
    ("\x1b]0;title\x07text", "text"),
    ("\x1b]8;;http://evil\x1b\\link", "link"),
    ("a\x07b\x00c\x7fd\x9be", "abcde"),
    ("one\r\ntwo\tthree", "one two three"),
    ("abc\u202edef\u2066", "abcdef"),
    ("zero\u200bwidth", "zerowidth"),
    ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"),
    ("line\u2028break", "line break"),
    ("lone \ud800 half", "lone \ufffd half"),
    ("[bold red]not markup[/]", "[bold red]not markup[/]"),
    ("\x1b", ""),
]


@pytest.mark.parametrize(("text", "expected"), HOSTILE)
def test_text_from_outside_becomes_harmless(text: str, expected: str) -> None:
    assert re.sub(" +", " ", clean(text)) == expected


@given(st.text(st.characters(codec=None)))
def test_cleaned_text_has_no_control_character_and_can_be_encoded(text: str) -> None:
    cleaned = clean(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in cleaned)
    cleaned.encode()
    assert clean(cleaned) == cleaned


def test_shortened_text_ends_with_an_ellipsis() -> None:
    assert shorten("a long sentence", 8) == "a long…"
    assert cell_len(shorten("寿司寿司寿司", 7)) <= 7
    assert shorten("short", 8) == "short"


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" ")), st.integers(2, 30))
def test_wrapped_text_keeps_every_character_and_the_width(text: str, width: int) -> None:
    lines = wrap(text, width)
    assert all(cell_len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_a_table_aligns_wraps_and_fits() -> None:
    columns = [Column("name"), Column("n", "right"), Column("what it is", wraps=True)]
    rows = [["first", "1", "some words that do not fit into one line"], ["寿司", Cell("1,000", "bold"), "fish"]]
    assert to_text(table(columns, rows, Page(40)), Page(40)).split("\n") == [
        " name       n  what it is",
        " ─────  ─────  ─────────────────────────",
        " first      1  some words that do not",
        "               fit into one line",
        " 寿司   1,000  fish",
        "",
    ]


def test_a_note_that_does_not_fit_next_to_its_title_goes_below() -> None:
    assert [line.plain for line in heading("TITLE", "note", Page(20))] == ["", "TITLE   note", "─" * 20]
    assert [line.plain for line in heading("TITLE", "a note too long", Page(20))][3] == "a note too long"


def test_blocks_are_placed_side_by_side() -> None:
    lines = side_by_side([Text("a"), Text("b")], [Text("c")], left_width=3, gap=1)
    assert [line.plain for line in lines] == ["a   c", "b"]


def test_a_bar_has_its_width_and_grows_with_the_fraction() -> None:
    assert bar(0.0, 4) == "░░░░"
    assert bar(0.5, 4) == "██░░"
    assert bar(0.53, 4) == "██▏░"
    assert bar(7.0, 4) == "████"


def test_ascii_pages_contain_only_ascii() -> None:
    page = Page(30, "ascii")
    lines = heading("TITLE", "a · b → c …", page) + table([Column("x ±")], [["● ✓ ▍░ ▅ ├─┤"]], page)
    to_text(lines, page).encode("ascii")


@pytest.mark.parametrize("part", ["reporting", "learning", "run_trace", "cli"])
def test_every_character_of_a_display_has_an_ascii_form(part: str) -> None:
    """The minus before a number became a question mark, or ended train() with a UnicodeEncodeError."""
    files = (Path(pretune.__file__).parent / part).rglob("*.py")
    characters = {c for file in files for c in file.read_text(encoding="utf-8") if ord(c) > 127}
    to_text([Text("".join(sorted(characters)))], Page(100, "ascii")).encode("ascii")
    assert to_text([Text("−0.5 × “R²”")], Page(100, "ascii")) == '-0.5 x "R2"\n'


def test_colour_changes_nothing_but_escape_sequences() -> None:
    lines = [*heading("TITLE", "note", Page(20)), Text("green", style="green"), Text("[bold]as is[/]  ")]
    coloured = to_text(lines, Page(20), colour=True)
    assert "\x1b[32m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == to_text(lines, Page(20))


@pytest.mark.parametrize("colour", [True, False])
def test_a_line_that_quotes_uncleaned_text_cannot_command_a_terminal(colour: bool) -> None:
    """A label, a stage's unit or a token type of a run folder could set the title of the window, and worse."""
    line = Text("label ", style="bold").append("x\x1b]0;owned\x07\x9b2Jy", style="green").append("\x1b[8m z")
    text = to_text([line, Text("a b\r\x1b")], Page(100), colour=colour)
    assert re.sub(r"\x1b\[[0-9;]*m", "", text) == "label x]0;owned2Jy[8m z\na b\n"
    assert ("\x1b[1;32m" in text) == colour
    assert "\x1b]" not in text and "\x1b[8m" not in text and "\x9b" not in text


def test_width_and_characters_come_from_the_stream() -> None:
    assert page_for(Stream()) == Page(100, "unicode")
    assert page_for(Stream(encoding="cp1252")) == Page(100, "ascii")
    assert page_for(Stream(terminal=True)).width == 100  # a terminal without a descriptor


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_only_on_a_terminal_that_wants_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert has_colour(Stream(terminal=True))
    assert not has_colour(Stream())
    monkeypatch.setenv(name, value)
    assert not has_colour(Stream(terminal=True))


def test_what_a_stream_cannot_write_becomes_a_question_mark() -> None:
    stream = Stream(encoding="cp1252")
    show([Text("─ 寿")], stream, page_for(stream))
    assert stream.getvalue() == "- ?\n"


@pytest.mark.parametrize(
    ("value", "limit", "shown"),
    [
        ("a/b.csv, line 3", 40, "a/b.csv, line 3"),
        ("/home/somebody/texts/b.csv, line 301: {bad", 30, "…y/texts/b.csv, line 301: {bad"),
        ("/home/somebody/texts/b.csv, line 301: a/long/cell/and/more", 30, "…/b.csv, line 301: a/long/cel…"),
        ("/home/somebody/a_very_long_name_of_a_file.csv", 20, "…/a_very_long_name_…"),
        ("stdin", 3, "st…"),
    ],
)
def test_a_place_keeps_its_end(value: str, limit: int, shown: str) -> None:
    assert place(value, limit) == shown


def test_a_short_word_of_a_cell_that_wraps_stays_whole() -> None:
    """A column that wide neighbours squeezed once broke "fine-tuned" into "fine-tun" and "ed"."""
    columns = [Column("way", wraps=True), *[Column("a heading of its own", "right") for _ in range(3)]]
    text = to_text(table(columns, [["pre-trained, then fine-tuned", "1", "2", "3"]], Page(width=76)), Page(width=76))
    assert "fine-tuned" in text
    assert max(map(len, text.splitlines())) <= 76


def test_a_table_too_wide_for_its_page_is_cut_visibly() -> None:
    columns = [Column("first", "right"), Column("second", "right")]
    assert to_text(table(columns, [["1234567890", "0.123456789"]], Page(15)), Page(15)) == (
        "  first  second\n ──────  ──────\n 12345…  0.123…\n"
    )


def test_a_cell_is_never_read_as_markup() -> None:
    assert "[bold red]as is[/]" in table([Column("x")], [["[bold red]as is[/]"]], Page(40))[2].plain


def test_clean_lines_keeps_the_layout_and_nothing_that_moves_the_cursor() -> None:
    assert clean_lines("a\n  b\r\n\tc\x1b[31md\x07\u202e") == "a\n  b\n    cd"
    assert clean_lines(" and ") == " and " and clean_lines("\ud800") == "\ufffd"


class Tee:
    """What a program may put in the place of stdout: no more than print needs."""

    def __init__(self) -> None:
        self.written = ""

    def write(self, text: str) -> int:
        self.written += text
        return len(text)

    def flush(self) -> None: ...


def test_a_stream_need_not_have_more_than_print_needs() -> None:
    tee: Any = Tee()
    assert page_for(tee) == Page(charset="ascii")
    assert not has_colour(tee)
    write_text("Gut ✓\n", tee)
    assert tee.written == "Gut ✓\n"


def test_nothing_is_written_without_a_stream() -> None:
    assert page_for(None) == Page(charset="ascii")
    write_text("nowhere", None)
