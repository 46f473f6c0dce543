"""A real difference gets a clear verdict, and a model against its like does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pretune.evaluation.verdicts import (
    Contender,
    HeldOutRows,
    describe_contender,
    describe_coverage,
    judge,
)
from pretune.scoring.row_statistics import over_seeds
from pretune.scoring.uncertainty import accuracy_difference
from pretune.tasks.registry import task_named

NUM_ROWS = 400


def draw_runs(skill: float, num_seeds: int, seed: int, num_rows: int = NUM_ROWS) -> np.ndarray:
    """Whether each run (S, N) predicts each row correctly: rows differ in difficulty, runs in skill, both in luck."""
    random = np.random.default_rng(seed)
    difficulty = np.random.default_rng(99).normal(0, 1, size=num_rows)
    luck = random.normal(0, 0.7, size=(num_seeds, num_rows)) + random.normal(0, 0.1, size=(num_seeds, 1))
    return difficulty + luck + skill > 0


LABELS = np.random.default_rng(7).integers(2, size=NUM_ROWS)
SLICES = ["seen" if n % 2 else "unseen" for n in range(NUM_ROWS)]


def contender(kind: str, right: np.ndarray, labels: np.ndarray = LABELS) -> Contender:
    return contender_of(kind, np.where(right, labels, 1 - labels))


def contender_of(kind: str, predicted: np.ndarray) -> Contender:
    """A contender with a probability of 0.8 for each predicted class."""
    return Contender(name=kind, kind=kind, runs=list(np.where(np.eye(2)[predicted] == 1, 0.8, 0.2)))


def make_test_rows(
    slices: list[str | None] | None = None, labels: np.ndarray = LABELS, metric: str = "accuracy"
) -> HeldOutRows:
    places = zip(labels.tolist(), slices or [None] * len(labels), strict=True)
    lines = [
        {"row": row, "text": f"row {row}", "label": label, "slice": name} for row, (label, name) in enumerate(places)
    ]
    return HeldOutRows(task=task_named("classification"), names=["bad", "good"], lines=lines, metric=metric)


def test_scratch_against_scratch_is_no_clear_difference() -> None:
    """Two sets of runs of the same kind; over many draws about one in twenty may look like a difference."""
    clear = 0
    for seed in range(60):
        control = contender("scratch", draw_runs(0.5, 3, 2 * seed))
        other = contender("pretrained", draw_runs(0.5, 3, 2 * seed + 1))
        (verdict,) = judge([control, other], make_test_rows())
        clear += not verdict["sentence"].startswith("No clear difference: ")
    assert clear <= 6


def test_pre_training_that_helped() -> None:
    (verdict,) = judge(
        [contender("scratch", draw_runs(0.2, 3, 1)), contender("pretrained", draw_runs(1.2, 3, 2))], make_test_rows()
    )
    assert verdict["sentence"].startswith("Pre-training helped: +")
    assert verdict["sentence"].endswith("over the same network from scratch.")
    assert verdict["between"] == ["pretrained", "scratch"]
    assert 0 < verdict["difference_interval"][0] < verdict["difference"] < verdict["difference_interval"][1]
    assert verdict["p_value"] < 0.01


def test_pre_training_that_did_harm() -> None:
    runs = [contender("scratch", draw_runs(1.2, 3, 1)), contender("pretrained", draw_runs(0.2, 3, 2))]
    (verdict,) = judge(runs, make_test_rows())
    assert verdict["sentence"].startswith("Pre-training hurt: −")


def test_the_best_baseline_is_the_one_to_beat() -> None:
    runs = [
        contender("majority", draw_runs(2.0, 1, 3)),
        contender("tfidf", draw_runs(0.1, 1, 4)),
        contender("nbsvm", draw_runs(0.4, 1, 5)),
        contender("pretrained", draw_runs(1.5, 3, 6)),
    ]
    (verdict,) = judge(runs, make_test_rows())
    assert verdict["between"] == ["pretrained", "nbsvm"]
    assert verdict["sentence"].startswith("The pre-trained model beats nbsvm: +")
    (verdict,) = judge([runs[0], contender("tfidf", draw_runs(2.5, 1, 4)), runs[3]], make_test_rows())
    assert verdict["sentence"].startswith("The pre-trained model is worse than tfidf: −")


def test_one_seed_is_reported() -> None:
    runs = [contender("scratch", draw_runs(0.0, 1, 1)), contender("pretrained", draw_runs(1.5, 1, 2))]
    assert "there is one seed" in describe_coverage(runs, [])
    runs = [contender("scratch", draw_runs(0.0, 3, 1)), contender("pretrained", draw_runs(1.5, 3, 2))]
    assert describe_coverage(runs, [{}, {}]) == (
        "The intervals cover the choice of test rows and of fine-tuning seeds; another pre-training run may differ."
    )


@pytest.mark.parametrize(
    ("num_scratch", "num_pretrained", "several", "single"),
    [
        (3, 1, "the network from scratch", "the pre-trained network"),
        (1, 3, "the pre-trained network", "the network from scratch"),
    ],
)
def test_one_seed_against_several(num_scratch: int, num_pretrained: int, several: str, single: str) -> None:
    control, ours = draw_runs(0.2, num_scratch, 1), draw_runs(0.9, num_pretrained, 2)
    runs = [contender("scratch", control), contender("pretrained", ours)]
    (verdict,) = judge(runs, make_test_rows())
    expected = accuracy_difference(ours, control)
    assert verdict["difference_interval"] == list(expected.interval)
    assert verdict["p_value"] == expected.p_value
    coverage = (
        f"The intervals cover the choice of test rows and, for {several} only, of fine-tuning seeds: {single} has one "
        "seed, and other fine-tuning or pre-training runs differ."
    )
    assert describe_coverage(runs, [verdict]) == coverage
    delivered = [*runs, contender("stack", draw_runs(0.9, 1, 3))]
    assert describe_coverage(delivered, [verdict]).startswith(f"{coverage} The model as delivered is a single one")


@pytest.mark.parametrize("with_stack", [False, True])
def test_the_mean_of_the_seeds_is_judged_if_it_is_delivered(with_stack: bool) -> None:
    mean = replace(contender("averaged", draw_runs(1.2, 1, 4)), name="mean weights of 3 seeds")
    runs = [
        contender("scratch", draw_runs(0.2, 3, 1)),
        contender("nbsvm", draw_runs(0.3, 1, 5)),
        contender("pretrained", draw_runs(0.9, 3, 2)),
        mean,
        *([contender("stack", draw_runs(1.5, 1, 6))] if with_stack else []),
    ]
    test = make_test_rows()
    control, delivered = judge(runs, test)
    assert control["between"] == ["pretrained", "scratch"]
    assert delivered["between"] == ["stack" if with_stack else "averaged", "nbsvm"]
    if not with_stack:
        [figure] = (100 * run.figure() for run in test.statistics(mean, "accuracy"))
        expected = f"The model as delivered (mean weights of 3 seeds, {figure:.1f} %) beats nbsvm: +"
        assert delivered["sentence"].startswith(expected)
    assert describe_coverage(runs, [control, delivered]).endswith(
        "The model as delivered is a single one, so its intervals cover the choice of test rows only."
    )


def test_a_slice_needs_twenty_rows() -> None:
    slices: list[str | None] = [*["twenty"] * 20, *["nineteen"] * 19, *[None] * (NUM_ROWS - 39)]
    runs = [contender("scratch", draw_runs(0.2, 3, 1)), contender("pretrained", draw_runs(0.9, 3, 2))]
    test = make_test_rows(slices)
    assert [verdict.get("slice") for verdict in judge(runs, test)] == [None, "twenty"]
    assert {name: each["n"] for name, each in describe_contender(runs[1], test)["slices"].items()} == {
        "nineteen": 19,
        "twenty": 20,
    }


def test_slices_have_verdicts_of_their_own() -> None:
    right = draw_runs(0.0, 3, 2)
    right[:, [name == "unseen" for name in SLICES]] = True
    verdicts = judge(
        [contender("scratch", draw_runs(0.0, 3, 1)), contender("pretrained", right)], make_test_rows(SLICES)
    )
    sentences = {verdict.get("slice"): verdict["sentence"] for verdict in verdicts}
    assert describe_coverage([], verdicts).endswith(
        " The verdicts on slices are corrected for 2 comparisons (Holm), their intervals are not."
    )
    assert sentences["seen"].startswith("No clear difference on slice 'seen': ")
    assert sentences["unseen"].startswith("Pre-training helped on slice 'unseen': +")


def two_single_models(only_ours: int, only_theirs: int, num_rows: int) -> list[np.ndarray]:
    """Whether ours and theirs are right, (1, N) each: on all other rows both are."""
    right = np.ones((2, 1, num_rows), dtype=np.bool_)
    right[1, 0, :only_ours] = right[0, 0, only_ours : only_ours + only_theirs] = False
    return list(right)


def test_the_reason_is_the_exact_test_where_the_interval_excludes_zero() -> None:
    """Seven rows against one: the interval says clear, and McNemar's test does not, on all rows and on slices."""
    ours, theirs = two_single_models(7, 1, 100)
    labels = LABELS[:100]
    runs = [contender("pretrained", ours, labels), contender("scratch", theirs, labels)]
    (verdict,) = judge(runs, make_test_rows(labels=labels))
    assert verdict["p_value"] == pytest.approx(0.0703, abs=1e-4)
    assert verdict["sentence"] == (
        "No clear difference by an exact test (p = 0.070): +6.0 points (95 % interval 0.2 to 11.6) against the "
        "same network from scratch."
    )
    doubled = [
        contender(each.kind, np.tile(right, 2), np.tile(labels, 2))
        for each, right in zip(runs, (ours, theirs), strict=True)
    ]
    slices: list[str | None] = ["first"] * 100 + ["second"] * 100
    _, *on_slices = judge(doubled, make_test_rows(slices, np.tile(labels, 2)))
    assert [each["uncorrected_p_value"] for each in on_slices] == pytest.approx([0.0703] * 2, abs=1e-4)
    for name, each in zip(("first", "second"), on_slices, strict=True):
        expected = f"No clear difference on slice '{name}' by an exact test (p = 0.070): +6.0 points"
        assert each["sentence"].startswith(expected)


