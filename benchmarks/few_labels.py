"""Which method suits how many labels? Head, head from a linear probe, and cloze, over draws of a few labelled rows.

    python benchmarks/few_labels.py BASE --data DATA --out LINES [--tasks sst2 ag_news] [--labels 8 32 128 1000]
    python benchmarks/few_labels.py --summarize --chip CHIP --commit ID --out benchmarks/results/few-labels.json < LINES

BASE is a pre-trained checkpoint, DATA the folder of the public data. Each arm appends one JSON line for each draw, so
the script resumes where it was stopped; results from another base or other test rows do not count as done. Within a
draw, all arms see the same rows, and with the same seed they see them in the same order.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import zstandard
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from pretune.data.padding import group_by_length, pad_rows
from pretune.inference.load import load_filler
from pretune.model.base_folder import read_base_folder
from pretune.model.transformer import (
    ClozeClassifier,
    LanguageModel,
    SequenceClassifier,
    initialize,
    mean_over_text,
)
from pretune.runtime.randomness import generator
from pretune.text.clean.normalize import clean_text
from pretune.text.cloze.label_words import check_label_words, read_label_words
from pretune.text.cloze.pattern import PatternEncoder, read_pattern
from pretune.text.tokenizer.tokenizer import cut_middle
from pretune.training.optimizer import Optimizer, OptimizerConfig

MAX_SEQ_LEN = 64
BATCH_ROWS = 32
MASK_AUGMENT = 0.1
UNTRAINED = ("tfidf", "probe", "zero", "zero:raw")
CONDITIONS = ("base", "test_rows")  # of older lines, which do not have them, they are not known


@dataclass
class Task:
    """Rows to draw from, rows to test on, and what cloze asks."""

    name: str
    names: list[str]
    train: list[tuple[str, int]]
    test: list[tuple[str, int]]
    patterns: list[str]
    words: str


def read_sst2(data: Path) -> Task:
    raw = zstandard.ZstdDecompressor().stream_reader((data / "sst2" / "train.tsv.zst").open("rb"))
    train = list(_read_tsv(io.TextIOWrapper(raw, encoding="utf-8")))
    test = list(_read_tsv((data / "sst2" / "dev.tsv").open(encoding="utf-8")))
    return Task(
        "sst2",
        ["negative", "positive"],
        train,
        test,
        ["It was [MASK]. {text}", "{text} It was [MASK].", "This movie is [MASK]. {text}"],
        "negative=terrible/bad/awful,positive=great/good/excellent",
    )


def _read_tsv(lines: Any) -> Iterator[tuple[str, int]]:
    for line in lines:
        label, _, text = line.rstrip("\r\n").partition("\t")
        if label in ("0", "1"):
            yield clean_text(text), int(label)


def read_ag_news(data: Path) -> Task:
    raw = zstandard.ZstdDecompressor().stream_reader((data / "topic" / "ag_news_train.jsonl.zst").open("rb"))
    rows = [json.loads(line) for line in io.TextIOWrapper(raw, encoding="utf-8")]
    names = sorted({str(row["label"]) for row in rows})
    pairs = [(clean_text(row["text"]), names.index(str(row["label"]))) for row in rows]
    order = generator(0, "ag-news").permutation(len(pairs))
    test, train = [pairs[i] for i in order[:1000]], [pairs[i] for i in order[1000:]]
    words = {
        "World": "world/politics", "Sports": "sports/football", "Business": "business/money",
        "Sci/Tech": "technology/computer",
    }  # fmt: skip
    return Task(
        "ag_news",
        names,
        train,
        test,
        ["[MASK] news: {text}", "This is about [MASK]. {text}", "{text} This is about [MASK]."],
        ",".join(f"{name}={words[name]}" for name in names),
    )


def draw_rows(task: Task, count: int, draw: int) -> list[tuple[str, int]]:
    """`count` rows, as many of each class as of the others."""
    order = generator(draw, "draw", task.name, count).permutation(len(task.train))
    wanted = [count // len(task.names)] * len(task.names)
    rows = []
    for place in order:
        text, label = task.train[int(place)]
        if wanted[label]:
            wanted[label] -= 1
            rows.append((text, label))
    return rows


# -- models and training -----------------------------------------------------------------------------------------------


class Bench:
    """A base and a task: encodes, trains, and tests."""

    def __init__(self, base: Path, task: Task, test_rows: int) -> None:
        task.test = task.test[:test_rows]
        filler = load_filler(base)
        self.base: LanguageModel = filler.model
        self.tokenizer, self.task = filler.tokenizer, task
        self.test_labels = np.array([label for _, label in task.test])

    def encode(self, rows: list[tuple[str, int]], pattern: str | None) -> list[list[int]]:
        texts = [text for text, _ in rows]
        if pattern is None:
            return [cut_middle(ids, MAX_SEQ_LEN) for ids in self.tokenizer.encode_batch(texts)]
        return PatternEncoder(self.tokenizer, read_pattern(pattern), MAX_SEQ_LEN).encode_batch(texts)

    def words(self) -> list[list[int]]:
        words = read_label_words(self.task.words.split(","), self.task.names)
        return [list(ids) for ids in check_label_words(words, self.tokenizer, "").ids]

    def cloze(self, num_words: int | None) -> ClozeClassifier:
        return ClozeClassifier.of_language_model(self.base, [ids[:num_words] for ids in self.words()])

    def calibrated(self) -> ClozeClassifier:
        model = self.cloze(None)
        blank = self.encode([("", 0)], self.task.patterns[0])
        model.bias -= torch.from_numpy(self.test(model, blank)[0]).float()
        return model

    def head(self, probe: LogisticRegression | None) -> SequenceClassifier:
        model = SequenceClassifier(self.base.config, len(self.task.names))
        initialize(model, 0)
        model.transformer.load_state_dict(self.base.transformer.state_dict())
        if probe is not None:
            weight, bias = probe_weights(probe)
            with torch.no_grad():
                model.classifier.weight.copy_(torch.from_numpy(weight))
                model.classifier.bias.copy_(torch.from_numpy(bias))
        return model

    @torch.no_grad()
    def vectors(self, ids: list[list[int]]) -> np.ndarray:
        out = np.empty((len(ids), self.base.config.hidden_size), dtype=np.float32)
        for group in group_by_length([len(row) for row in ids], 4096):
            x, d = pad_rows([ids[i] for i in group], 0)
            out[group] = mean_over_text(self.base.transformer(x, d), d).numpy()
        return out

    @torch.no_grad()
    def test(self, model: Any, ids: list[list[int]]) -> np.ndarray:
        out = np.empty((len(ids), len(self.task.names)))
        for group in group_by_length([len(row) for row in ids], 4096):
            x, d = pad_rows([ids[i] for i in group], 0)
            out[group] = logits_of(model, x, d, None).numpy()
        return out


def probe_weights(probe: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
    weight, bias = probe.coef_.astype(np.float32), probe.intercept_.astype(np.float32)
    if len(weight) == 1:  # the difference of two classes
        weight, bias = np.concatenate([-weight / 2, weight / 2]), np.concatenate([-bias / 2, bias / 2])
    return weight, bias


def logits_of(model: Any, x: torch.Tensor, d: torch.Tensor, positions: torch.Tensor | None) -> torch.Tensor:
    if not isinstance(model, ClozeClassifier) or positions is None:
        return model(x, d)
    return model.classifier(model.transformer(x, d, positions=positions))


def train(
    model: Any, ids: list[list[int]], labels: np.ndarray, *, updates: int, rate: float, seed: int, decay: float = 0.05
) -> None:
    """AdamW, linear warm-up and decay, batches of 32 rows in a new order each epoch, a tenth of the tokens hidden."""
    mask_id, first_ordinary = model.config.mask_token_id, 4
    optimizer = Optimizer(model, OptimizerConfig(kind="adamw", matrix_rate=rate, other_rate=rate, weight_decay=decay))
    order: list[int] = []
    epoch = 0
    warmup = max(1, round(0.06 * updates))
    for step in range(1, updates + 1):
        if len(order) < min(BATCH_ROWS, len(ids)):
            order += generator(seed, "order", epoch).permutation(len(ids)).tolist()
            epoch += 1
        rows, order = order[:BATCH_ROWS], order[BATCH_ROWS:]
        x, d = pad_rows([ids[i] for i in rows], 0)
        positions = (x == mask_id).flatten().nonzero()[:, 0] if isinstance(model, ClozeClassifier) else None
        drawn = torch.from_numpy(generator(seed, "hide", step).random(x.shape))
        x = torch.where((drawn < MASK_AUGMENT) & (x >= first_ordinary), mask_id, x)
        loss = F.cross_entropy(logits_of(model, x, d, positions), torch.from_numpy(labels[rows]))
        model.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(min(step / warmup, (updates - step + 1) / max(1, updates - warmup)))


# -- arms --------------------------------------------------------------------------------------------------------------


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    shifted = logits - logits.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    return {
        "accuracy": float((logits.argmax(1) == labels).mean()),
        "loss": float(-log_p[np.arange(len(labels)), labels].mean()),
    }


def run_seeds(
    bench: Bench, make: Callable[[], Any], ids: Any, labels: Any, test_ids: Any, settings: Any
) -> dict[str, Any]:
    """Train a model for each seed; the scores of each, of the mean of their logits, and of that of their weights."""
    logits, total = [], None
    seeds = settings["seeds"]
    for seed in range(seeds):
        model = make()
        train(model, ids, labels, updates=settings["updates"], rate=settings["rate"], seed=seed)
        logits.append(bench.test(model, test_ids))
        state = {name: tensor / seeds for name, tensor in model.state_dict().items()}
        total = state if total is None else {name: total[name] + tensor for name, tensor in state.items()}
    found = {"singles": [scores(each, bench.test_labels) for each in logits]}
    if seeds > 1:
        model = make()
        model.load_state_dict(total)
        found |= {
            "logits": scores(np.mean(logits, axis=0), bench.test_labels),
            "soup": scores(bench.test(model, test_ids), bench.test_labels),
        }
    return found


def run_draw(bench: Bench, count: int, draw: int, arms: list[str], settings: Any) -> Iterator[dict[str, Any]]:
    """One line for each arm."""
    task = bench.task
    rows = draw_rows(task, count, draw)
    labels = np.array([label for _, label in rows])
    plain = bench.encode(rows, None) if rows else []
    test_plain = bench.encode(task.test, None)
    probe = None
    for arm in arms:
        start = time.monotonic()
        kind, _, option = arm.partition(":")
        if kind == "tfidf":
            vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
            model = LogisticRegression(C=10, max_iter=2000).fit(vectorizer.fit_transform([t for t, _ in rows]), labels)
            found = (
                scores(model.decision_function(vectorizer.transform([t for t, _ in task.test])), bench.test_labels)
                if len(task.names) > 2
                else scores(_two(model, vectorizer, task.test), bench.test_labels)
            )
            found = {"singles": [found]}
        elif kind == "probe":
            fitted = LogisticRegression(C=float(option or 1), max_iter=2000).fit(bench.vectors(plain), labels)
            weight, bias = probe_weights(fitted)
            found = {"singles": [scores(bench.vectors(test_plain) @ weight.T + bias, bench.test_labels)]}
        elif kind == "head":
            found = run_seeds(bench, lambda: bench.head(None), plain, labels, test_plain, settings)
        elif kind == "lpft":
            probe = LogisticRegression(C=float(option or 1), max_iter=2000).fit(bench.vectors(plain), labels)
            found = run_seeds(bench, lambda p=probe: bench.head(p), plain, labels, test_plain, settings)
        elif kind == "zero":  # without labels; calibrated by a blank text unless the arm is zero:raw
            model = bench.cloze(None) if option == "raw" else bench.calibrated()
            logits = bench.test(model, bench.encode(task.test, task.patterns[0]))
            found = {"singles": [scores(logits, bench.test_labels)]}
        elif kind == "calibrated":  # cloze whose answers to a blank text are subtracted throughout
            pattern = task.patterns[0]
            ids, test_ids = bench.encode(rows, pattern), bench.encode(task.test, pattern)
            found = run_seeds(bench, bench.calibrated, ids, labels, test_ids, settings)
        elif kind == "cloze":  # cloze:PATTERN NUMBER/WORDS
            number, _, words = option.partition("/")
            pattern = task.patterns[int(number or 0)]
            ids, test_ids = bench.encode(rows, pattern), bench.encode(task.test, pattern)
            make = lambda w=words: bench.cloze(int(w) if w else None)  # noqa: E731
            found = run_seeds(bench, make, ids, labels, test_ids, settings)
        else:
            raise SystemExit(f"no arm {arm}")
        yield {"arm": arm, **found, "seconds": round(time.monotonic() - start, 1)}


def _two(model: Any, vectorizer: Any, test: Any) -> np.ndarray:
    margin = model.decision_function(vectorizer.transform([t for t, _ in test]))
    return np.stack([-margin / 2, margin / 2], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", nargs="?", type=Path)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PRETUNE_DATA", "data")))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", default=["sst2", "ag_news"])
    parser.add_argument("--labels", nargs="+", type=int, default=[32, 128, 1000])
    parser.add_argument("--draws", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", default=["tfidf", "probe", "head", "lpft", "cloze"])
    parser.add_argument("--updates", type=int, help="default: 40, or 4 times the root of the number of rows if larger")
    parser.add_argument("--test-rows", type=int, default=872)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--summarize", action="store_true")
    parser.add_argument("--chip")
    parser.add_argument("--commit")
    words = parser.parse_args()
    if words.summarize:
        summary = summarize([json.loads(line) for line in sys.stdin], words.chip, words.commit)
        words.out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
        return
    torch.set_num_threads(1)
    settings = {"rate": words.rate, "seeds": words.seeds}
    conditions = {"base": read_base_folder(words.base).fingerprint[:12], "test_rows": words.test_rows}
    done = set()
    if words.out.exists():
        done = {_key(json.loads(line)) for line in words.out.read_text().splitlines()}
    for name in words.tasks:
        bench = Bench(words.base, {"sst2": read_sst2, "ag_news": read_ag_news}[name](words.data), words.test_rows)
        for draw in words.draws:
            for count in words.labels:
                settings["updates"] = words.updates or max(40, round(4 * count**0.5))
                about = {"task": name, "labels": count, "draw": draw, **settings, **conditions}
                arms = [arm for arm in words.arms if _key({**about, "arm": arm}) not in done]
                for found in run_draw(bench, count, draw, arms, settings):
                    line = {**about, **found}
                    with words.out.open("a") as file:
                        file.write(json.dumps(line) + "\n")
                    sys.stdout.write(f"{json.dumps(line)}\n")


def summarize(lines: list[dict[str, Any]], chip: str, commit: str) -> dict[str, Any]:
    """The accuracies of each task, number of labels and arm, one for each draw (the mean over its seeds).

    Raises SystemExit if the lines are of several bases or test rows, which would replace each other.
    """
    if len({tuple(line.get(name) for name in CONDITIONS) for line in lines}) > 1:
        raise SystemExit("The lines have several bases or numbers of test rows; give those of one at a time.")
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in sorted(lines, key=lambda each: (each["task"], each["labels"], each["arm"], each["draw"])):
        updates = None if line["arm"] in UNTRAINED else line["updates"]
        key = (line["task"], line["labels"], line["arm"], updates)
        row = rows.setdefault(key, {**dict(zip(("task", "labels", "arm", "updates"), key, strict=True)), "draws": {}})
        found = {"accuracy": float(np.mean([each["accuracy"] for each in line["singles"]]))}
        found["loss"] = float(np.mean([each["loss"] for each in line["singles"]]))
        if line["arm"] not in UNTRAINED:
            found["seeds"] = line["seeds"]
        found |= {f"{name}_accuracy": line[name]["accuracy"] for name in ("logits", "soup") if name in line}
        found |= {f"{name}_loss": line[name]["loss"] for name in ("logits", "soup") if name in line}
        row["draws"][str(line["draw"])] = {name: round(value, 4) for name, value in found.items()}
    for row in rows.values():
        row["mean_accuracy"] = round(float(np.mean([each["accuracy"] for each in row["draws"].values()])), 4)
    return {"chip": chip, "commit": commit, "rows": list(rows.values())}


def _key(line: dict[str, Any]) -> str:
    names = (*CONDITIONS, "task", "labels", "draw", "arm")
    if line["arm"] not in UNTRAINED:
        names = (*names, "updates", "rate", "seeds")
    return json.dumps([line.get(name) for name in names])


if __name__ == "__main__":
    main()
