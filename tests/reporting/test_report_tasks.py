"""What the terminal shows of runs with several labels, numbers and entities: their metric, and no accuracy."""

from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from pretune.reporting.progress import Narrator
from pretune.reporting.sections.comparison import render_comparison
from pretune.reporting.sections.training import loss_chart, render_training, score_chart
from pretune.run_trace.build import fold_events
from pretune.run_trace.run_card import RunFolder
from pretune.terminal import Page, to_text
from pretune.trace_schema import RunTrace

TASKS = {"micro_f1": ("micro-F1", 0.431), "pearson": ("Pearson correlation", -0.12), "entity_f1": ("entity F1", 0.8)}
OTHERS = {
    "micro_f1": {"macro_f1": 0.31, "subset_accuracy": 0.25, "mean_average_precision": 0.4},
    "pearson": {"spearman": -0.1, "mean_absolute_error": 0.79, "root_mean_squared_error": 1.0, "r2": -0.2},
    "entity_f1": {"precision": 0.75, "recall": 0.85, "macro_f1": 0.7},
}


def written(value: float) -> str:
    """As a display shows it: three digits, and a true minus sign."""
    return f"{value:.3f}".replace("-", "−")


def fill(builder: Any, metric: str) -> RunTrace:
    """A run of a task: two evaluations, a trial, a test and a comparison."""
    value = TASKS[metric][1]

    def figures(scale: float) -> dict[str, Any]:
        own = scale * value
        return {metric: own, f"{metric}_interval": [own - 0.02, own + 0.02], **OTHERS[metric], "n": 500}

    builder.add("finetune", "references", prior_nats=1.0)
    builder.add("finetune", "trial_started", trial=0, learning_rate=0.001, seed=0, epochs=2, rows=900, is_search=False)
    for epoch, scale in ((1, 0.5), (2, 1.0)):
        builder.add(
            "finetune", "evaluation", trial=0, step=10 * epoch, epoch=float(epoch), loss=1.0 / epoch, train_loss=0.9,
            train_accuracy=0.99, elapsed_seconds=3.0, **figures(scale),
        )  # fmt: skip
    builder.add(
        "finetune", "trial_finished", trial=0, learning_rate=0.001, seed=0, best_epoch=2.0, best_step=20,
        validation_accuracy=None, validation_loss=0.5, metric=metric, stopped="epochs", **{metric: value},
    )  # fmt: skip
    builder.add("finetune", "test", seed=0, loss=0.6, **figures(0.9))
    rows = [
        {"name": kind, "kind": kind, "metric": metric, "seeds": [scale * value], **figures(scale)}
        for kind, scale in (("ridge", 0.4), ("pretrained", 0.9))
    ]
    builder.add("compare", "comparison", rows=rows, verdicts=[], coverage="")
    return fold_events(builder.events, RunFolder(name="demo"))


@pytest.mark.parametrize("metric", TASKS)
def test_the_training_trace_has_the_metric_of_the_task(builder: Any, metric: str) -> None:
    trace = fill(builder, metric)
    phase = trace.phases.finetune
    assert phase is not None and phase.metric == metric
    assert [row.score for row in phase.evaluations] == pytest.approx([0.5 * TASKS[metric][1], TASKS[metric][1]])
    assert all(row.accuracy is None and row.train_accuracy is None for row in phase.evaluations)
    text = to_text(render_training(trace, Page(120, "unicode")), Page(120, "unicode"))
    title, value = TASKS[metric]
    assert f"{written(value)} ±0.020" in text
    rows = "rows" if metric == "entity_f1" else "texts"  # a long text of entities may be several rows
    assert f"validation: loss, and {title} ± half its 95 % interval, on 500 {rows}" in text
    assert f" on 500 {rows}." in trace.run.detail
    assert f"seed 0: {title} {written(0.9 * value)}" in text
    assert "accuracy" not in text.lower() and "ln K" not in text
    assert title.split()[0].lower() in score_chart(phase).title.lower()
    unit = "squared deviations" if metric == "pearson" else "nats per"
    assert unit in loss_chart(phase).title
    assert score_chart(phase).y_limits == ((-1.0 if metric == "pearson" else 0.0), 1.0)


@pytest.mark.parametrize("metric", TASKS)
@pytest.mark.parametrize("width", [60, 100, 140])
def test_the_comparison_has_the_figures_of_the_task(builder: Any, metric: str, width: int) -> None:
    trace, page = fill(builder, metric), Page(width, "unicode")
    text = to_text(render_comparison(trace, page), page)
    assert written(0.9 * TASKS[metric][1]) in text
    assert f"on the same 500 test {'rows' if metric == 'entity_f1' else 'texts'}" in " ".join(text.split())
    assert max(cell_len(line) for line in text.splitlines()) <= width
    if width == 140:
        for value in OTHERS[metric].values():
            assert any(shown in text for shown in (written(value), f"{100 * value:.1f} %"))
    assert "accuracy" not in text


@pytest.mark.parametrize("metric", TASKS)
def test_each_event_deserves_its_line(builder: Any, metric: str) -> None:
    fill(builder, metric)
    narrator, lines = Narrator(), []
    for event in builder.events:
        narrator.follow(event)
        lines.append(narrator.sentence(event))
    title, value = TASKS[metric]
    figure = f"{title} {written(value)}"
    assert any(line and f"validation loss 0.500  {figure}" in line for line in lines)
    assert f"trial 0: kept epoch 2, validation {figure}" in lines
    assert any(line and line.startswith(f"test set, seed 0: {title} ") for line in lines)
    training = {"event": "train", "stage": "finetune", "trial": 0, "step": 1, "loss": 1.0, "accuracy": 0.2, "time": 9.0}
    assert "accuracy" not in (narrator.progress(training) or ("",))[0]
