"""The reference job: a million samples of at most 50 tokens and 10,000 labels, five stages, each by its command.

    python benchmarks/reference_job.py --pretraining-fraction 0.02 --trainer

The samples are sentences of the novels and of IMDB's unlabelled reviews, put together up to some 35 words; the labels
are IMDB's, of reviews cut to 50 tokens. Needs PRETUNE_DATA, the folder of real corpora. A fraction does so much of
the samples, the labels or the epoch of pre-training and scales the seconds up, and the figures say so; `--trainer`
measures Hugging Face's Trainer on the same rows for some seconds and scales that as well.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from contenders import Contender
from machine import commit, render_table, say, write_result
from workload import real_data

from pretune.runtime.events import read_events
from pretune.text.readers.tables import iter_records
from pretune.text.reading_report import Findings
from pretune.text.token_shards import TokenShard

SAMPLES, LABELS, ROW_TOKENS = 1_000_000, 10_000, 50
_WORDS_PER_SAMPLE = 35  # about 50 tokens of a vocabulary of 8,192
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_STAGES = ("collect", "preprocess", "pretrain", "prepare", "finetune")
_TRAINER_SECONDS, _TRAINER_ROWS = 15.0, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the samples; the seconds are scaled up")
    parser.add_argument("--label-fraction", type=float, help="of the labels, --fraction when not given")
    parser.add_argument("--pretraining-fraction", type=float, default=1.0, help="of the epoch over the samples")
    parser.add_argument("--trainer", action="store_true", help="measure Trainer as well, for some seconds")
    parser.add_argument("--size", default="mini")
    parser.add_argument("--name", default="reference-job")
    options = parser.parse_args()
    options.label_fraction = options.label_fraction or options.fraction
    data = real_data()
    if data is None:
        parser.error("PRETUNE_DATA does not name the folder of real corpora")
    begun_at = commit()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_texts(folder, data, round(SAMPLES * options.fraction), round(LABELS * options.label_fraction))
        stages = run_stages(folder, options)
        result = describe(folder, stages, options)
        if options.trainer:
            result["trainer"] = measure_trainer(folder, result, options)
    say(render(result))
    say(write_result(options.name, {**result, "begun_at": begun_at}).name)


# --- the texts ---------------------------------------------------------------------------------------------------


def write_texts(folder: Path, data: Path, samples: int, labels: int) -> None:
    """So many samples, one a line, by turns from reviews and novels as long as both last; and a table of labels."""
    reviews = (record.fields["text"] for record in _records(data / "imdb" / "unsup.jsonl.zst"))
    both = itertools.chain.from_iterable(itertools.zip_longest(cut(reviews), cut(iter_novels(data))))
    found = itertools.islice((sample for sample in both if sample), samples)
    written = 0
    with (folder / "samples.txt").open("w", encoding="utf-8") as file:
        for sample in found:
            file.write(sample + "\n")
            written += 1
    if written < samples:
        say(f"The corpora give {written:,} of {samples:,} samples.")
    rows = itertools.islice(_records(data / "imdb" / "train.jsonl.zst"), 0, None, max(1, 25_000 // labels))
    with (folder / "labels.jsonl").open("w", encoding="utf-8") as file:
        for record in itertools.islice(rows, labels):
            file.write(json.dumps(record.fields) + "\n")


def _records(path: Path) -> Iterator[Any]:
    return iter_records(path, findings=Findings())


def iter_novels(data: Path) -> Iterator[str]:
    """The paragraphs of all novels."""
    for path in sorted((data / "novels_en").rglob("*")):
        if path.name.endswith(".tar.zst"):
            with (
                path.open("rb") as file,
                zstandard.ZstdDecompressor().stream_reader(file) as stream,
                tarfile.open(fileobj=io.BufferedReader(stream), mode="r|") as archive,
            ):
                for member in archive:
                    if member.isfile() and (content := archive.extractfile(member)) is not None:
                        yield from re.split(r"\n\s*\n", content.read().decode("utf-8", "replace"))
        elif path.suffix == ".txt":
            yield from re.split(r"\n\s*\n", path.read_text(encoding="utf-8", errors="replace"))


def cut(texts: Iterator[str]) -> Iterator[str]:
    """Sentences put together while they have few enough words; longer ones are cut."""
    for text in texts:
        words: list[str] = []
        for sentence in _SENTENCE_END.split(" ".join(text.replace("<br />", " ").split())):
            more = sentence.split()
            if words and len(words) + len(more) > _WORDS_PER_SAMPLE:
                yield " ".join(words)
                words = []
            while len(more) > _WORDS_PER_SAMPLE:
                yield " ".join(more[:_WORDS_PER_SAMPLE])
                more = more[_WORDS_PER_SAMPLE:]
            words += more
        if words:
            yield " ".join(words)


# --- the stages --------------------------------------------------------------------------------------------------


def run_stages(folder: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Each stage as a command of its own, with its seconds and its peak memory."""
    at = {stage: str(folder / stage) for stage in _STAGES}
    words = {
        "collect": [str(folder / "samples.txt"), "--text-unit", "line"],
        "preprocess": [at["collect"], "--vocab-size", "8192", "--labels", str(folder / "labels.jsonl")],
        "pretrain": [at["preprocess"], "--size", options.size, "--long-fraction", "0"],
        "prepare": [str(folder / "labels.jsonl"), "--base", at["pretrain"], "--max-seq-len", str(ROW_TOKENS)],
        "finetune": [at["pretrain"], at["prepare"], *"--epochs 2 --seeds 1 --learning-rates 1e-3".split()],
    }
    found = []
    for stage in _STAGES:
        if stage == "pretrain":
            tokens = TokenShard(folder / "preprocess", "train").num_tokens
            words[stage] += ["--tokens", str(round(tokens * options.pretraining_fraction))]
        started = time.monotonic()
        command = [sys.executable, "-m", "pretune", "--quiet", stage, *words[stage], "--out", at[stage]]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"{stage} ended with status {status}")
        seconds = time.monotonic() - started
        found.append({"stage": stage, "seconds": seconds, "peak_memory_bytes": usage.ru_maxrss * 1024})
        say(f"  {stage}: {seconds:.0f} s")
    return found


