"""Show a run of `make demo` in the documentation: `python docs/show_demo.py runs/demo "3 minutes 30 seconds"`.

Writes docs/demo.svg, the picture in the README, and docs/guide/demo.md, the whole report.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from pretune.reporting.report import run_lines
from pretune.run_trace.build import build_run_trace
from pretune.runtime.manifest import read_manifest
from pretune.terminal import Page, to_text
from pretune.text.tokenizer.fast_encoder import LIBRARY

WIDTH = 100
DOCS = Path(__file__).parent
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


PAGE = """# The output of the demo

`make demo` on two cores of an AMD EPYC {chip} bf16 took {time}, without the installation. The text is synthetic:
see [the built-in corpus](builtin-world.md). {fast}`pretune show runs/demo` prints this report again from the logs:

```text
{report}
```
"""
FAST = """Here the extra `fast` was installed as well; without it, the tokenizer's
line ends in "encoded with tokenizers". """


def main(run: Path, time: str) -> None:
    """Draw the comparison, without the web font that rich would fetch, and write the report."""
    trace = build_run_trace(run)
    lines = run_lines(trace, Page(width=WIDTH))
    starts = [number for number, line in enumerate(lines) if line.plain.startswith(FIRST)]
    ends = [number for number, line in enumerate(lines) if line.plain.startswith(LAST) and number > starts[0]]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for line in lines[starts[0] : (ends or [len(lines)])[0]]:
        console.print(line, soft_wrap=True)
    svg = console.export_svg(title="pretune run", theme=THEME)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL).replace("Fira Code", "DejaVu Sans Mono")
    svg = svg.replace("<text ", '<text xml:space="preserve" ')  # or the first blanks of a line are lost
    (DOCS / "demo.svg").write_text(svg, encoding="utf-8")
    is_bf16 = read_manifest(run / "pretrain").summary["compute"]["precision"] == "bf16"
    report = to_text(lines, Page(width=WIDTH)).rstrip()
    fast = FAST if trace.tokenizer is not None and LIBRARY in trace.tokenizer.encoders else ""
    page = PAGE.format(time=time, chip="with" if is_bf16 else "without", fast=fast, report=report)
    (DOCS / "guide" / "demo.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
