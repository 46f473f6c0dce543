"""Run the arms of a plan: `python benchmarks/recipe/run.py PLAN --work DIR --bases NAME=FOLDER ...`.

PLAN has one arm per line: a trial's description as JSON, in which a list stands for one trial per value (the last key
varies fastest). A trial that RESULTS (default: benchmarks/results/recipe-trials.jsonl) has is skipped, so the same
command resumes. The plan is read again after each trial, so arms can be added to it meanwhile; with `--wait MINUTES`
the process waits that long for them. Log-odds and weights of trials are kept in the work folder, from which
`summary.py` makes the table of figures. Set PRETUNE_DATA to the folder of real data.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import encoder
import linear
import numpy as np
import numpy.typing as npt
import torch
from figures import describe
from pseudo_labels import label
from safetensors.torch import load_file, save_file
from stack import fit_stack

from pretune.compute.malloc import keep_freed_memory
from pretune.model.transformer import SequenceClassifier
from tasks import Spec, Task, inner_folds, load_phrases, load_reviews, load_sentences, make_task

RESULTS = Path(__file__).parents[1] / "results" / "recipe-trials.jsonl"
_ROWS = ("task", "fold", "draw", "rows", "unit", "inner", "test_rows")
_SETTINGS = ("seed", "rate", "batch", "epochs", "updates", "head", "mask", "crop", "whole_fraction", "from_scratch")
_PARTNERS = ("nbsvm", "tfidf")
_STACK_DRAWS = (0, 1)  # those with models for each inner fold
Found = dict[str, npt.NDArray[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("plan", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--bases", nargs="+", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--wait", type=float, default=0.0, metavar="MINUTES")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    runner = Runner(options.work, dict(each.split("=", 1) for each in options.bases))
    failed: set[str] = set()
    idle_since = time.monotonic()
    while not (options.work / "stop").exists():
        done = read_done(options.results) | failed
        spec = next((each for each in read_plan(options.plan) if identify(each) not in done), None)
        if spec is None:
            if time.monotonic() - idle_since > 60 * options.wait:
                return
            time.sleep(5)
            continue
        try:
            line = runner.run(spec)
        except Exception:
            failed.add(identify(spec))
            sys.stderr.write(f"{json.dumps(spec)}\n{traceback.format_exc()}\n")
            continue
        options.results.parent.mkdir(parents=True, exist_ok=True)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        idle_since = time.monotonic()


def read_plan(path: Path) -> Iterator[Spec]:
    """Every trial of a plan, in order."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        arm = json.loads(line)
        names = [name for name, value in arm.items() if isinstance(value, list) and name != "members"]
        for values in itertools.product(*(arm[name] for name in names)):
            yield {**arm, **dict(zip(names, values, strict=True))}


