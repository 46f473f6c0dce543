"""Text and cells in, lines for a terminal of a given width out; also cleans text from outside."""

from __future__ import annotations

import io
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

DEFAULT_WIDTH = 100
NARROWEST, WIDEST = 60, 140  # columns; a narrower terminal breaks the lines itself
_WHOLE_WORD = 12  # columns of a cell that wraps: words up to this length are not broken
NARROW = 76  # columns below which tables drop or wrap what they can
ROOMY = 96  # columns from which tables show columns that are only nice to have
Lines = list[Text]

# Lays out and colours text, and prints nothing; each call gives its own width.
_CONSOLE = Console(
    file=io.StringIO(),
    force_terminal=True,
    color_system="standard",
    no_color=False,
    width=10_000,
    legacy_windows=False,
)

_ESCAPE_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_]?)")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # except line breaks and tabs
# They join emoji, or the letters of some scripts, or keep them apart (Persian), and change nothing else.
_KEPT_FORMAT_CHARACTERS = {"\u200c", "\u200d", "\ufe0f"}
_TO_ASCII = str.maketrans(
    {**dict.fromkeys("─╌━┅", "-"), **dict.fromkeys("│┤├", "|"), **dict.fromkeys("┬└┼", "+")}
    | {**dict.fromkeys("█▉▊▋▌▍▎▏▁▂▃▄▅▆▇", "#"), "░": ".", "→": ">", "…": "~", "·": "-", "±": "~"}
    | {"●": "o", "◆": "o", "✓": "+", "␣": "_", "\u2212": "-", "×": "x", "²": "2"}
    | {**dict.fromkeys("“”", '"'), **dict.fromkeys("\u2018\u2019", "'")}
)


@dataclass(frozen=True)
class Page:
    """The area a display is drawn on: its width in columns, and the characters that may be used."""

    width: int = DEFAULT_WIDTH
    charset: Literal["unicode", "ascii"] = "unicode"


@dataclass(frozen=True)
class Cell:
    """One cell of a table; a line break in `text` starts a new line of the cell."""

    text: str
    style: str = ""


Row = Sequence[str | Cell]


@dataclass(frozen=True)
class Column:
    """One column of a table; the `wraps` columns share the width that the others leave."""

    title: str
    align: Literal["left", "right"] = "left"
    wraps: bool = False
    style: str = ""


def clean(text: object, limit: int | None = None) -> str:
    """Text from outside as harmless characters on one line, cut to `limit` columns.

    Escape sequences and control, bidirectional and zero-width characters are removed, except joiners; line breaks and
    tabs become blanks; a lone surrogate becomes U+FFFD.
    """
    cleaned = " ".join("".join(_harmless(str(text))).split(" ")).strip()
    return cleaned if limit is None else shorten(cleaned, limit)


def _harmless(text: str) -> Iterator[str]:
    """The characters that are shown, with a blank for one that breaks a line."""
    for character in _ESCAPE_SEQUENCE.sub("", text):
        category = unicodedata.category(character)
        if character in "\n\r\t\v\f\x85" or category in ("Zl", "Zp"):
            yield " "
        elif category == "Cs":
            yield "\ufffd"
        elif category not in ("Cc", "Cf") or character in _KEPT_FORMAT_CHARACTERS:
            yield character


def clean_lines(text: str) -> str:
    """Text from outside that keeps its line breaks and blanks, as harmless characters; see `clean`."""
    lines = re.split("\r\n|[\n\r\v\f\x85\u2028\u2029]", text)
    return "\n".join("".join(_harmless(line.replace("\t", "    "))) for line in lines)


def printable(text: str) -> str:
    """Text without the control characters that a terminal would obey; line breaks and tabs stay."""
    return _CONTROL_CHARACTER.sub("", text)


