"""`run`: the split and the five stages, then the control from scratch, the comparison and the trace of it all.

It calls the stage functions one after another; a stage that is finished returns at once.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Container
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pretune.errors import ModelError, PretuneError, UsageError
from pretune.estimate_run import describe, estimate_run
from pretune.model.config import PREDICTED
from pretune.recipe import Recipe, check_inputs, read_recipe
from pretune.run_changes import (
    announce_left_out,
    changed_parts,
    claim_folder,
    refuse_other_run,
    stage_status,
    stages_left_out,
    stages_to_redo,
)
from pretune.run_trace.stages import TITLES
from pretune.runtime.atomic import write_json
from pretune.runtime.home import expand_home
from pretune.runtime.launch import read_launch
from pretune.runtime.manifest import (
    OWN_HASH,
    RECIPE_NAME,
    REPORT_NAME,
    TRACE_NAME,
    Manifest,
    read_manifest,
    read_manifest_if_any,
    sealed,
)
from pretune.runtime.stage_folder import run_stage, set_aside
from pretune.settings import FinetuneConfig
from pretune.stages.collect.stage import BUILTIN_LABELS, BUILTIN_TEST_LABELS, refuse_terminal
from pretune.text.sources.public_data import Agree, Say

if TYPE_CHECKING:
    from pretune.trace_schema import RunTrace

PRETRAIN = "pretrain"  # the stage that several processes share
NEED_TEST_ROWS = ("scratch", "compare")  # stages that only show, on the test rows, whether pre-training helped


def dry_run(recipe: Recipe, say: Say, *, redo: bool = False) -> None:
    """Print what a run of this recipe would do and take, without writing anything.

    Raises the errors that `run` raises before its first stage.
    """
    folder = _folder_of(recipe)
    _check(recipe, folder)
    found, stages = refuse_other_run(folder, recipe, redo=redo, say=say), plan_stages(recipe, folder)
    announce_left_out(stages_left_out(folder, recipe, found), say)
    again = stages_to_redo(folder, [stage.name for stage in stages], found, redo=redo)
    announce(recipe, stages, folder, say, again, is_begun_estimated=True)


def run(
    recipe: Recipe | Path | str,
    *,
    redo: bool = False,
    say: Say | None = None,
    agree: Agree | None = None,
    report: bool = True,
) -> Path:
    """Run all stages that a recipe, or a file with one, needs and return the folder of the run.

    A second call resumes and skips finished stages. `say` receives the few sentences that belong to no stage: the
    plan of the run, and what is skipped. `agree` is asked whether a public data set may be downloaded. With `report`,
    the run ends with its page as one file, which a second call writes again. Raises FolderInTheWayError if the folder
    contains another run or foreign files; with `redo`, the folders of stages that differ are renamed and these stages
    run again.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    folder = _folder_of(recipe)
    _check(recipe, folder)
    say = say or (lambda _sentence: None)
    stages = plan_stages(recipe, folder, agree=agree, say=say)
    with ExitStack() as held:
        if (launch := read_launch()).size > 1:
            stages = _pretrain_together(recipe, stages, folder, held, redo=redo, say=say)
            if not launch.is_first:
                return folder
        else:
            _begin(recipe, stages, folder, held, redo=redo, say=say)
        for stage in stages:
            if stage.name in NEED_TEST_ROWS and not _has_test_rows(folder):
                say(f"Skipping {stage.name}: there are no test rows.")
                continue
            _do(stage, redo=redo)
        write_run_trace(folder)
        if report:
            write_page(folder, say)
    return folder


def _folder_of(recipe: Recipe) -> Path:
    if recipe.out is None:
        raise UsageError("Give --out DIR, the folder of the run, for example --out runs/demo.")
    return expand_home(recipe.out)


