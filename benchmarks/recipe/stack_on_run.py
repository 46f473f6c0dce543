"""What linear models add to the model of a finished run: `python benchmarks/recipe/stack_on_run.py RUN NAME`.

Trains them and fits the weights as `finetune` does, from the training and the new validation rows, and scores the test
rows once: the network alone, each linear model alone, the combination, and the network with the scores of the linear
models given to the wrong rows. For classes of texts and of pairs. Writes benchmarks/results/recipe-stack-NAME.json.
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
from pretune.scoring.nested_rows import group_rows, is_new
from pretune.scoring.stack import fit_stack
from pretune.scoring.stacked_model import train_stacked
from pretune.tasks.task import LabelledLines

FloatArray = npt.NDArray[np.float64]
Rows = list[dict[str, Any]]


def main() -> None:
    run, name = Path(sys.argv[1]), sys.argv[2]
    classifier = load_classifier(run / "finetune", stack=False)
    rows = {split: _read(run / "prepare" / f"{split}.jsonl") for split in ("train", "validation", "test")}
    texts = {split: [_text(row) for row in rows[split]] for split in rows}
    log_odds = {split: _predict(classifier, texts[split]) for split in ("validation", "test")}
    start = time.monotonic()
    new = np.arange(len(rows["validation"]))
    if not classifier.labelling.has_pairs:
        new = np.flatnonzero(is_new(texts["validation"], texts["train"]))
    held = [rows["validation"][index] for index in new.tolist()]
    held_texts, held_labels = [_text(row) for row in held], np.array([row["label"] for row in held])
    groups = group_rows([(text,) if isinstance(text, str) else text for text in held_texts])
    network = log_odds["validation"][new]
    data = LabelledLines(train=rows["train"], validation=held, test=(), names=classifier.label_names, metric="accuracy")
    partners = classifier.task.partners(data)
    stacked, _ = train_stacked(partners, held_texts, network, held_labels, groups=groups)
    seconds = time.monotonic() - start
    test, labels = log_odds["test"], np.array([row["label"] for row in rows["test"]])
    of_held, of_test = ([each.model.score(given) for each in partners] for given in (held_texts, texts["test"]))
    wrong = fit_stack([network, *(_shuffle(each) for each in of_held)], held_labels)
    contenders = {
        "encoder": test,
        "encoder recalibrated": fit_stack([network], held_labels).combine([test]),
        **{
            partner.kind: fit_stack([known], held_labels).combine([scores])
            for partner, known, scores in zip(partners, of_held, of_test, strict=True)
        },
        "stack": stacked.combine(test, texts["test"]),
        "stack with shuffled partners": wrong.combine([test, *(_shuffle(each) for each in of_test)]),
    }
    others = ("encoder", "encoder recalibrated", *(partner.kind for partner in partners))
    result = {
        "name": name,
        "rows": {split: len(each) for split, each in rows.items()}
        | {"new validation": len(new), "groups of them": len(np.unique(groups))},
        "classes": test.shape[1],
        "parts": stacked.titles,
        "weights": stacked.stack.weights.tolist(),
        "is_used": stacked.is_better,
        "validation": stacked.validation,
        "test": {key: _describe(given, labels) for key, given in contenders.items()},
        "differences": {
            f"stack - {other}": _difference(contenders["stack"], contenders[other], labels) for other in others
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


def _read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _text(row: dict[str, Any]) -> Any:
    return (row["text"], row["text_pair"]) if "text_pair" in row else row["text"]


def _shuffle(scores: FloatArray) -> FloatArray:
    return np.random.default_rng(1).permutation(scores)


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
