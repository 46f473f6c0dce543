"""What a figure was measured on, and where it is kept: chip, versions, commit, matrix rate, JSON, tables."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pretune.version import VERSION

RESULTS = Path(__file__).parent / "results"
_SOURCES = Path(__file__).parent.parent
_LIBRARIES = ("torch", "transformers", "accelerate", "tokenizers", "numpy")
_PRODUCT_SHAPES = ((4096, 256, 1376), (2048, 1024, 1024), (1024, 1024, 1024))


def describe_machine() -> dict[str, Any]:
    """Chip, cores, memory, system and the versions of what computes."""
    found: dict[str, Any] = {
        "chip": _chip(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
    }
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def write_result(name: str, fields: dict[str, Any]) -> Path:
    """`benchmarks/results/<name>.json`: the figures with commit, command, machine and time."""
    result = {
        "name": name,
        "version": VERSION,
        "commit": commit(),
        "command": " ".join(["python", *(_relative(word) for word in sys.argv)]),
        "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
        "load_average": os.getloadavg()[0],
        "machine": describe_machine(),
        **fields,
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def commit() -> str:
    """The commit of these sources, marked where the working copy differs from it."""
    words = ["git", "-C", str(_SOURCES), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def matrix_gflops(dtype_name: str = "float32", seconds: float = 1.0) -> float:
    """The best rate of matrix products in this process with all its threads, over shapes like those of training."""
    import torch

    dtype = getattr(torch, dtype_name)
    best = 0.0
    for rows, inner, columns in _PRODUCT_SHAPES:
        a, b = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
        end = time.perf_counter() + seconds / len(_PRODUCT_SHAPES)
        while time.perf_counter() < end:
            start = time.perf_counter()
            a @ b
            best = max(best, 2 * rows * inner * columns / (time.perf_counter() - start) / 1e9)
    return best


def peak_memory_bytes() -> int:
    """The most resident memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def cpu_seconds() -> float:
    """CPU seconds of this process with all its threads, and of its children that have ended; a child that goes on,
    such as a worker that compiles, is not counted."""
    spent = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in spent)


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the middle two."""
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text: the first to the left, the others to the right."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]]) + "\n"


def say(text: str) -> None:
    """A line on the terminal, at once."""
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()


def _chip() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _relative(word: str) -> str:
    """No path of the machine goes into a record: of a path, also in NAME=PATH, the last two parts."""
    name, sign, path = word.rpartition("=")
    return f"{name}{sign}{'/'.join(Path(path).parts[-2:])}" if path.startswith("/") else word