def _check(recipe: Recipe, folder: Path) -> None:
    """Raise now what a later stage would raise after hours, or once the recipe of a finished run has been replaced."""
    from pretune.compute.device import refuse_without_compiler, use_threads
    from pretune.stages.prepare import refuse_notice
    from pretune.stages.pretrain.base_model import fit_to_base

    check_inputs(recipe)
    if read_launch().is_first:  # the only process that reads the text
        refuse_terminal(recipe.corpus)
    refuse_notice(recipe.prepare)
    use_threads(recipe.pretrain.threads)
    refuse_without_compiler(recipe.pretrain.compile)
    changed = changed_parts(folder, recipe)
    if recipe.base is None:
        fit_to_base(recipe.pretrain, None)
    elif stage_status(folder / "pretrain") == "missing" or not changed.isdisjoint(("base", "preprocess", "pretrain")):
        _check_base(recipe, Path(recipe.base))
    is_split = stage_status(folder / "split") != "missing"
    if not is_split or not changed.isdisjoint(("labels", "test_labels", "split", "finetune")):
        _check_labels(recipe)


def _check_base(recipe: Recipe, base: Path) -> None:
    """Raise the errors of a base from which pre-training cannot start, and of settings that it leaves no room for."""
    from pretune.stages.preprocess.stage import refuse_tokenizer_settings
    from pretune.stages.pretrain.base_model import open_base

    refuse_tokenizer_settings(recipe.preprocess)
    open_base(base, recipe.pretrain)


def _pretrain_together(
    recipe: Recipe, stages: list[PlannedStage], folder: Path, held: ExitStack, *, redo: bool, say: Say
) -> list[PlannedStage]:
    """Run the stages up to pre-training with several processes: all of them pre-train, the first one does the rest.

    Returns the remaining stages, which the first process runs alone: training a classifier takes minutes, and the
    machines of the others are free meanwhile.
    """
    from pretune.compute.ranks import join_ranks

    ranks = join_ranks()
    place = [stage.name for stage in stages].index(PRETRAIN)

    def begin() -> None:
        _begin(recipe, stages, folder, held, redo=redo, say=say)
        for stage in stages[:place]:
            _do(stage, redo=redo)

    ranks.answer(begin, "the stages before pre-training")
    _do(stages[place], redo=redo)
    if stages[place + 1 :]:
        say(f"{ranks.size} processes have pre-trained the model; the first one continues alone.")
    return stages[place + 1 :]


def _begin(recipe: Recipe, stages: list[PlannedStage], folder: Path, held: ExitStack, *, redo: bool, say: Say) -> None:
    """Claim the folder of the run, and say what the run will do there."""
    found = claim_folder(folder, recipe, held, redo=redo, say=say)
    announce(recipe, stages, folder, say, stages_to_redo(folder, [stage.name for stage in stages], found, redo=redo))


