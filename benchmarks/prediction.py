"""Prediction of the texts of a file: `pretune predict` as a user calls it against transformers' pipeline."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import median, render_table, say
from workload import model_config, real_data, task_texts

from pretune.model.folder import save_model_folder
from pretune.model.transformer import SequenceClassifier, initialize
from pretune.text.readers.tables import iter_records
from pretune.text.reading_report import Findings
from pretune.text.tokenizer.tokenizer import load_tokenizer

_BATCH_SIZES = (1, 8, 32, 128)
_TUNING_TEXTS = 400
_FOLDER = Path(__file__).parent


def measure(
    work: Path, base: Path, *, texts: int, repeats: int, has_bf16: bool, with_reviews: bool, size: str = "5M"
) -> dict[str, Any]:
    """Whole processes, start included, by turns. The pipeline has the batch size and the precision (bf16 only where
    the chip has it) that are best together on other texts; trying them is not counted."""
    model = work / f"classifier-{size}"
    if not model.is_dir():
        tokenizer = load_tokenizer(base)
        network = SequenceClassifier(model_config(size, tokenizer), 2)
        initialize(network, 0)
        save_model_folder(model, network, base, ("negative", "positive"))
    kinds = {"phrases": task_texts(texts + _TUNING_TEXTS)}
    if with_reviews and (data := real_data()) is not None:
        records = iter_records(data / "imdb" / "unsup.jsonl.zst", findings=Findings())
        wanted = itertools.islice(records, texts // 10 + _TUNING_TEXTS)
        kinds["reviews"] = [" ".join(r.fields["text"].split()) for r in wanted]
    return {
        "size": size,
        "cold_start_seconds": _cold_start(model, repeats),
        "kinds": [_measure_kind(model, name, found, repeats, has_bf16) for name, found in kinds.items()],
    }


def _cold_start(model: Path, repeats: int) -> dict[str, float]:
    """Seconds from the command to the label of one text; the first may read libraries from disk."""
    command = [sys.executable, "-m", "pretune", "predict", str(model), "A fine text."]
    seconds = [_seconds(command) for _ in range(repeats)]
    return {"first": seconds[0], "median": median(seconds)}


def _measure_kind(model: Path, name: str, texts: list[str], repeats: int, has_bf16: bool) -> dict[str, Any]:
    """Tune the pipeline on the last of the texts, and predict the others."""
    texts, held_back = texts[:-_TUNING_TEXTS], texts[-_TUNING_TEXTS:]
    with tempfile.TemporaryDirectory() as folder:
        file = _write(Path(folder) / "texts.txt", texts)
        tried = _tune(model, _write(Path(folder) / "tuning.txt", held_back), has_bf16)
        best = min(tried, key=lambda each: each["seconds"])
        chosen = {"bf16": best["bf16"], "batch_sizes": [best["batch_size"]]}
        ours, theirs = [], []
        for repeat in range(repeats):
            output = Path(folder) / f"labels-{repeat}.txt"
            words = [sys.executable, "-m", "pretune", "predict", str(model)]
            ours.append(_seconds([*words, "--input", str(file), "--output", str(output)]))
            started = time.monotonic()
            [inside] = _pipeline({"model": str(model), "file": str(file), **chosen})["seconds"].values()
            theirs.append({"seconds": time.monotonic() - started, "predicting_seconds": inside})
            say(f"  {name}, round {repeat + 1}: ours {ours[-1]:.1f} s, pipeline {theirs[-1]['seconds']:.1f} s")
    pipeline = median([each["seconds"] for each in theirs])
    return {
        "name": name,
        "texts": len(texts),
        "ours_seconds": median(ours),
        "ours_seconds_by_turn": ours,
        "pipeline_seconds": pipeline,
        "pipeline_by_turn": theirs,
        "pipeline_batch_size": best["batch_size"],
        "pipeline_bf16": best["bf16"],
        "pipeline_tried": tried,
        "ratio": median([b["seconds"] / a for a, b in zip(ours, theirs, strict=True)]),
    }


def _write(file: Path, texts: list[str]) -> Path:
    file.write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return file


def _tune(model: Path, file: Path, has_bf16: bool) -> list[dict[str, Any]]:
    """The seconds of the pipeline with each batch size in each precision."""
    tried = []
    for bf16 in (False, True) if has_bf16 else (False,):
        spec = {"model": str(model), "file": str(file), "batch_sizes": _BATCH_SIZES, "bf16": bf16}
        for size, seconds in _pipeline(spec)["seconds"].items():
            tried.append({"bf16": bf16, "batch_size": int(size), "seconds": seconds})
    return tried


def _seconds(words: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(words, check=True, capture_output=True)
    return time.monotonic() - started


def _pipeline(spec: dict[str, Any]) -> Any:
    words = [sys.executable, str(_FOLDER / "pipeline_worker.py"), json.dumps(spec)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def render(result: dict[str, Any]) -> str:
    """Seconds for whole processes, and the cold start."""
    rows = [
        [
            f"{kind['texts']:,} {kind['name']}",
            f"{kind['ours_seconds']:.1f} s",
            f"{kind['pipeline_seconds']:.1f} s",
            f"{kind['pipeline_batch_size']}, {'bf16' if kind['pipeline_bf16'] else 'fp32'}",
            f"{kind['ratio']:.2f}x",
        ]
        for kind in result["kinds"]
    ]
    start = result["cold_start_seconds"]
    return (
        f"Prediction, {result['size']} parameters, whole processes\n"
        + render_table(["texts", "ours", "pipeline", "its best setting", "ratio"], rows)
        + f"From command to label of one text: {start['median']:.1f} s (the first time {start['first']:.1f} s)\n"
    )