def read_done(path: Path) -> set[str]:
    """The ids of the trials that a results file has."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {json.loads(line)["id"] for line in lines}


def identify(spec: Spec) -> str:
    """The id of a trial: a hash of its description without the name of its arm."""
    plain = {name: value for name, value in spec.items() if name not in ("arm", "keep")}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


class Runner:
    """Runs trials; keeps bases and encoded texts in memory."""

    def __init__(self, work: Path, bases: dict[str, str]) -> None:
        self.work, self.folders = work, bases
        self.base = cache(lambda name: encoder.load_base(Path(bases[name])))
        self.encoded = cache(lambda name, task: encoder.encode(self.base(name), _all_texts(task)))
        self.encoded_sentences = cache(lambda name, count: encoder.encode(self.base(name), load_sentences(count)[0]))
        for name in ("logits", "weights"):
            (work / name).mkdir(parents=True, exist_ok=True)

    def run(self, spec: Spec) -> dict[str, Any]:
        """One trial: its line of the results file; its log-odds go to the work folder."""
        start, cpu_start = time.monotonic(), time.process_time()
        task = make_task(spec)
        kinds: dict[str, Callable[[Spec, Task], tuple[Found, dict[str, Any]]]] = {
            "encoder": self._encoder,
            "soup": self._soup,
            "probe": self._probe,
            "linear": self._linear,
            "teacher": self._teacher,
            "student": self._student,
        }
        found, more = kinds[spec["kind"]](spec, task)
        np.savez_compressed(self.work / "logits" / f"{identify(spec)}.npz", **found)
        figures = {}
        for name, rows in (("test", task.test), ("inner", task.inner)):
            if name in found and len(rows):
                figures[name] = describe(found[name], task.labels[rows])
        return {
            "id": identify(spec),
            "spec": spec,
            "figures": figures,
            "training_rows": len(task.train),
            **more,
            "seconds": {
                **more.get("seconds", {}),
                "in_all": round(time.monotonic() - start, 1),
                "cpu": round(time.process_time() - cpu_start, 1),
            },
            "commit": commit(),
            "chip": chip(),
            "threads": torch.get_num_threads(),
        }

    def _encoder(self, spec: Spec, task: Task) -> tuple[Found, dict[str, Any]]:
        base, settings = self._base_and_settings(spec)
        texts, labels = self.encoded(spec["base"], task.name), task.labels
        clock = time.monotonic()
        model = encoder.make_classifier(base, settings, 2)
        train = [texts[i] for i in task.train]
        if settings.head == "probe":
            encoder.set_probe_head(base, model, train, labels[task.train])
        more = encoder.finetune(base, model, train, labels[task.train], settings)
        trained = time.monotonic()
        found = self._predict(base, model, texts, task, spec)
        if spec.get("keep"):
            save_file(model.state_dict(), self._weights(spec))
        seconds = {"training": round(trained - clock, 1), "prediction": round(time.monotonic() - trained, 1)}
        return found, {**more, "seconds": seconds}

    def _soup(self, spec: Spec, task: Task) -> tuple[Found, dict[str, Any]]:
        """The mean of the weights of `members` (seeds), which earlier trials kept; the rest describes these trials."""
        base, model = self._average(spec)
        return self._predict(base, model, self.encoded(spec["base"], task.name), task, spec), {}

    def _average(self, spec: Spec) -> tuple[encoder.Base, SequenceClassifier]:
        rest = {name: value for name, value in spec.items() if name not in ("members", "kind", "of", "reviews")}
        states = [load_file(self._weights({**rest, "kind": "encoder", "seed": seed})) for seed in spec["members"]]
        base, settings = self._base_and_settings({**rest, "seed": spec["members"][0]})
        model = encoder.make_classifier(base, settings, 2)
        model.load_state_dict({n: torch.stack([s[n] for s in states]).mean(0) for n in states[0]})
        return base, model

    def _probe(self, spec: Spec, task: Task) -> tuple[Found, dict[str, Any]]:
        """A logistic regression on the frozen mean vectors, without fine-tuning."""
        base = self.base(spec["base"])
        model = encoder.make_classifier(base, encoder.Settings(seed=0, rate=0.0, batch=1), 2)
        texts = self.encoded(spec["base"], task.name)
        encoder.set_probe_head(base, model, [texts[i] for i in task.train], task.labels[task.train])
        return self._predict(base, model, texts, task, spec), {}

    def _predict(
        self, base: encoder.Base, model: SequenceClassifier, texts: list[Any], task: Task, spec: Spec
    ) -> Found:
        found: Found = {}
        for name, rows in (("test", task.test), ("inner", task.inner)):
            if len(rows):
                found |= self._predict_ways(base, model, [texts[i] for i in rows], name, spec)
        return found

    def _predict_ways(
        self, base: encoder.Base, model: SequenceClassifier, texts: list[Any], name: str, spec: Spec
    ) -> Found:
        """The main way of reading; crops also have the other ways, as `test_cut` and so on."""
        window = spec.get("crop")
        ways = {name: window}
        if spec.get("task") == "imdb" and name == "test":
            ways |= {"test_cut": None} if window else {"test_windows": 128}
        results: Found = {}
        for key, size in ways.items():
            logits = encoder.logits_of(base, model, texts, size)
            results[key] = logits[:, 1] - logits[:, 0]
        return results

    def _linear(self, spec: Spec, task: Task) -> tuple[Found, dict[str, Any]]:
        """NB-SVM or TF-IDF: settings chosen inside the training rows; log-odds of the scored rows, and out-of-fold ones
        of the training rows."""
        texts = [task.texts[i] for i in task.train]
        labels, longest = task.labels[task.train], spec.get("longest", 2)
        inner = inner_folds(groups_of(task))
        folds = range(5) if len(texts) < 5000 else [0]
        chosen, out_of_fold = linear.choose(spec["model"], texts, labels, inner, longest, folds)
        features = linear.featurize(spec["model"], texts, [[task.texts[i] for i in task.test]], longest)
        [margins] = linear.fit_margins(spec["model"], features, labels, chosen)
        return {"test": margins, "train": out_of_fold}, {"chosen": chosen}

    def _teacher(self, spec: Spec, task: Task) -> tuple[Found, dict[str, Any]]:
        """The soup of `members` with NB-SVM and TF-IDF stacked on it; also labels the sentences of `reviews` reviews.

        The weights of the stack are fitted on the out-of-fold log-odds of two draws, which earlier trials kept.
        """
        start = time.monotonic()
        sentences, _ = load_sentences(spec["reviews"])
        base, model = self._average(spec)
        ids = self.encoded(spec["base"], task.name)
        found: dict[str, list[npt.NDArray[Any]]] = {}
        for name, texts in (
            ("test", [ids[i] for i in task.test]),
            ("sentences", self.encoded_sentences(spec["base"], spec["reviews"])),
        ):
            logits = encoder.logits_of(base, model, texts)
            found[name] = [logits[:, 1] - logits[:, 0]]
        train, test = ([task.texts[i] for i in rows] for rows in (task.train, task.test))
        labels = task.labels[task.train]
        inner = inner_folds(groups_of(task))
        for kind in _PARTNERS:
            chosen, _ = linear.choose(kind, train, labels, inner)
            features = linear.featurize(kind, train, [test, sentences])
            for name, margins in zip(found, linear.fit_margins(kind, features, labels, chosen), strict=True):
                found[name].append(margins)
        stack = fit_stack(*self._out_of_fold(spec))
        result = {name: stack.combine(np.stack(parts, 1)) for name, parts in found.items()}
        more = {"weights": [round(float(each), 4) for each in stack.weights], "sentences": len(sentences)}
        return {**result, "test_soup": found["test"][0]}, {
            **more,
            "seconds": {"labelling": round(time.monotonic() - start, 1)},
        }

    def _out_of_fold(self, spec: Spec) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Log-odds (N, 3) of the encoder, NB-SVM and TF-IDF for the training rows of two draws, and their labels."""
        odds, labels = [], []
        same = {name: spec[name] for name in ("task", "rows")}
        network = {name: spec[name] for name in ("base", "epochs", "batch", "rate")} | {"kind": "encoder", "seed": 0}
        for draw in _STACK_DRAWS:
            task = make_task({**same, "draw": draw})
            fold_of = inner_folds(groups_of(task))
            columns = [np.empty(len(task.train))]
            for fold in range(5):
                columns[0][fold_of == fold] = self._kept({**same, **network, "draw": draw, "inner": fold})["inner"]
            columns += [
                self._kept({**same, "kind": "linear", "draw": draw, "model": kind})["train"] for kind in _PARTNERS
            ]
            odds.append(np.stack(columns, 1))
            labels.append(task.labels[task.train])
        return np.concatenate(odds), np.concatenate(labels)

    def _student(self, spec: Spec, task: Task) -> tuple[Found, dict[str, Any]]:
        """A model trained on the sentences as its `teacher` labels them, and on the true rows `copies` times."""
        same = {name: spec[name] for name in ("task", "base", "rows", "draw")}
        base, settings = self._base_and_settings(spec)
        log_odds = self._kept({**same, **spec["teacher"], "kind": "teacher"})["sentences"]
        reviews = load_sentences(spec["teacher"]["reviews"])[1]
        share = float(task.labels[task.train].mean())
        rows, positive = label(
            log_odds, reviews, share, is_smoothed=bool(spec["smoothing"]), shuffle=spec.get("shuffle")
        )
        sentences = self.encoded_sentences(spec["base"], spec["teacher"]["reviews"])
        ids = self.encoded(spec["base"], task.name)
        true = np.tile(task.train, spec["copies"])
        texts = [sentences[i] for i in rows] + [ids[i] for i in true]
        positive = np.concatenate([positive, task.labels[true]])
        model = encoder.make_classifier(base, settings, 2)
        start = time.monotonic()
        more = encoder.finetune(base, model, texts, np.stack([1 - positive, positive], 1).astype(np.float32), settings)
        seconds = {"training": round(time.monotonic() - start, 1)}
        return self._predict(base, model, ids, task, spec), {**more, "sentences": len(rows), "seconds": seconds}

    def _kept(self, spec: Spec) -> Found:
        """The log-odds of an earlier trial."""
        return dict(np.load(self.work / "logits" / f"{identify(spec)}.npz"))

    def _base_and_settings(self, spec: Spec) -> tuple[encoder.Base, encoder.Settings]:
        return self.base(spec["base"]), encoder.Settings(**{n: spec[n] for n in _SETTINGS if n in spec})

    def _weights(self, spec: Spec) -> Path:
        return self.work / "weights" / f"{identify(spec)}.safetensors"


def _all_texts(task: str) -> tuple[str, ...]:
    return load_phrases().texts if task == "sst2" else load_reviews()[0]


def groups_of(task: Task) -> npt.NDArray[np.int64]:
    """What may not be divided between inner folds: the sentence of each training row, or the review."""
    if task.name != "sst2":
        return task.train
    return np.array([load_phrases().sentences_of[row][0] for row in task.train], dtype=np.int64)


@cache
def commit() -> str:
    """The commit of the harness, with a plus sign if files differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=False).stdout

    return git("rev-parse", "--short", "HEAD").strip() + (
        "+" if git("status", "--porcelain", "--", ".").strip() else ""
    )


@cache
def chip() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = "bf16" if any("bf16" in line for line in lines if line.startswith("flags")) else "no bf16"
    return f"{names[0]}, {os.cpu_count()} cores, {flags}"


if __name__ == "__main__":
    main()