def test_the_reason_is_the_correction_where_the_slice_alone_is_clear() -> None:
    ours, theirs = two_single_models(7, 0, 100)
    right = [np.tile(each, 4) for each in (ours, theirs)]
    right[1][0, 100:] = right[0][0, 100:]  # the other three slices differ nowhere
    labels, slices = np.tile(LABELS[:100], 4), [f"slice {n // 100}" for n in range(400)]
    runs = [contender("pretrained", right[0], labels), contender("scratch", right[1], labels)]
    _, first, *_ = judge(runs, make_test_rows(list(slices), labels))
    assert first["uncorrected_p_value"] == pytest.approx(2 / 2**7)
    assert first["p_value"] == pytest.approx(8 / 2**7)
    assert first["sentence"].startswith(
        "No clear difference on slice 'slice 0', corrected for 4 comparisons of slices: +7.0 points"
    )


def test_many_slices_give_no_false_alarm() -> None:
    """Without a correction 32 % of comparisons with ten slices and no difference called some slice clear."""
    slices: list[str | None] = [f"slice {n % 10}" for n in range(NUM_ROWS)]
    alarms = 0
    for seed in range(60):
        runs = [
            contender("scratch", draw_runs(0.5, 3, 2 * seed)),
            contender("pretrained", draw_runs(0.5, 3, 2 * seed + 1)),
        ]
        verdicts = judge(runs, make_test_rows(slices))
        assert all(verdict["p_value"] >= verdict["uncorrected_p_value"] for verdict in verdicts[1:])
        alarms += any(not verdict["sentence"].startswith("No clear difference") for verdict in verdicts[1:])
    assert alarms <= 6


