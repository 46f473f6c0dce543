"""Draw the end of a run's report as docs/demo.svg, the picture in the README: `python docs/picture.py RUN`."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from pretune.reporting.report import run_lines
from pretune.reporting.terminal import Page

WIDTH = 100
TARGET = Path(__file__).with_name("demo.svg")
FIRST, LAST = (
    "DID PRE-TRAINING HELP",
    "PREDICTION",
)  # the section that is drawn begins with one and ends before the other
THEME = TerminalTheme(
    (250, 250, 247),
    (38, 38, 38),
    [
        (38, 38, 38),
        (176, 48, 48),
        (40, 120, 72),
        (150, 104, 16),
        (44, 92, 160),
        (132, 64, 132),
        (24, 116, 124),
        (90, 90, 90),
    ],
)


def main(run: Path) -> None:
    """Render the section, without the web font that rich would fetch."""
    lines = run_lines(run, Page(width=WIDTH))
    starts = [number for number, line in enumerate(lines) if line.plain.startswith(FIRST)]
    ends = [number for number, line in enumerate(lines) if line.plain.startswith(LAST) and number > starts[0]]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in lines[starts[0] : (ends or [len(lines)])[0]]:
        console.print(Text.assemble(line), soft_wrap=True)
    svg = console.export_svg(title="pretune run", theme=THEME)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    svg = svg.replace("<text ", '<text xml:space="preserve" ')  # or the first blanks of a line are lost
    TARGET.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