def describe(folder: Path, stages: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    """What was done, what the whole job would take, and every stage's share of that."""
    train = TokenShard(folder / "preprocess", "train")
    events = read_events(folder / "pretrain")
    rate = next(event["tokens_per_second"] for event in events if event["event"] == "estimate")
    for stage in stages:
        is_task = stage["stage"] in ("prepare", "finetune")
        share, fixed = options.label_fraction if is_task else options.fraction, 0.0
        if stage["stage"] == "pretrain":  # initial vectors, calibration, evaluations: as many whatever the fraction
            fixed = max(0.0, stage["seconds"] - train.num_tokens * options.pretraining_fraction / rate)
            share *= options.pretraining_fraction
        stage["scaled_seconds"] = fixed + (stage["seconds"] - fixed) / share
    total = sum(stage["scaled_seconds"] for stage in stages)
    for stage in stages:
        stage["share"] = stage["scaled_seconds"] / total
    evaluations = [event for event in events if event["event"] == "evaluation"]
    tests = [event for event in read_events(folder / "finetune") if event["event"] == "test"]
    return {
        "fraction": options.fraction,
        "label_fraction": options.label_fraction,
        "pretraining_fraction": options.pretraining_fraction,
        "is_scaled": min(options.fraction, options.label_fraction, options.pretraining_fraction) < 1,
        "size": options.size,
        "samples": len(train),
        "real_tokens": train.num_tokens,
        "pretraining_tokens_per_second": rate,
        "share_of_samples_above_50_tokens": float((train.lengths > ROW_TOKENS).mean()),
        "stages": stages,
        "scaled_minutes": total / 60,
        "last_evaluation": {key: evaluations[-1][key] for key in ("loss", "accuracy", "tokens")},
        "test_accuracy": tests[-1]["accuracy"] if tests else None,
    }


# --- Trainer, on a part ------------------------------------------------------------------------------------------


def measure_trainer(folder: Path, result: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Pre-training steps of Trainer as its example sets it up, on the same tokens, scaled to one epoch of all."""
    spec = {"task": "pretrain", "folder": str(folder / "preprocess"), "size": options.size, "row_tokens": _TRAINER_ROWS}
    with Contender("trainer-default", "peers.py", spec) as trainer:
        turn = trainer.turn(_TRAINER_SECONDS)
    rate = turn["tokens"] / turn["seconds"]
    return {
        "tokens_per_second": rate,
        "measured_seconds": turn["seconds"],
        "scaled_pretraining_minutes": result["real_tokens"] / options.fraction / rate / 60,
    }


def render(result: dict[str, Any]) -> str:
    """A row a stage; what was scaled is said to be."""
    rows = [
        [
            stage["stage"],
            f"{stage['seconds']:,.0f} s",
            f"{stage['scaled_seconds'] / 60:,.1f} min",
            f"{stage['share']:.1%}",
            f"{stage['peak_memory_bytes'] / 1e9:.2f} GB",
        ]
        for stage in result["stages"]
    ]
    part = (
        f"{result['fraction']:.2%} of the samples, {result['pretraining_fraction']:.2%} of the epoch over them, "
        f"{result['label_fraction']:.2%} of the labels"
    )
    lines = [f"The reference job, {part}: {result['samples']:,} samples, {result['real_tokens']:,} real tokens"]
    lines.append(render_table(["stage", "measured", "whole job", "share", "peak memory"], rows))
    scaled = ", scaled from the fraction" if result["is_scaled"] else ""
    lines.append(f"Whole job: {result['scaled_minutes']:,.0f} minutes{scaled} (target: 30)")
    if "trainer" in result:
        minutes = result["trainer"]["scaled_pretraining_minutes"]
        lines.append(f"Trainer's pre-training alone: {minutes:,.0f} minutes, scaled from some seconds")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
