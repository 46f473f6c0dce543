"""What a model is worth after some minutes on one GPU, within nine minutes: `python benchmarks/gpu_quality.py`.

PRETUNE_DATA names the folder of data sets. For each of `--minutes`, a model is pre-trained on film reviews for so long
and fine-tuned on IMDB's reviews and on SST-2's phrases: one seed, no linear models beside it, and the test rows of the
results table. Then ten million words of novels are read ten times, and BLiMP is scored. Each part is a command of
pretune. What is finished is skipped, so the same command continues, and no part begins after seven and a half minutes;
what was left out is said. `--smoke` does all of it with little text and few rows, also on a processor: it shows that
the script works, and nothing else.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_sets import (
    LabelFiles,
    base_named,
    data_set_named,
    find_data,
    make_corpus,
    make_label_files,
    make_protected,
    read_books,
    read_rows,
    write_rows,
)
from machine import render_table, say, write_result
from parts import PartFailedError, Record, describe_records, run_part

from pretune.runtime.manifest import read_manifest

_BUDGET_SECONDS = 450.0  # no part begins after this
_TASKS = ("imdb", "sst2")


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of everything: the usual amounts, or those of `--smoke`."""

    minutes: tuple[float, ...] = (0.5, 1.0, 2.0)
    texts: float = 1.0  # of the reviews without labels
    labels: int | None = None  # rows of a labelled file, at most
    words: int = 10_000_000  # of novels
    pairs: int | None = None  # of each paradigm of BLiMP
    pretrain: tuple[str, ...] = ()  # instead of the minutes
    novels: tuple[str, ...] = ("--epochs", "10", "--size", "medium")
    finetune: tuple[str, ...] = ("--epochs", "3", "--learning-rates", "5e-4")


SMOKE = Scale(
    minutes=(0.1,),
    texts=0.004,
    labels=600,
    words=400_000,
    pairs=1,
    pretrain=("--tokens", "100000", "--size", "tiny"),
    novels=("--tokens", "100000", "--size", "tiny"),
    finetune=("--updates", "2", "--learning-rates", "5e-4"),
)