def announce(
    recipe: Recipe,
    stages: list[PlannedStage],
    folder: Path,
    say: Say,
    again: Container[str],
    *,
    is_begun_estimated: bool = False,
) -> None:
    """Print the stages of the run, which of them are finished, which are done `again`, and what the run will take; for
    one that has begun, only if a stage is done again or with `is_begun_estimated`."""
    states = {stage.name: stage_status(folder / stage.name) for stage in stages}
    states |= {stage.name: "again" for stage in stages if stage.name in again}
    words = {"finished": "finished", "running": "resuming", "missing": "", "again": "to be done again"}
    say(f"Run in {folder}" + (" on built-in, synthetic text:" if recipe.is_builtin else ":"))
    for stage in stages:
        state = words[states[stage.name]]
        if stage.name == "scratch" and states[stage.name] == "again" and not recipe.control:
            state = "renamed, since no control is wanted"
        say(f"  {stage.name:<11} {stage.title}" + (f" - {state}" if state else ""))
    if not recipe.has_labels:
        say("No --labels given, so the run ends with the pre-trained model.")
    if all(state == "finished" for state in states.values()):
        say("All stages are finished; the results are read from their logs.")
        return
    has_begun = any(state != "missing" for state in states.values())
    is_estimated = is_begun_estimated or not has_begun or "again" in states.values()
    if has_begun and is_estimated:
        say("The estimate is for the whole run; what is finished is not done again.")
    for line in describe(estimate_run(recipe), folder) if is_estimated else ():
        say(line)


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of a run: the name of its folder, a title, and the call."""

    name: str
    title: str
    do: Callable[[bool], Manifest | None]


def _check_labels(recipe: Recipe) -> None:
    """Raise InputDataError for labelled rows that cannot work, and UsageError for weights or a student that their task
    does not have, before anything is written."""
    from pretune.tasks.labelled_file import split_file
    from pretune.tasks.registry import task_named
    from pretune.tasks.task import refuse_class_weights, refuse_self_training

    if recipe.labels is not None:
        found = split_file(Path(recipe.labels), _optional_path(recipe.test_labels), recipe.split)
        task = task_named(found.rules.name)
        refuse_class_weights(task, recipe.finetune.class_weights)
        if recipe.finetune.self_train:
            has_pairs = any(row.text_pair is not None for row in found.all)
            refuse_self_training(task, [row.text for row in found.by_split["validation"]], has_pairs=has_pairs)


def _do(stage: PlannedStage, *, redo: bool) -> None:
    """Run one stage. `redo` affects only a folder that differs; finished, unchanged work is kept.

    Errors get the name of the stage, by which the command line knows what its options are called there.
    """
    try:
        run_stage(stage.do, redo=redo)
    except PretuneError as error:
        error.stage = stage.name
        raise


def _has_test_rows(folder: Path) -> bool:
    """Whether there are test rows; there are none with `--test-fraction 0`, and maybe none with few labelled rows."""
    return read_manifest(folder / "prepare", "prepare").summary.get("test") != 0


def plan_stages(
    recipe: Recipe, folder: Path, *, agree: Agree | None = None, say: Say = lambda _sentence: None
) -> list[PlannedStage]:
    """The stages that a recipe needs, in order; `agree` and `say` are for downloads, as in `collect`."""
    has_split = recipe.has_labels
    labels, test_labels = _optional_path(recipe.labels), _optional_path(recipe.test_labels)
    base = _optional_path(recipe.base)
    if recipe.is_builtin:
        labels, test_labels = folder / "collect" / BUILTIN_LABELS, folder / "collect" / BUILTIN_TEST_LABELS

    def split(redo: bool) -> Manifest:
        from pretune.stages.split import split

        assert labels is not None
        return split(
            labels, folder / "split", recipe.split, test_labels=test_labels, redo=redo, synthetic=recipe.is_builtin
        )

    def collect(redo: bool) -> Manifest:
        from pretune.stages.collect.stage import collect

        return collect(
            recipe.corpus,
            folder / "collect",
            recipe.collect,
            split=None if recipe.labels is None else folder / "split",
            redo=redo,
            data_root=_optional_path(recipe.data_root),
            agree=agree,
            say=say,
            encoding_option="--corpus-encoding",
        )

    def preprocess(redo: bool) -> Manifest:
        from pretune.stages.preprocess.stage import preprocess

        return preprocess(
            folder / "collect",
            folder / "preprocess",
            recipe.preprocess,
            split=folder / "split" if has_split else None,
            protect=recipe.protect,
            base=base,
            redo=redo,
        )

    def pretrain(redo: bool) -> Manifest:
        from pretune.stages.pretrain.stage import pretrain

        return pretrain(folder / "preprocess", folder / "pretrain", recipe.pretrain, base=base, redo=redo)

    stages = [PlannedStage(name="collect", title=TITLES["collect"], do=collect)]
    if has_split:
        place = 1 if recipe.is_builtin else 0  # stage 1 writes the labelled examples of the built-in world
        stages.insert(place, PlannedStage(name="split", title=TITLES["split"], do=split))
    tokenize = "train the tokenizer" if base is None else "take the base's tokenizer"
    stages += [
        PlannedStage(name="preprocess", title=f"clean the text, {tokenize}, write tokens", do=preprocess),
        PlannedStage(name="pretrain", title=_describe_pretraining(recipe), do=pretrain),
    ]
    return stages + (_task_stages(recipe, folder) if has_split else [])


def _describe_pretraining(recipe: Recipe) -> str:
    objective = recipe.pretrain.objective
    if recipe.base is None:
        return f"learn to predict {PREDICTED['masked' if objective == 'auto' else objective]}"
    # With `auto` it is the objective of the base, whose folder is not read to list the stages.
    return f"go on learning to predict {'words of the text' if objective == 'auto' else PREDICTED[objective]}"


def _task_stages(recipe: Recipe, folder: Path) -> list[PlannedStage]:
    def prepare(redo: bool) -> Manifest:
        from pretune.stages.prepare import prepare

        return prepare(folder / "split", folder / "prepare", recipe.prepare, base=folder / "pretrain", redo=redo)

    def train(name: str, config: FinetuneConfig, redo: bool) -> Manifest:
        from pretune.stages.finetune.stage import finetune

        # If several processes have pre-trained the model, the others have ended.
        corpus = folder / "preprocess" if config.self_train else None
        return finetune(
            folder / "pretrain", folder / "prepare", folder / name, config, corpus=corpus, redo=redo, alone=True
        )

    def finetune(redo: bool) -> Manifest:
        return train("finetune", recipe.finetune, redo)

    def scratch(redo: bool) -> Manifest | None:
        if redo and not recipe.control:  # it belongs to other settings, and is not to be trained again
            set_aside(folder / "scratch")
            return None
        return train("scratch", replace(recipe.finetune, from_scratch=True, self_train=False), redo)

    def has_control() -> bool:
        return recipe.control or stage_status(folder / "scratch") == "finished"

    def compare(redo: bool) -> Manifest:
        from pretune.stages.compare import compare

        control = folder / "scratch" if has_control() else None
        before = read_manifest_if_any(folder / "compare")  # finished or not
        is_late = control is not None and before is not None and "scratch" not in before.inputs
        return compare(folder / "finetune", control, folder / "prepare", folder / "compare", redo=redo or is_late)

    return [
        PlannedStage(name="prepare", title=TITLES["prepare"], do=prepare),
        PlannedStage(name="finetune", title=TITLES["finetune"], do=finetune),
        *([PlannedStage(name="scratch", title=TITLES["scratch"], do=scratch)] if has_control() else []),
        PlannedStage(name="compare", title=TITLES["compare"], do=compare),
    ]


def _optional_path(path: str | None) -> Path | None:
    return None if path is None else Path(path)


def write_run_trace(run: Path) -> RunTrace:
    """Write the trace of a finished run, and return it. Predictions that were traced with the same model are kept."""
    from pretune.run_trace.build import build_run_trace
    from pretune.run_trace.codec import to_json
    from pretune.run_trace.recorded import read_recorded, traced_model

    recorded = read_recorded(run)
    predictions, fills = recorded.predictions, recorded.fills
    if recorded.fingerprint is None or recorded.fingerprint != traced_model(run):
        from pretune.tracing.examples import trace_examples

        predictions, fills = trace_examples(run)
    trace = build_run_trace(run, predictions=predictions, fills=fills)
    written = sealed(to_json(trace))
    if recorded.sha256 != written[OWN_HASH]:
        write_json(run / TRACE_NAME, written)
    return trace


def read_trace(run: Path, say: Say) -> RunTrace:
    """The trace of a run in any state. A finished model without traced predictions gets them, which takes seconds and
    is kept in trace.json; where that is not possible, `say` is told why, and the trace has none."""
    from pretune.run_trace.build import build_run_trace
    from pretune.run_trace.recorded import read_recorded, traced_model

    model = traced_model(run)
    if model is None or not (run / RECIPE_NAME).is_file() or read_recorded(run).fingerprint == model:
        return build_run_trace(run)
    say("Tracing some predictions of the model; this takes some seconds, once.")
    try:
        return write_run_trace(run)
    except (ModelError, OSError) as error:
        say(f"The predictions cannot be traced: {error}")
        return build_run_trace(run)


def write_page(run: Path, say: Say) -> None:
    """Write the page of a run into its folder; a file of another kind that is in the way is left there."""
    from pretune.page.report import write_report
    from pretune.run_trace.build import build_run_trace

    try:
        write_report(build_run_trace(run), run / REPORT_NAME, option=f"`pretune report {shlex.quote(str(run))} --out`")
    except UsageError as error:
        say(str(error))
