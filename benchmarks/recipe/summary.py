"""Make the table of figures from finished trials: `python benchmarks/recipe/summary.py --work DIR`.

Writes benchmarks/results/recipe-figures.json: for every group of trials that differ in seed, the mean of single models,
the mean of their log-odds, the soup of their weights, and stacks with linear models; and paired differences with
standard errors. K sets of training rows (draws, or folds), N scored rows.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from figures import calibrated_losses
from run import RESULTS, groups_of
from stack import fit_stack

from tasks import Spec, inner_folds, make_task

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_SWEPT = ("seed", "draw", "fold", "inner", "members", "keep", "arm", "kind")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=RESULTS.with_name("recipe-figures.json"))
    options = parser.parse_args()
    trials = [json.loads(line) for line in options.results.read_text(encoding="utf-8").splitlines()]
    found = summarise(trials, options.work)
    options.out.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for part in found:
        sys.stdout.write(f"\n{part['rows']}\n")
        for name, figures in part["contenders"].items():
            sys.stdout.write(
                f"  {name:<72} {100 * figures['accuracy']:6.2f} +- {100 * figures['accuracy_se']:.2f}"
                f"   loss {figures['loss']:.4f} +- {figures['loss_se']:.4f}  K={figures['sets']}\n"
            )
        for each in part["differences"]:
            sys.stdout.write(
                f"  {each['a']}  -  {each['b']}: {100 * each['accuracy']:+.2f} +- {100 * each['accuracy_se']:.2f}, "
                f"loss {each['loss']:+.4f} +- {each['loss_se']:.4f}\n"
            )


class Contender:
    """Log-odds of one way to predict: for each set of training rows, an array (S, N) of S models."""

    def __init__(self) -> None:
        self.log_odds: dict[int, FloatArray] = {}

    def measures(self, labels: dict[int, IntArray]) -> dict[str, dict[int, FloatArray]]:
        """Whether each row is correct, and its calibrated loss, averaged over the models: (N,) for each set."""
        corrects, losses = {}, {}
        for key, given in self.log_odds.items():
            truth = labels[key]
            corrects[key] = np.mean([(each > 0) == (truth == 1) for each in given], axis=0)
            losses[key] = np.mean([calibrated_losses(each, truth) for each in given], axis=0)
        return {"accuracy": corrects, "loss": losses}


def summarise(trials: list[dict[str, Any]], work: Path) -> list[dict[str, Any]]:
    """One part for each kind of rows: its contenders, and differences of all to the first listed ones."""
    by_rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for trial in trials:
        spec = trial["spec"]
        rows = {name: spec.get(name) for name in ("task", "rows", "unit", "test_rows") if spec.get(name) is not None}
        by_rows[json.dumps({**rows, "sets": "draws" if "draw" in spec else "folds"})].append(trial)
    return [Rows(rows, group, work).summarise() for rows, group in by_rows.items()]


class Rows:
    """The trials on one kind of rows, gathered: who predicts what for which set."""

    def __init__(self, rows: str, trials: list[dict[str, Any]], work: Path) -> None:
        self.rows, self.work = rows, work
        self.key = "draw" if json.loads(rows)["sets"] == "draws" else "fold"
        self.contenders: dict[str, Contender] = defaultdict(Contender)
        self.labels: dict[int, IntArray] = {}
        self.members: dict[tuple[str, int], dict[str, list[FloatArray]]] = defaultdict(lambda: defaultdict(list))
        self.linear: dict[int, dict[str, dict[str, FloatArray]]] = defaultdict(dict)
        self.inner: dict[tuple[str, int], dict[int, dict[str, FloatArray]]] = defaultdict(dict)
        self.spec_of: dict[tuple[str, int], Spec] = {}
        for trial in trials:
            self._add(trial["spec"], dict(np.load(work / "logits" / f"{trial['id']}.npz")))

    def _add(self, spec: Spec, odds: dict[str, FloatArray]) -> None:
        key, name = spec[self.key], _name(spec)
        if key not in self.labels:
            task = make_task(spec)
            self.labels[key] = task.labels[task.test]
        ways = [way for way in odds if way.startswith("test")]
        if spec["kind"] == "linear":
            self.linear[key][name] = odds
            self.contenders[name].log_odds[key] = odds["test"][None]
        elif spec["kind"] != "encoder":
            for way in ways:
                self.contenders[f"{name}{way[4:]}, {spec['kind']}"].log_odds[key] = odds[way][None]
        elif "inner" in spec:
            self.inner[name, key][spec["inner"]] = odds
            self.spec_of[name, key] = spec
        else:
            for way in ways:
                self.members[name, key][way].append(odds[way])

    def summarise(self) -> dict[str, Any]:
        """Averages, stacks and differences."""
        for (name, key), ways in self.members.items():
            for way, odds_of in ways.items():
                self._average(f"{name}{way[4:]}", key, odds_of)
            if self.linear.get(key):
                self._stack_on_scored_rows(name, key, np.mean(ways["test"], axis=0))
        for (name, key), folds in self.inner.items():
            if len(folds) == 5:
                self._stack_out_of_fold(name, key, folds)
        return _tabulate(self.rows, self.contenders, self.labels)

    def _average(self, label: str, key: int, odds_of: list[FloatArray]) -> None:
        self.contenders[f"{label}, singles"].log_odds[key] = np.array(odds_of)
        for count in {3, len(odds_of)} & set(range(2, len(odds_of) + 1)):
            mean = np.mean(odds_of[:count], axis=0)
            self.contenders[f"{label}, mean of {count} logits"].log_odds[key] = mean[None]

    def _stack_on_scored_rows(self, label: str, key: int, encoder: FloatArray) -> None:
        """Stacks whose weights are fitted on four fifths of the scored rows and used on the last fifth, in turn."""
        linear, labels = self.linear[key], self.labels[key]
        parts = {"encoder": encoder, **{name: odds["test"] for name, odds in linear.items()}}
        # The weight and intercept of one model alone: what a stack gains by knowing the scored rows' frequencies.
        stacks = {f"{label}, recalibrated alone": ["encoder"]}
        stacks |= {f"{label}, stack": list(parts), "stack of linear models": list(linear)}
        stacks |= {f"{label}, stack with {name} only": ["encoder", name] for name in linear}
        rng = np.random.default_rng(0)
        folds = rng.permutation(len(labels)) % 5
        for name, used in stacks.items():
            features = np.stack([parts[each] for each in used], 1)
            self.contenders[name].log_odds[key] = _crossfit(features, labels, folds)[None]
        shuffled = np.stack([encoder, *(rng.permutation(odds["test"]) for odds in linear.values())], 1)
        name = f"{label}, stack with shuffled partners"
        self.contenders[name].log_odds[key] = _crossfit(shuffled, labels, folds)[None]

    def _stack_out_of_fold(self, name: str, key: int, folds: dict[int, dict[str, FloatArray]]) -> None:
        """Stacks whose weights are fitted on out-of-fold log-odds of the training rows, and the mean of the five models
        that were trained without a fold."""
        task = make_task({**self.spec_of[name, key], "inner": None})
        of_row, labels = inner_folds(groups_of(task)), task.labels[task.train]
        out_of_fold = np.empty(len(labels))
        for fold, odds in folds.items():
            out_of_fold[of_row == fold] = odds["inner"]
        mean = np.mean([odds["test"] for odds in folds.values()], axis=0)
        self.contenders[f"{name}, mean of 5 fold models"].log_odds[key] = mean[None]
        partners = [(odds["train"], odds["test"]) for odds in self.linear.get(key, {}).values()]
        if not partners:
            return
        one: list[FloatArray] = []
        stacked: list[FloatArray] = []
        for fold, odds in folds.items():  # as the product does it: one model, weights from its validation rows
            held = of_row == fold
            validation = np.stack([odds["inner"], *(train[held] for train, _ in partners)], 1)
            test = np.stack([odds["test"], *(test for _, test in partners)], 1)
            one_stack = fit_stack(validation, labels[held]).combine(test)
            one.append(odds["test"])
            stacked.append(one_stack)
        self.contenders[f"{name}, fold models, singles"].log_odds[key] = np.array(one)
        self.contenders[f"{name}, fold models, stack fitted on one validation fold"].log_odds[key] = np.array(stacked)
        rng = np.random.default_rng(key)
        false = [(rng.permutation(train), rng.permutation(test)) for train, test in partners]
        for kind, used in {"stack fitted out of fold": partners, "stack with shuffled partners": false}.items():
            stack = fit_stack(np.stack([out_of_fold, *(train for train, _ in used)], 1), labels)
            combined = stack.combine(np.stack([mean, *(test for _, test in used)], 1))
            self.contenders[f"{name}, 5 fold models, {kind}"].log_odds[key] = combined[None]


def _crossfit(features: FloatArray, labels: IntArray, folds: IntArray) -> FloatArray:
    result = np.empty(len(labels))
    for fold in np.unique(folds):
        held = folds == fold
        result[held] = fit_stack(features[~held], labels[~held]).combine(features[held])
    return result


def _tabulate(rows: str, contenders: dict[str, Contender], labels: dict[int, IntArray]) -> dict[str, Any]:
    measured = {name: contender.measures(labels) for name, contender in contenders.items()}
    table = {
        name: {
            "sets": len(values["accuracy"]),
            "n": int(sum(map(len, values["accuracy"].values()))),
            **{k: v for m in ("accuracy", "loss") for k, v in _mean_and_error(m, values[m], rows).items()},
            "by_set": {str(key): round(float(v.mean()), 4) for key, v in sorted(values["accuracy"].items())},
        }
        for name, values in measured.items()
    }
    differences = []
    for a in measured:
        for b in _references(a, list(measured)):
            shared = measured[a]["accuracy"].keys() & measured[b]["accuracy"].keys()
            if not shared:
                continue
            found: dict[str, Any] = {"a": a, "b": b, "sets": len(shared)}
            for m in ("accuracy", "loss"):
                found |= _mean_and_error(m, {k: measured[a][m][k] - measured[b][m][k] for k in shared}, rows)
            differences.append(found)
    return {"rows": rows, "contenders": table, "differences": differences}


def _references(name: str, names: list[str]) -> list[str]:
    """What a contender is compared with: single models of its kind, and what it averages or stacks."""
    for mark in (
        ", fold models",
        ", 5 fold models",
        ", stack",
        ", recalibrated",
        ", mean of",
        ", soup",
        ", singles",
        ", probe",
    ):
        name_of_models = name.split(mark)[0]
        if name_of_models != name:
            break
    same = [each for each in names if each.startswith(f"{name_of_models}, ")]
    if ", fold models" in name:
        return [each for each in same if each.endswith(", fold models, singles") and each != name]
    if "stack" in name:
        out_of_fold = ", 5 fold" in name
        wanted = [each for each in same if (", mean of 5 fold" if out_of_fold else ", recalibrated") in each]
        return [
            *wanted,
            *(each for each in names if each in ("nbsvm", "tfidf", "stack of linear models") and each != name),
        ]
    if ", singles" in name:
        return [each for each in names if each.endswith(", singles") and each != name][:1]
    return [each for each in same if each.endswith(", singles")]


def _mean_and_error(name: str, values: dict[int, FloatArray], rows: str) -> dict[str, float]:
    """The mean over sets and rows, and its standard error: over rows, and over draws of training rows.

    Draws are scored on the same rows, so the variance has two terms; folds have rows of their own, so it has one.
    """
    arrays = list(values.values())
    if json.loads(rows)["sets"] == "draws":
        matrix = np.array(arrays)  # (K, N)
        variance = matrix.mean(axis=0).var() / matrix.shape[1]
        if len(matrix) > 1:
            variance += matrix.mean(axis=1).var(ddof=1) / len(matrix)
        mean = matrix.mean()
    else:
        joined = np.concatenate(arrays)
        mean, variance = joined.mean(), joined.var() / len(joined)
    return {name: round(float(mean), 5), f"{name}_se": round(math.sqrt(float(variance)), 5)}


def _name(spec: Spec) -> str:
    if spec["kind"] == "linear":
        return f"{spec['model']} longest {spec['longest']}" if "longest" in spec else str(spec["model"])
    kept = {n: v for n, v in spec.items() if n not in (*_SWEPT, "task", "rows", "unit", "test_rows")}
    return " ".join(f"{name}={value}" for name, value in kept.items())


if __name__ == "__main__":
    main()