def test_imbalance_is_judged_by_macro_f1() -> None:
    labels = (np.arange(NUM_ROWS) % 33 == 0).astype(np.int64)
    never = contender_of("scratch", np.zeros((3, NUM_ROWS), dtype=np.int64))
    often = np.where(np.random.default_rng(0).random((3, NUM_ROWS)) < 0.98, labels, 1 - labels)
    runs = [never, contender_of("pretrained", often)]
    (verdict,) = judge(runs, make_test_rows(labels=labels, metric="macro_f1"))
    assert verdict["metric"] == "macro_f1"
    assert verdict["difference"] > 0.2
    assert "points of macro-F1" in verdict["sentence"]
    (plain,) = judge(runs, make_test_rows(labels=labels))
    assert plain["sentence"].startswith("No clear difference")


def test_the_metric_of_the_verdicts_has_an_interval_too() -> None:
    """Of rows drawn again: its width is that of macro-F1 over resampled test rows."""
    right = np.random.default_rng(0).random((1, NUM_ROWS)) < 0.8
    one = contender("pretrained", right)
    row = describe_contender(one, make_test_rows(metric="macro_f1"))
    low, high = row["macro_f1_interval"]
    drawn = np.random.default_rng(1).integers(NUM_ROWS, size=(500, NUM_ROWS))
    predicted = np.where(right[0], LABELS, 1 - LABELS)
    expected = np.quantile([f1_score(LABELS[i], predicted[i], average="macro") for i in drawn], [0.025, 0.975])
    assert row["macro_f1"] == pytest.approx(f1_score(LABELS, predicted, average="macro"))
    assert [low, high] == pytest.approx(expected, abs=0.012)
    assert "macro_f1_interval" not in describe_contender(one, make_test_rows())