class NoTimeLeft(Exception):
    """The next part would begin too late."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", help="budgets of pre-training (0.5 1 2)")
    parser.add_argument("--work", type=Path, default=Path("runs/gpu-quality"), help="where files and models are made")
    parser.add_argument("--smoke", action="store_true", help="show that the script works")
    options = parser.parse_args()
    data = find_data()
    if data is None:
        raise SystemExit("Set PRETUNE_DATA to the folder of data sets.")
    scale = SMOKE if options.smoke else Scale()
    parts = Parts(data, options.work / ("smoke" if options.smoke else "whole"), scale)
    rows, left_out = [], []
    try:
        for minutes in options.minutes or scale.minutes:
            rows.append(parts.after(minutes))
        pairs = parts.minimal_pairs()
    except (NoTimeLeft, PartFailedError) as reason:
        pairs = None
        left_out.append(str(reason))
    say(render(rows, pairs))
    for sentence in left_out:
        say(f"Left out: {sentence}")
    if not options.smoke:
        made_by = describe_records(parts.records) if parts.records else {}
        fields = {**made_by, "rows": rows, "minimal_pairs": pairs, "left_out": left_out}
        say(write_result("gpu-quality", fields).name)


class Parts:
    """The commands, in folders of `work`."""

    def __init__(self, data: Path, work: Path, scale: Scale) -> None:
        self.data, self.work, self.scale = data, work, scale
        self.start = time.monotonic()
        self.records: list[Record] = []

    def after(self, minutes: float) -> dict[str, Any]:
        """Pre-train on reviews for so long, and fine-tune on each task."""
        reviews = base_named("reviews")
        texts = make_corpus(reviews, self.data, self.work / "texts", self.scale.texts)
        protected = make_protected(reviews, self.data, self.work / "protected")
        preprocessed = self._preprocess("reviews", texts, ["--protect", str(protected), *reviews.options])
        folder = self.work / f"minutes-{minutes:g}"
        words = ["pretrain", str(preprocessed), *(self.scale.pretrain or ("--minutes", str(minutes)))]
        summary = read_manifest(self._run(words, folder / "pretrain")).summary
        scores = {name: self._finetune(name, folder) for name in _TASKS}
        known = {name: summary[name] for name in ("size", "tokens", "loss", "accuracy", "compute")}
        return {"minutes": minutes, **known, "scores": scores}

    def minimal_pairs(self) -> dict[str, Any]:
        """Read novels, and score pairs of an acceptable and an unacceptable sentence."""
        path = self.work / "texts" / "novels.jsonl"
        books = (content.decode() for _, content in read_books(self.data / "novels_en/novels.tar.zst", -1))
        write_rows(path, ({"text": text} for text in first_words(books, self.scale.words)))
        preprocessed = self._preprocess("novels", [path], [])
        model = self._run(["pretrain", str(preprocessed), *self.scale.novels], self.work / "novels" / "pretrain")
        words = ["evaluate", str(model), "--minimal-pairs", str(self.data / "blimp/blimp.jsonl.zst"), "--json"]
        words += [] if self.scale.pairs is None else ["--limit", str(self.scale.pairs)]
        self._check_time("BLiMP")
        say(f"pretune {' '.join(words)}")
        done = subprocess.run([sys.executable, "-m", "pretune", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise PartFailedError(done.stderr)
        found = json.loads(done.stdout)
        summary = read_manifest(model).summary
        return {
            "words": self.scale.words,
            "tokens": summary["tokens"],
            "size": summary["size"],
            **{name: found[name] for name in ("n", "mean_of_paradigms", "mean_of_paradigms_interval", "ties")},
        }

    def _preprocess(self, name: str, texts: Sequence[Path], more: list[str]) -> Path:
        collected = self._run(["collect", *map(str, texts)], self.work / name / "collect")
        return self._run(["preprocess", str(collected), *more], self.work / name / "preprocess")

    def _finetune(self, task: str, folder: Path) -> dict[str, Any]:
        data_set = data_set_named(task)
        [files] = make_label_files(data_set, self.data, self.work / "files" / task)
        files = self._shorten(files, self.work / "files" / f"{task}-short")
        base, target = folder / "pretrain", folder / task
        labels = [str(files.train), "--test-labels", str(files.test), *data_set.options]
        prepared = self._run(["prepare", *labels, "--base", str(base)], target / "prepare")
        words = ["finetune", str(base), str(prepared), "--seeds", "1", "--no-stack", *self.scale.finetune]
        return delivered_figures(read_manifest(self._run(words, target / "finetune")).summary["tests"])

    def _shorten(self, files: LabelFiles, folder: Path) -> LabelFiles:
        if self.scale.labels is None:
            return files
        short = LabelFiles(train=folder / "train.jsonl", test=folder / "test.jsonl")
        for source, target in ((files.train, short.train), (files.test, short.test)):
            write_rows(target, read_rows(source)[: self.scale.labels])
        return short

    def _run(self, words: list[str], folder: Path) -> Path:
        self._check_time(" ".join(folder.relative_to(self.work).parts))
        self.records.append(run_part(words, folder))
        return folder

    def _check_time(self, part: str) -> None:
        spent = time.monotonic() - self.start
        if spent > _BUDGET_SECONDS:
            raise NoTimeLeft(f"{part} would have begun after {spent:.0f} s; parts begin up to {_BUDGET_SECONDS:.0f} s.")


def delivered_figures(tests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figures of the model that `finetune` delivers: it is tested last, after the other seeds if there are any."""
    return {name: tests[-1][name] for name in ("n", "accuracy", "accuracy_interval")}


def first_words(texts: Iterator[str], count: int) -> Iterator[str]:
    """The beginning of the texts, one after another, that has so many words."""
    left = count
    for text in texts:
        ends = [match.end() for match, _ in zip(re.finditer(r"\S+", text), range(left), strict=False)]
        if ends:
            yield text[: ends[-1]]
        left -= len(ends)
        if left <= 0:
            return


def render(rows: Sequence[dict[str, Any]], pairs: dict[str, Any] | None) -> str:
    """A row for each budget, and a line about minimal pairs."""
    lines = [
        [f"{row['minutes']:g}", row["size"], f"{row['tokens']:,}", f"{row['loss']:.3f}"]
        + [f"{row['scores'][task]['accuracy']:.1%}" for task in _TASKS]
        for row in rows
    ]
    table = render_table(["minutes", "size", "tokens", "masked loss", *_TASKS], lines)
    if pairs is None:
        return table
    low, high = pairs["mean_of_paradigms_interval"]
    return (
        f"{table}BLiMP after {pairs['words']:,} words of novels ({pairs['tokens']:,} tokens read, {pairs['size']}): "
        f"{pairs['mean_of_paradigms']:.1%} ({low:.1%} to {high:.1%}) of {pairs['n']:,} pairs\n"
    )


if __name__ == "__main__":
    main()
