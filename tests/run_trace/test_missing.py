from __future__ import annotations

from dataclasses import replace
from typing import Any

from pretune.run_trace.build import fold_events
from pretune.run_trace.headline import NOT_COMPARED
from pretune.run_trace.missing import DAMAGED, find_missing
from pretune.run_trace.run_card import RunFolder
from pretune.trace_schema import RunTrace, Strategies

COMPARE = "pretune compare tested/finetune tested/prepare --out tested/compare && pretune report tested"


def sections(trace: RunTrace) -> dict[str, str]:
    return {missing.section: missing.sentence for missing in find_missing(trace)}


def test_a_whole_run_lacks_nothing(traced: RunTrace) -> None:
    assert find_missing(traced) == []


def test_each_part_that_is_not_there_is_named_with_a_command(traced: RunTrace) -> None:
    bare = replace(traced, comparison=None, predictions=[], errors=None, quiz=None, insights=[])
    assert set(sections(bare)) == {"help", "prediction", "errors", "quiz", "insight"}
    commands = {missing.section: missing.command for missing in find_missing(bare)}
    assert commands.pop("insight") is None  # the same command would not find anything to say, either
    assert set(commands.values()) == {"pretune run tested/recipe.toml"}


def test_a_run_at_work_has_not_come_so_far(traced: RunTrace) -> None:
    running = replace(traced, run=replace(traced.run, status="running"), errors=None)
    expected = "The run has not come so far: it needs the predictions of the test rows."
    assert sections(running)["errors"] == expected


def test_a_run_without_labels_does_not_wait_for_a_comparison() -> None:
    """Labels are split before the text is read; those of the built-in world are written by stage 1."""
    expected = "The run has no labels, so there is no classifier to look at."

    def said(*stages: str, recipe: dict[str, str] | None, synthetic: bool = False) -> set[str]:
        events: list[dict[str, Any]] = [
            {"event": "stage_started", "stage": name, "time": 1.0, "synthetic": synthetic} for name in stages
        ]
        trace = fold_events(events, RunFolder(name="run", recipe=recipe))
        found = sections(trace)
        assert not any(
            "LABELLED.csv" in (missing.command or "") for missing in find_missing(trace)
        )  # there is no base yet
        return {found[each] for each in ("help", "prediction", "errors")}

    corpus = {"corpus": "reviews.txt"}
    assert said("collect", recipe=corpus) == said("collect", "preprocess", "pretrain", recipe=corpus) == {expected}
    labelled = corpus | {"labels": "labelled.csv"}
    assert expected not in said("split", "collect", "preprocess", "pretrain", recipe=labelled)
    assert expected not in said("collect", recipe={}, synthetic=True)
    assert expected not in said("collect", "split", "preprocess", recipe={}, synthetic=True)
    assert expected not in said("collect", "preprocess", "pretrain", recipe=None)


def test_a_run_without_test_rows_says_how_to_get_some(traced: RunTrace) -> None:
    stages = [stage for stage in traced.stages if stage.name != "compare"]
    assert traced.phases.finetune is not None
    phases = replace(traced.phases, finetune=replace(traced.phases.finetune, test=[]))
    bare = replace(traced, stages=stages, phases=phases, comparison=None, errors=None)
    assert "give --test-labels or --test-fraction" in sections(bare)["help"]
    assert "give --test-labels or --test-fraction" in sections(bare)["errors"]
    commands = {missing.section: missing.command for missing in find_missing(bare)}
    expected = "pretune run tested/recipe.toml --test-fraction 0.1 --out tested-tested"
    assert commands["help"] == commands["errors"] == expected
    without_recipe = replace(bare, run=replace(bare.run, command=""))
    assert {missing.command for missing in find_missing(without_recipe)} == {None}


def test_a_run_that_was_tuned_on_conversations_is_not_asked_for_test_rows(traced: RunTrace) -> None:
    assert traced.phases.finetune is not None
    tuned = replace(traced.phases.finetune, objective="replies", test=[])
    stages = [stage for stage in traced.stages if stage.name != "compare"]
    bare = replace(traced, stages=stages, comparison=None, predictions=[], errors=None)
    bare = replace(bare, phases=replace(traced.phases, finetune=tuned))
    found = [missing for missing in find_missing(bare) if missing.section in ("help", "prediction", "errors")]
    assert {(missing.sentence, missing.command) for missing in found} == {
        ("The run was tuned on conversations, so there is no classifier to look at.", None)
    }


def test_the_folder_of_a_tuning_on_conversations_is_no_part_of_a_run(traced: RunTrace) -> None:
    """A base was tuned in this folder, so there is no whole run that has more."""
    tuned = replace(traced.phases.finetune, objective="replies", test=[])  # type: ignore[type-var]
    [stage] = [stage for stage in traced.stages if stage.name == "finetune"]
    bare = replace(traced, run=replace(traced.run, command=""), stages=[stage], quiz=None, predictions=[], errors=None)
    bare = replace(bare, comparison=None, phases=replace(traced.phases, pretrain=None, finetune=tuned, scratch=None))
    assert sections(bare)["help"].startswith("The run was tuned on conversations")
    assert not any("folder of the whole run" in sentence for sentence in sections(bare).values())
    alone = replace(bare, phases=replace(bare.phases, finetune=traced.phases.finetune))
    assert "folder of the whole run has more" in sections(alone)["help"]