def test_the_model_as_delivered_is_judged_and_pre_training_is_judged_apart() -> None:
    runs = [
        contender("scratch", draw_runs(0.2, 3, 1)),
        contender("nbsvm", draw_runs(1.0, 1, 5)),
        contender("pretrained", draw_runs(0.6, 3, 2)),
        replace(contender("stack", draw_runs(2.5, 1, 6)), name="network + NB-SVM"),
    ]
    test = make_test_rows(SLICES)
    control, delivered, *on_slices = judge(runs, test)
    assert control["between"] == ["pretrained", "scratch"]
    assert delivered["between"] == ["stack", "nbsvm"]
    assert len(on_slices) == 4
    figure = 100 * float(np.mean([run.figure() for run in test.statistics(runs[3], "accuracy")]))
    expected = f"The model as delivered (network + NB-SVM, {figure:.1f} %) beats nbsvm: +"
    assert delivered["sentence"].startswith(expected)
    low, high = delivered["difference_interval"]
    assert 0 < low < delivered["difference"] < high
    assert "the choice of test rows only" in describe_coverage(runs, [])
    alike = [*runs[1:3], replace(contender("stack", draw_runs(1.0, 1, 5)), name="network + NB-SVM")]
    (unclear,) = judge(alike, make_test_rows())
    assert unclear["sentence"].startswith("No clear difference for the model as delivered (network + NB-SVM, ")
    assert unclear["sentence"].endswith(" against nbsvm.")


def test_a_combination_of_scores_is_named_with_its_correlation() -> None:
    random = np.random.default_rng(0)
    targets = random.normal(size=200)
    lines = [{"row": row, "text": f"row {row}", "label": label} for row, label in enumerate(targets.tolist())]
    test = HeldOutRows(task=task_named("regression"), names=["score"], lines=lines, metric="pearson")
    runs = [
        Contender(name=name, kind=kind, runs=[targets + noise * random.normal(size=200)])
        for name, kind, noise in (("ridge", "ridge", 1.0), ("network", "pretrained", 3.0), ("both", "stack", 0.3))
    ]
    (verdict,) = judge(runs, test)
    assert verdict["sentence"].startswith("The model as delivered (both, Pearson correlation 0.9")


