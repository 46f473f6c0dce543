from __future__ import annotations

from typing import Any

import pytest
from rich.cells import cell_len

from pretune.reporting.sections.training import loss_chart, render_training, render_watched, score_chart
from pretune.terminal import Page, to_text


def rendered(run: Any, width: int = 100) -> str:
    page = Page(width)
    return to_text(render_training(run.trace, page), page)


def test_both_phases_have_their_rows_and_reference_lines(full_run: Any) -> None:
    text = rendered(full_run)
    for part in (
        "ln V 9.01",
        "unigram entropy 6.12",
        "ln K 0.693",
        "prior 0.693",
        "most frequent token 4.1 %",
        "majority class 50.8 %",
    ):
        assert part in text
    assert "  0.76    480  5.72    19.9 %  5.77    18.9 % ±0.5  0:28  below the unigram entropy" in text
    assert "  3.00    750  0.041    98.8 %  0.139    96.4 % ±1.2  0:24  highest so far, within noise" in text
    assert "synthetic data" in text


def test_the_plan_says_from_where_on_rows_are_longer(full_run: Any) -> None:
    assert "decay from step 1,440 · longer rows after step 2,160" in " ".join(rendered(full_run).split())
    [plan] = (event for event in full_run.events if event["event"] == "plan")
    plan["long_start_step"] = plan["steps"]
    assert "longer rows" not in rendered(full_run)


def test_several_processes_are_named(full_run: Any) -> None:
    assert "processes" not in rendered(full_run)
    estimate = next(event for event in full_run.events if event["event"] == "estimate" and event["stage"] == "pretrain")
    estimate["processes"] = 3
    assert "2 threads · 3 processes" in " ".join(rendered(full_run).split())


def test_masked_and_classifier_loss_never_share_a_panel(full_run: Any) -> None:
    phases = full_run.trace.phases
    pretraining, finetuning = loss_chart(phases.pretrain), loss_chart(phases.finetune)
    assert pretraining.title != finetuning.title
    assert min(y for _, y in pretraining.series[0].points) > max(y for _, y in finetuning.series[0].points)
    assert score_chart(phases.finetune).markers[0].point == (3.0, 0.964)


def test_the_chart_is_the_table(full_run: Any) -> None:
    phase = full_run.trace.phases.pretrain
    validation, train = loss_chart(phase).series
    assert list(validation.points) == [(row.epoch, row.loss) for row in phase.evaluations]
    assert list(train.points) == [(row.epoch, row.train_loss) for row in phase.evaluations[1:]]


def test_watched_sentences_show_the_first_the_middle_and_the_last_guess(full_run: Any) -> None:
    page = Page(120)
    text = to_text(render_watched(full_run.trace.watched, page), page)
    first, below = text.splitlines()[4:6]
    assert " ".join(first.split()) == "The sun rises in the [MASK]. the 5.0 % west 28.3 % east 55.0 % ✓"
    assert below.split("  ")[0].strip() == "masked: east"
    assert "east: 1.0 %, rank 3,002" in below


def test_all_trials_and_the_test_split_are_listed(full_run: Any) -> None:
    text = rendered(full_run)
    assert "     0  0.0005     0           3      96.4 %  0.139  no better score  ● chosen" in text
    assert "seed 0: accuracy 95.6 % (95 % interval 94.3 to 96.9), macro-F1 0.956, loss 0.148, n = 998" in text
    assert "slice known words 97.8 % (n = 499)" in " ".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 84, 100, 140])
def test_no_line_is_wider_than_the_page(full_run: Any, width: int) -> None:
    assert max(cell_len(line) for line in rendered(full_run, width).splitlines()) <= width


def test_an_interrupted_run_shows_its_evaluations_so_far(builder: Any) -> None:
    assert "No model has been evaluated yet." in rendered(builder)
    builder.add("pretrain", "evaluation", step=0, epoch=0.0, loss=9.0, accuracy=0.0, n=100)
    text = rendered(builder)
    assert "  0.00     0     -         -  9.00       0 % ±0.0     -  no measurable change" not in text
    assert "9.00       0 % ±0.0" in text


def test_a_trial_of_the_rate_search_is_marked_with_its_rows(full_run: Any) -> None:
    """It is trained on fewer rows, so its score does not compare with that of the others."""
    for event in full_run.events:
        if event["event"] == "trial_started":
            event |= {"rows": 3000 if event["trial"] == 1 else 9000, "is_search": event["trial"] == 1}
    assert rendered(full_run).count("search, 3,000 rows") == 1
    assert max(cell_len(line) for line in rendered(full_run, 76).splitlines()) <= 76


def test_the_epochs_of_a_small_part_of_the_text_are_told_apart(builder: Any) -> None:
    """On a narrow page, they are all that tells one row from another."""
    for step in range(3):
        builder.add("pretrain", "evaluation", step=step, epoch=0.0034 * step, loss=9.0, accuracy=0.1, n=100)
    shown = [line.split()[0] for line in rendered(builder, 80).splitlines() if "9.00 " in line and "±" in line]
    assert shown == ["0.000", "0.003", "0.007"]


def test_the_best_epoch_of_a_trial_has_its_decimals(full_run: Any) -> None:
    for event in full_run.events:
        for name in ("epoch", "best_epoch"):
            if event["stage"] == "finetune" and name in event:
                event[name] /= 1000
    assert "     0  0.0005     0       0.003      96.4 %" in rendered(full_run)
