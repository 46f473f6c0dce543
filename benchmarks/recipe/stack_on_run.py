"""What NB-SVM adds to the model of a finished run: `python benchmarks/recipe/stack_on_run.py RUN NAME`.

Trains it and fits the weights as `finetune` does, from the training and the new validation rows, and scores the test
rows once: the model alone, NB-SVM alone, both, and both with NB-SVM's scores given to the wrong rows. Writes
benchmarks/results/recipe-stack-NAME.json.
"""

from __future__ import annotations

import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from run import RESULTS, chip, commit

from pretune.inference.load import load_classifier
from pretune.scoring.baselines import TextRows
from pretune.scoring.nested_rows import is_new
from pretune.scoring.stack import fit_stack
from pretune.scoring.stacked_model import train_stacked

FloatArray = npt.NDArray[np.float64]


def main() -> None:
    run, name = Path(sys.argv[1]), sys.argv[2]
    classifier = load_classifier(run / "finetune", stack=False)
    rows = {split: _read(run / "prepare" / f"{split}.jsonl") for split in ("train", "validation", "test")}
    log_odds = {split: _predict(classifier, rows[split].texts) for split in ("validation", "test")}
    start = time.monotonic()
    new = np.flatnonzero(is_new(rows["validation"].texts, rows["train"].texts))
    validation = TextRows(texts=[rows["validation"].texts[i] for i in new], labels=rows["validation"].labels[new])
    stacked = train_stacked(rows["train"], validation, log_odds["validation"][new])
    seconds = time.monotonic() - start
    test, labels = log_odds["test"], rows["test"].labels
    scores = stacked.ngram_model.score(rows["test"].texts)
    shuffled = np.random.default_rng(0).permutation(scores)
    false = stacked.ngram_model.score(validation.texts)
    wrong = fit_stack([log_odds["validation"][new], np.random.default_rng(1).permutation(false)], validation.labels)
    nbsvm = fit_stack([false], validation.labels)
    alone = fit_stack([log_odds["validation"][new]], validation.labels)
    contenders = {
        "encoder": test,
        "encoder recalibrated": alone.combine([test]),
        "nbsvm": nbsvm.combine([scores]),
        "stack": stacked.stack.combine([test, scores]),
        "stack with shuffled partners": wrong.combine([test, shuffled]),
    }
    result = {
        "name": name,
        "rows": {split: len(each.labels) for split, each in rows.items()} | {"new validation": len(new)},
        "classes": test.shape[1],
        "weights": stacked.stack.weights.tolist(),
        "validation": stacked.validation,
        "test": {key: _describe(given, labels) for key, given in contenders.items()},
        "differences": {
            f"stack - {other}": _difference(contenders["stack"], contenders[other], labels)
            for other in ("encoder", "encoder recalibrated", "nbsvm")
        }
        | {
            "shuffled - encoder recalibrated": _difference(
                contenders["stack with shuffled partners"], contenders["encoder recalibrated"], labels
            )
        },
        "seconds": round(seconds, 1),
        "commit": commit(),
        "chip": chip(),
    }
    path = RESULTS.with_name(f"recipe-stack-{name}.json")
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps({key: result[key] for key in ("rows", "test", "differences")}, indent=1) + "\n")


def _read(path: Path) -> TextRows:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    return TextRows(texts=[line["text"] for line in lines], labels=np.array([line["label"] for line in lines]))


def _predict(classifier: Any, texts: Any) -> FloatArray:
    return np.asarray(np.log(np.maximum(classifier.predict_outputs(list(texts)), 1e-30)))


def _describe(log_probabilities: FloatArray, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    correct, losses = log_probabilities.argmax(axis=1) == labels, _losses(log_probabilities, labels)
    return {"n": len(labels), **_mean("accuracy", correct), **_mean("loss", losses)}


def _difference(a: FloatArray, b: FloatArray, labels: npt.NDArray[np.int64]) -> dict[str, float]:
    corrects = [(each.argmax(axis=1) == labels).astype(np.float64) for each in (a, b)]
    losses = [_losses(each, labels) for each in (a, b)]
    return {**_mean("accuracy", corrects[0] - corrects[1]), **_mean("loss", losses[0] - losses[1])}


def _losses(log_probabilities: FloatArray, labels: npt.NDArray[np.int64]) -> FloatArray:
    return np.asarray(-log_probabilities[np.arange(len(labels)), labels])


def _mean(name: str, values: npt.NDArray[Any]) -> dict[str, float]:
    return {name: round(float(values.mean()), 5), f"{name}_se": round(float(values.std()) / math.sqrt(len(values)), 5)}


if __name__ == "__main__":
    main()