def test_stages_that_were_tested_but_not_compared_have_test_rows(traced: RunTrace) -> None:
    stages = [stage for stage in traced.stages if stage.name != "compare"]
    bare = replace(traced, stages=stages, comparison=None, errors=None)
    assert sections(bare)["help"] == "The stage compare has not run, so nothing was compared on the test rows."
    assert "has no test rows" not in sections(bare)["errors"]


def test_a_run_that_got_its_labels_later_is_not_run_again(traced: RunTrace) -> None:
    """Its recipe has no labels, so the advised `pretune run recipe.toml` did nothing."""
    assert traced.comparison is not None
    later = [stage for stage in traced.stages if stage.name not in ("split", "scratch", "compare")]
    bare = replace(traced, stages=later, comparison=None)
    [damaged, _] = find_missing(replace(bare, predictions=[]), is_damaged=True)
    assert damaged.command == COMPARE
    [missing] = find_missing(bare)
    assert missing.section == "help"
    assert missing.command == COMPARE
    models = [model for model in traced.comparison.models if model.kind != "scratch"]
    [missing] = find_missing(replace(bare, comparison=replace(traced.comparison, models=models)))
    assert "Fine-tune with --from-scratch" in missing.sentence
    assert missing.command is None
    stages = [replace(each, status="missing") if each.name == "finetune" else each for each in later]
    prepared = replace(bare, stages=stages, phases=replace(bare.phases, finetune=None), errors=None)
    rest = "pretune finetune tested tested/prepare --out tested/finetune && " + COMPARE
    assert {(missing.section, missing.command) for missing in find_missing(prepared)} == {
        ("help", rest),
        ("errors", rest),
    }


def test_a_control_that_was_trained_later_is_compared_by_its_own_command(traced: RunTrace) -> None:
    assert traced.comparison is not None
    later = [stage for stage in traced.stages if stage.name != "split"]
    models = [model for model in traced.comparison.models if model.kind != "scratch"]
    [missing] = find_missing(replace(traced, stages=later, comparison=replace(traced.comparison, models=models)))
    scratch = COMPARE.replace("--out", "--scratch tested/scratch --out")
    assert missing.command == scratch.replace("compare &&", "compare --redo &&")  # it was compared without it
    uncompared = [stage for stage in later if stage.name != "compare"]
    [missing] = find_missing(replace(traced, stages=uncompared, comparison=None))
    assert missing.command == scratch


def test_a_comparison_without_the_control_is_incomplete(traced: RunTrace) -> None:
    assert traced.comparison is not None
    models = [model for model in traced.comparison.models if model.kind != "scratch"]
    bare = replace(traced, comparison=replace(traced.comparison, models=models))
    stages = [stage for stage in bare.stages if stage.name != "scratch"]
    untrained = replace(bare, stages=stages)
    assert "Set control = true in recipe.toml" in sections(untrained)["help"]
    without_recipe = replace(untrained, run=replace(untrained.run, command=""))
    assert "Fine-tune with --from-scratch" in sections(without_recipe)["help"]
    assert "recipe.toml" not in sections(without_recipe)["help"]
    [finished] = [stage for stage in bare.stages if stage.name == "finetune"]
    trained = replace(bare, stages=[*stages, replace(finished, name="scratch")])
    assert sections(trained)["help"] == NOT_COMPARED


def test_a_comparison_of_strategies_has_its_own_section_and_lacks_nothing() -> None:
    strategies = Strategies(
        budget="", base="", held_out=[], strategies=[], reference_style=None, verdicts=[], conclusion="", reason="",
        coverage="", answers=[], notice=None,
    )  # fmt: skip
    trace = replace(fold_events([], RunFolder(name="strategies")), strategies=strategies)
    assert find_missing(trace) == []
    assert [missing.section for missing in find_missing(trace, damaged_lines={"strategies": 1})] == ["help"]


def test_a_damaged_file_is_named_as_such(traced: RunTrace) -> None:
    bare = replace(traced, predictions=[])
    assert [m.sentence for m in find_missing(bare, is_damaged=True) if m.section == "prediction"] == [DAMAGED]
    assert find_missing(traced, is_damaged=True) == []


def test_lines_of_a_log_that_cannot_be_read_are_counted(traced: RunTrace) -> None:
    found = find_missing(traced, damaged_lines={"pretrain": 1, "compare": 12})
    assert [missing.sentence for missing in found] == [
        "1 line of pretrain/events.jsonl cannot be read; figures may be missing.",
        "12 lines of compare/events.jsonl cannot be read; figures may be missing.",
    ]