def test_parts_of_one_document_are_one_observation() -> None:
    """Thirty documents of ten parts give the verdict of thirty rows, on all of them and on a slice."""
    entity, task = [0, 1, 0], task_named("tokens")
    found = np.random.default_rng(0).random((2, 30)) < [[0.4], [0.7]]

    def verdicts(parts: int) -> list[dict[str, Any]]:
        lines = [
            {
                "row": row,
                "part": part,
                "text": f"row {row}, part {part}",
                "label": [entity],
                "slice": "many" if row < 21 else "few",
            }
            for row in range(30)
            for part in range(parts)
        ]
        runs = [
            Contender(
                name=kind,
                kind=kind,
                runs=[task.from_lines([{"predicted": [entity] if right[line["row"]] else []} for line in lines])],
            )
            for kind, right in zip(("scratch", "pretrained"), found, strict=True)
        ]
        return judge(runs, HeldOutRows(task=task, names=["LOC"], lines=lines, metric="entity_f1"))

    whole, cut = verdicts(1), verdicts(10)
    assert [verdict.get("slice") for verdict in cut] == [verdict.get("slice") for verdict in whole] == [None, "many"]
    for one, other in zip(whole, cut, strict=True):
        assert other["p_value"] == pytest.approx(one["p_value"])
        assert other["difference_interval"] == pytest.approx(one["difference_interval"])


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_parts_of_one_sentence_are_one_observation(task: str) -> None:
    """Forty sentences, each with two of its phrases, on which a model does as on the sentence."""
    random, rules = np.random.default_rng(0), task_named(task)
    metric = {"classification": "accuracy", "multilabel": "micro_f1", "regression": "spearman"}[task]
    labels: list[Any] = random.integers(2, size=40).tolist()
    right = random.random((2, 40)) < [[0.6], [0.85]]
    if task == "regression":
        labels = random.normal(size=40).tolist()

    def output_of(sentence: int, kind: int) -> dict[str, Any]:
        label = labels[sentence]
        if task == "regression":
            return {"predicted": label + (0.1 if right[kind, sentence] else 2.0 * (-1) ** sentence)}
        found = label if right[kind, sentence] else 1 - label
        probabilities = [0.8 if place == found else 0.2 for place in range(2)]
        return {"predicted": found if task == "classification" else [found], "probabilities": probabilities}

    def compare(phrases: int) -> tuple[list[float], dict[str, Any]]:
        texts = [f"the {n} film is {n} and very funny" for n in range(40)]
        lines, sentences = [], []
        for sentence, text in enumerate(texts):
            for text_or_part in (text, f"film is {sentence}", f"is {sentence} and very")[:phrases]:
                label = [labels[sentence]] if task == "multilabel" else labels[sentence]
                lines.append({"row": len(lines), "text": text_or_part, "label": label})
                sentences.append(sentence)
        runs = [
            Contender(name=kind, kind=kind, runs=[rules.from_lines([output_of(each, place) for each in sentences])])
            for place, kind in enumerate(("scratch", "pretrained"))
        ]
        test = HeldOutRows(task=rules, names=["bad", "good"], lines=lines, metric=metric)
        (verdict,) = judge(runs, test)
        assert describe_contender(runs[1], test)["n"] == 40 * phrases
        return over_seeds(test.statistics(runs[1], metric))[1], verdict

    (interval, verdict), (of_parts, with_parts) = compare(1), compare(3)
    assert of_parts == pytest.approx(interval, abs=0.01)
    assert with_parts["difference_interval"] == pytest.approx(verdict["difference_interval"])
    assert with_parts["p_value"] == pytest.approx(verdict["p_value"])


def test_phrases_do_not_make_up_the_rows_that_a_slice_needs() -> None:
    lines = [
        {"row": row, "text": f"the film {row // 2} is good" if row % 2 else f"film {row // 2} is", "slice": "small"}
        for row in range(38)
    ]
    test = HeldOutRows(task=task_named("classification"), names=["bad", "good"], lines=lines, metric="accuracy")
    assert test.count("small") == 19