def shorten(text: str, width: int) -> str:
    """Cut to `width` columns, with an ellipsis if anything is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 1, 0)).rstrip() + "…"


def place(value: object, limit: int) -> str:
    """A path and what follows it, such as a line number, in at most `limit` columns: the path is cut first."""
    path, comma, rest = clean(value).partition(", ")
    room = max(limit - cell_len(comma + rest), len(path.rpartition("/")[2]) + 2)
    kept = path if len(path) <= room else f"…{path[1 - room :]}"
    return shorten(f"{kept}{comma}{rest}", limit)


def around(text: str, word: str, limit: int) -> str:
    """At most `limit` characters of a long text, those around a word that must be visible."""
    if len(text) <= limit:
        return text
    start = max(text.find(word), 0)
    start = min(max(start + len(word) // 2 - limit // 2, 0), len(text) - limit)
    before, after = "…" * (start > 0), "…" * (start + limit < len(text))
    return f"{before}{text[start + len(before) : start + limit - len(after)]}{after}"


def quote(text: object, limit: int | None = None) -> str:
    """Cleaned text in quotation marks; `limit` counts the marks."""
    return f'"{clean(text, None if limit is None else limit - 2)}"'


def wrap(text: str, width: int) -> list[str]:
    """Break into lines of at most `width` columns, at blanks if possible; a line break in `text` stays one."""
    return [line.plain.rstrip(" ") for line in Text(text).wrap(_CONSOLE, width)]


def pad(text: str, width: int, align: str = "left") -> str:
    """Fill up with blanks to `width` columns."""
    blanks = " " * max(width - cell_len(text), 0)
    return blanks + text if align == "right" else text + blanks


def heading(title: str, note: str, page: Page) -> Lines:
    """The title of a section over a line, with a note next to it (or below, if both do not fit)."""
    fits = cell_len(title) + cell_len(note) + 3 <= page.width
    lines = [Text(""), Text("").append(title, style="bold"), Text("─" * page.width, style="dim")]
    if fits:
        lines[1].append(f"   {note}", style="dim")
    elif note:
        lines += paragraph(note, page, style="dim")
    return lines


def paragraph(text: str, page: Page, *, indent: int = 0, first: str = "", style: str = "") -> Lines:
    """Wrapped text; `first` comes before the first line, and the other lines are indented by its width."""
    margin = indent + cell_len(first)
    lines = []
    for number, line in enumerate(wrap(text, page.width - margin)):
        lead = " " * indent + (first if number == 0 else " " * cell_len(first))
        lines.append(Text(lead).append(line, style=style))
    return lines


def _text_of(cell: str | Cell) -> str:
    return cell if isinstance(cell, str) else cell.text


def table(columns: Sequence[Column], rows: Iterable[Row], page: Page, *, indent: int = 1) -> Lines:
    """A table with a header and two blanks between columns, never wider than the page.

    If wrapping the `wraps` columns is not enough to fit, the others are cut, with an ellipsis.
    """
    rows = list(rows)
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for place, column in enumerate(columns):
        overflow: Literal["fold", "ellipsis"] = "fold" if column.wraps else "ellipsis"
        words = [word for row in rows for word in _text_of(row[place]).split()] if column.wraps else []
        whole = min(_WHOLE_WORD, max(map(len, words), default=0)) or None  # columns that are kept for words
        grid.add_column(justify=column.align, no_wrap=not column.wraps, overflow=overflow, min_width=whole)
    grid.add_row(*(Text(column.title, style="bold") for column in columns))
    grid.add_row(*(Rule(style="dim") for _ in columns))
    for row in rows:
        cells = [Cell(cell) if isinstance(cell, str) else cell for cell in row]
        grid.add_row(
            *(Text(cell.text, cell.style or column.style) for column, cell in zip(columns, cells, strict=True))
        )
    lines = _CONSOLE.render_lines(grid, _CONSOLE.options.update(width=page.width - indent), pad=False)
    return [Text(" " * indent).append_tokens((part.text, part.style) for part in line) for line in lines]


def side_by_side(left: Lines, right: Lines, left_width: int, gap: int = 3) -> Lines:
    """Two blocks of lines next to each other."""
    lines = []
    for index in range(max(len(left), len(right))):
        line = left[index].copy() if index < len(left) else Text("")
        if index < len(right):
            line.append(" " * (left_width + gap - line.cell_len)).append_text(right[index])
        lines.append(line)
    return lines


def bar(fraction: float, width: int) -> str:
    """A horizontal bar of `width` columns for a fraction, in steps of an eighth of a column."""
    eighths = round(min(max(fraction, 0.0), 1.0) * width * 8)
    partial = " ▏▎▍▌▋▊▉"[eighths % 8].strip()
    return ("█" * (eighths // 8) + partial).ljust(width, "░")


def to_text(lines: Lines, page: Page, *, colour: bool = False) -> str:
    """The lines as one string. Its only control characters are line breaks, and the sequences that colour it.

    What a line quotes was cleaned where it was laid out; if that was forgotten, it cannot do more harm than look odd.
    """
    lines = [_printable_line(line) if _CONTROL_CHARACTER.search(line.plain) else line for line in lines]
    text = _to_ansi(lines) if colour else "".join(f"{line.plain.rstrip()}\n" for line in lines)
    return text.translate(_TO_ASCII) if page.charset == "ascii" else text


def _printable_line(line: Text) -> Text:
    return Text("").append_tokens((printable(part.text), part.style) for part in line.render(_CONSOLE))


def _to_ansi(lines: Lines) -> str:
    with _CONSOLE.capture() as capture:
        for line in lines:
            stripped = line.copy()
            stripped.rstrip()
            _CONSOLE.print(stripped, soft_wrap=True, highlight=False, markup=False, emoji=False)
    return capture.get()


# A program may put None, or an object with no more than `write` and `flush`, in the place of stdout and stderr.


def encoding_of(stream: TextIO | None) -> str | None:
    """The encoding that a stream names, if any."""
    return getattr(stream, "encoding", None)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream says that it is a terminal."""
    return stream is not None and hasattr(stream, "isatty") and stream.isatty()


def page_for(stream: TextIO | None) -> Page:
    """The page that a stream offers: its terminal's width, or 100 columns; block characters if it can write them."""
    try:
        "─⣿█✓●".encode(encoding_of(stream) or "ascii")
        charset: Literal["unicode", "ascii"] = "unicode"
    except (UnicodeEncodeError, LookupError):
        charset = "ascii"
    return Page(width=min(max(columns_of(stream), NARROWEST), WIDEST), charset=charset)


def columns_of(stream: TextIO | None) -> int:
    """The width of a stream's terminal in columns; 100 without a terminal."""
    try:
        if stream is None or not is_terminal(stream):
            return DEFAULT_WIDTH
        return os.get_terminal_size(stream.fileno()).columns or DEFAULT_WIDTH
    except (OSError, ValueError, AttributeError):  # a stream without a descriptor
        return DEFAULT_WIDTH


def has_colour(stream: TextIO) -> bool:
    """Whether a stream is a terminal that wants colour."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def show(lines: Lines, stream: TextIO, page: Page) -> None:
    """Write lines to a stream, in colour if it wants that; see `write_text`."""
    write_text(to_text(lines, page, colour=has_colour(stream)), stream)


def write_text(text: str, stream: TextIO | None) -> None:
    """Write text to a stream, if there is one; a character that it cannot write becomes a question mark."""
    if stream is None:
        return
    encoding = encoding_of(stream) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
