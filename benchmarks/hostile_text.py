"""Text that is large in an odd way, through `collect` and `export`: seconds and peak memory, as JSON in results/.

python benchmarks/hostile_text.py [--name hostile-text] [--megabytes 500] [--lines 1000000] [--only export]

One line of so many megabytes, as text, as one string in jsonl and as one csv cell; so many empty lines, alone and with
a text in the middle. Then `export` of a preprocess folder and of one with four times as much. Memory is RssAnon of the
whole process tree: what it holds for itself.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import write_result  # beside this file
from text_pipeline import memory_of, tree

SENTENCE = b"The sun rises in the east, and the line does not end here. "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="hostile-text")
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--copies", type=int, nargs="*", default=[1, 4], help="of 100,000 documents to export")
    parser.add_argument("--only", choices=("collect", "export"), help="one half of it")
    given = parser.parse_args()
    result: dict[str, Any] = {"settings": vars(given), "collect": {}, "export": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, write in inputs(given).items() if given.only != "export" else ():
            path = folder / name
            write(path)
            result["collect"][name] = collect(path, folder / f"out-{name}")
            path.unlink()
            sys.stdout.write(f"{name}: {json.dumps(result['collect'][name])}\n")
        for copies in given.copies if given.only != "collect" else ():
            result["export"][f"{copies} times"] = export(folder / f"export-{copies}", copies)
    write_result(given.name, result)
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def inputs(given: argparse.Namespace) -> dict[str, Callable[[Path], None]]:
    """What each file is called, and what writes it."""
    repeats = given.megabytes * 1_000_000 // len(SENTENCE)

    def line(before: bytes, after: bytes) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            with path.open("wb") as file:
                file.write(before)
                for _ in range(0, repeats, 10_000):
                    file.write(SENTENCE * 10_000)
                file.write(after)

        return write

    empty, row = b"\n" * given.lines, b'{"text": "' + SENTENCE + b'"}\n'
    return {
        "line.txt": line(b"", b"\n"),
        "string.jsonl": line(b'{"text": "a"}\n{"text": "', b'"}\n'),
        "cell.csv": line(b'text,n\nfirst,1\n"', b'",2\n'),
        "empty.txt": lambda path: path.write_bytes(empty) and None,
        "mostly-empty.txt": lambda path: path.write_bytes(empty + SENTENCE + empty) and None,
        "mostly-empty.jsonl": lambda path: path.write_bytes(empty + row + empty) and None,
    }


def collect(path: Path, out: Path) -> dict[str, Any]:
    """What became of one file, and what it took."""
    told = watch("collect", str(path), "--out", str(out), "--quiet")
    if (out / "manifest.json").is_file():
        told |= json.loads((out / "manifest.json").read_text(encoding="utf-8"))["summary"]
        told.pop("example", None)
    return {"bytes": path.stat().st_size, **told}


def export(folder: Path, copies: int) -> dict[str, Any]:
    """Every export of so many times 100,000 documents."""
    folder.mkdir()
    text = folder / "text.jsonl"
    with text.open("w", encoding="utf-8") as file:
        for number in range(copies * 100_000):
            words = " ".join(f"w{number * place % 9973}" for place in range(3, 23))
            file.write(json.dumps({"text": f"{words} {number}"}) + "\n")
    for stage, words in (("collect", [str(text)]), ("preprocess", [str(folder / "collect"), "--no-near-duplicates"])):
        watch(stage, *words, "--out", str(folder / stage), "--quiet")
    told = {}
    views = [["parquet", "--view", view] for view in ("rows", "packed")]
    for words in (["parquet"], *views, ["datatrove"], ["megatron"]):
        out = folder / "-".join(["export", words[0], words[-1]])
        command = ["export", str(folder / "preprocess"), "--to", *words, "--out", str(out), "--quiet"]
        told[" ".join(words)] = watch(*command)
    return {"documents": copies * 100_000, **told}


def watch(*words: str) -> dict[str, Any]:
    """Run a command: its exit code, its sentence, its seconds, and the largest sum of its own memory."""
    start, own = time.monotonic(), 0
    command = [sys.executable, "-m", "pretune", *words]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while process.poll() is None:
        own = max(own, sum(memory_of(each)[1] for each in tree(process.pid)))
        time.sleep(0.05)
    assert process.stdout is not None
    said = process.stdout.read().strip().splitlines()
    told = {"exit_code": process.returncode, "seconds": round(time.monotonic() - start, 1), "peak_own_bytes": own}
    return {**told, "said": said[-1].replace(words[1], Path(words[1]).name)} if said and process.returncode else told


if __name__ == "__main__":
    main()
