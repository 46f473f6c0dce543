"""What each verb does: the words that were typed become a settings object and a call; results go to stdout."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pretune.cli.answers import (
    describe_evaluation,
    describe_export,
    describe_fill,
    describe_next,
    describe_prediction,
    describe_verification,
)
from pretune.cli.arguments import as_typed_for_run
from pretune.cli.options import typed_values
from pretune.errors import EXIT_DONE, EXIT_MODEL, InputDataError, UsageError
from pretune.recipe import Recipe, override, read_recipe
from pretune.reporting.progress import live_progress
from pretune.reporting.report import show_prediction, show_run
from pretune.runtime.artifacts import MANIFEST_NAME
from pretune.runtime.events import read_run
from pretune.runtime.launch import read_launch

Arguments = argparse.Namespace
DROPPED_SHOWN = 10  # documents of a rule, where --limit says nothing else


def run(arguments: Arguments) -> int:
    """All five stages, then everything a run has to tell."""
    from pretune import pipeline

    recipe = _recipe_of(arguments)
    if arguments.dry_run:
        pipeline.foresee(recipe, _to_stdout)
        return EXIT_DONE
    say = (lambda _sentence: None) if arguments.quiet else _to_stderr
    with live_progress(sys.stderr, arguments.quiet):
        folder = pipeline.run(recipe, redo=arguments.redo, say=say, agree=_agreement(arguments))
    if read_launch().is_first:
        show_run(folder, sys.stdout)
        _to_stdout(describe_next(folder, recipe))
    return EXIT_DONE


def _recipe_of(arguments: Arguments) -> Recipe:
    """The recipe that was named, or none, with what was typed in its place."""
    recipe = read_recipe(Path(arguments.recipe)) if arguments.recipe else Recipe()
    inputs = ("corpus", "labels", "test_labels", "protect", "data_root", "out", "control")
    typed = {name: getattr(arguments, name) for name in inputs}
    recipe = override(recipe, {name: value for name, value in typed.items() if value is not None})
    for stage, settings in typed_values(arguments).items():
        try:
            recipe = override(recipe, {stage: settings})
        except UsageError as error:
            raise UsageError(as_typed_for_run(stage, str(error))) from error
    return recipe


# --- the stages alone -------------------------------------------------------------------------------------------------


def collect(arguments: Arguments) -> int:
    """Stage 1."""
    from pretune.stages.collect import collect

    config, out = _settings(arguments).collect, Path(arguments.out)
    with live_progress(sys.stderr, arguments.quiet):
        collect(
            arguments.paths,
            out,
            config,
            labels=_path(arguments.labels),
            redo=arguments.redo,
            data_root=_path(arguments.data_root),
            agree=_agreement(arguments),
            say=(lambda _sentence: None) if arguments.quiet else _to_stderr,
        )
    return _show_stage(out)


def _agreement(arguments: Arguments) -> Callable[[str], bool] | None:
    """How a download is agreed to: by --yes, by an answer in the terminal, or not at all."""
    if arguments.yes:
        return _tell_and_agree
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else None


def _tell_and_agree(plan: str) -> bool:
    _to_stderr(plan)
    return True


def _ask(plan: str) -> bool:
    sys.stderr.write(f"{plan}\nDownload it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def preprocess(arguments: Arguments) -> int:
    """Stage 2."""
    from pretune.stages.preprocess import preprocess

    config, out = _settings(arguments).preprocess, Path(arguments.out)
    with live_progress(sys.stderr, arguments.quiet):
        preprocess(
            _stage_folder(arguments.collected, "collect"),
            out,
            config,
            labels=_path(arguments.labels),
            test_labels=_path(arguments.test_labels),
            protect=arguments.protect or (),
            redo=arguments.redo,
        )
    return _show_stage(out)


def pretrain(arguments: Arguments) -> int:
    """Stage 3."""
    from pretune.stages.pretrain import pretrain

    config, out = _settings(arguments).pretrain, Path(arguments.out)
    if arguments.dry_run:
        from pretune.stages.pretrain_forecast import forecast

        for line in forecast(_stage_folder(arguments.preprocessed, "preprocess"), config).describe():
            _to_stdout(line)
        return EXIT_DONE
    with live_progress(sys.stderr, arguments.quiet):
        pretrain(_stage_folder(arguments.preprocessed, "preprocess"), out, config, redo=arguments.redo)
    return _show_stage(out)


def prepare(arguments: Arguments) -> int:
    """Stage 4."""
    from pretune.stages.prepare import prepare

    config, out = _settings(arguments).prepare, Path(arguments.out)
    with live_progress(sys.stderr, arguments.quiet):
        prepare(
            Path(arguments.labels),
            out,
            config,
            base=_stage_folder(arguments.base, "pretrain"),
            test_labels=_path(arguments.test_labels),
            redo=arguments.redo,
        )
    return _show_stage(out)


def finetune(arguments: Arguments) -> int:
    """Stage 5."""
    from pretune.stages.finetune import finetune

    config, out = _settings(arguments).finetune, Path(arguments.out)
    pretrained = _stage_folder(arguments.pretrained, "pretrain")
    with live_progress(sys.stderr, arguments.quiet):
        finetune(pretrained, _stage_folder(arguments.prepared, "prepare"), out, config, redo=arguments.redo)
    return _show_stage(out)


def compare(arguments: Arguments) -> int:
    """Did pre-training help?"""
    from pretune.stages.compare import compare

    out = Path(arguments.out)
    scratch = None if arguments.scratch is None else _stage_folder(arguments.scratch, "scratch")
    finetuned, prepared = _stage_folder(arguments.finetuned, "finetune"), _stage_folder(arguments.prepared, "prepare")
    with live_progress(sys.stderr, arguments.quiet):
        compare(finetuned, scratch, prepared, out, redo=arguments.redo)
    return _show_stage(out)


def _settings(arguments: Arguments) -> Recipe:
    """The settings that were typed, checked like those of a recipe; the rest are defaults."""
    return override(Recipe(), typed_values(arguments))


def _path(path: str | None) -> Path | None:
    return None if path is None else Path(path)


def _stage_folder(path: str, stage: str) -> Path:
    """A stage's folder, also where its run is named."""
    folder = Path(path)
    return folder / stage if (folder / stage / MANIFEST_NAME).is_file() else folder


def _show_stage(folder: Path) -> int:
    if read_launch().is_first:
        show_run(folder, sys.stdout)
    return EXIT_DONE


# --- using a model ----------------------------------------------------------------------------------------------------


def predict(arguments: Arguments) -> int:
    """Label and probability of texts, or of the rows of a file."""
    texts: Sequence[str] = arguments.texts
    if arguments.input is None and not texts:
        raise UsageError('Nothing to predict: give texts, as in pretune predict MODEL "A text.", or --input FILE.')
    if arguments.threads is not None:
        from pretune.compute.device import use_threads

        use_threads(arguments.threads)
    if arguments.input is not None:
        return _predict_file(arguments)
    for option, value in (("--output", arguments.output), ("--text-column", arguments.text_column)):
        if value is not None:
            raise UsageError(
                f"{option} is given without --input; name the file of texts with --input, or leave it out."
            )
    from pretune.stages.predict import predict

    for prediction in predict(arguments.model, texts):
        if arguments.json:
            _to_stdout(_json(vars(prediction)))
        else:
            _to_stdout(describe_prediction(prediction.text, prediction.label, prediction.probability))
    return EXIT_DONE


def _predict_file(arguments: Arguments) -> int:
    if arguments.texts:
        raise UsageError("Texts and --input are given; give one of them.")
    if arguments.json:
        raise UsageError("--json and --input are given; for JSON from a file, end the name of --output in .jsonl.")
    if arguments.output is None:
        raise UsageError("--input is given without --output; name the file to write, ending in .csv, .jsonl or .txt.")
    from pretune.stages.predict import predict_file

    say = (lambda _sentence: None) if arguments.quiet else _to_stderr
    done = predict_file(
        arguments.model,
        arguments.input,
        arguments.output,
        text_column=arguments.text_column,
        on_progress=lambda rows: say(f"{rows:,} rows"),
    )
    for entry in done.skipped:
        say(f"{entry['count']:,} rows skipped: {entry['reason']}")
    say(
        f"{done.rows:,} rows in {done.seconds:.1f} s: the texts in column {done.text_column}, the labels in column "
        f"{done.label_column} of {done.output}."
    )
    return EXIT_DONE


def evaluate(arguments: Arguments) -> int:
    """How good a model is on labelled examples."""
    from pretune.stages.evaluate import evaluate

    figures = evaluate(
        arguments.model,
        Path(arguments.labels),
        text_column=arguments.text_column,
        label_column=arguments.label_column,
        label_names=tuple(item for item in arguments.label_names.split(",") if item.strip()),
    )
    _to_stdout(_json(figures) if arguments.json else describe_evaluation(figures))
    return EXIT_DONE


def fill(arguments: Arguments) -> int:
    """The words that the pre-trained model predicts at each [MASK]."""
    from pretune.stages.fill import fill

    found = fill(arguments.model, arguments.text, top=arguments.top)
    if arguments.json:
        _to_stdout(_json(found))
        return EXIT_DONE
    _to_stdout(describe_fill(found["masks"]))
    return EXIT_DONE


def trace(arguments: Arguments) -> int:
    """One prediction through five layers."""
    from pretune.stages.trace import trace

    found = trace(arguments.model, arguments.text)
    if arguments.json:
        _to_stdout(_json(found))
    else:
        show_prediction(found, sys.stdout)
    return EXIT_DONE


def export(arguments: Arguments) -> int:
    """The tokens of stage 2 in another tool's format."""
    from pretune.stages.export import export

    done = export(
        _stage_folder(arguments.preprocessed, "preprocess"),
        arguments.out,
        arguments.to,
        view=arguments.view,
        row_tokens=arguments.row_tokens,
    )
    for part in done:
        if arguments.json:
            _to_stdout(_json({**vars(part), "files": [str(file) for file in part.files]}))
        else:
            _to_stdout(describe_export(vars(part)))
    return EXIT_DONE


def show(arguments: Arguments) -> int:
    """The tables of a run, again, from its logs; or what its second stage dropped."""
    run = Path(arguments.run)
    if arguments.dropped is not None:
        return _show_dropped(_stage_folder(arguments.run, "preprocess"), arguments)
    for option, value in (("--limit", arguments.limit), ("--json", arguments.json or None)):
        if value is not None:
            raise UsageError(f"{option} is given without --dropped RULE; give that as well, or leave it out.")
    if not read_run(run):
        raise InputDataError(f"{run} has no logs; expected the folder of a run or of a stage, or a copy of its logs.")
    show_run(run, sys.stdout)
    return EXIT_DONE


def _show_dropped(folder: Path, arguments: Arguments) -> int:
    """What a rule dropped, as it is listed in the stage's folder."""
    from itertools import islice

    from pretune.reporting.dropped import show_dropped
    from pretune.text.dropped import iter_dropped

    limit = DROPPED_SHOWN if arguments.limit is None else arguments.limit
    if limit < 1:
        raise UsageError(f"--limit is {limit}; expected at least 1.")
    documents = iter_dropped(folder, arguments.dropped)
    shown = list(islice(documents, limit))
    if arguments.json:
        for document in shown:
            _to_stdout(_json(document))
    else:
        show_dropped(arguments.dropped, shown, next(documents, None) is not None, sys.stdout)
    return EXIT_DONE


def verify(arguments: Arguments) -> int:
    """Whether everything in a folder is as it was written."""
    from pretune.runtime.verification import verify

    results = verify(Path(arguments.folder))
    is_whole = all(result.is_whole for result in results)
    if arguments.json:
        folders = [{**asdict(result), "is_whole": result.is_whole} for result in results]
        _to_stdout(_json({"path": arguments.folder, "is_whole": is_whole, "folders": folders}))
    else:
        _to_stdout(describe_verification(results))
    return EXIT_DONE if is_whole else EXIT_MODEL


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # a terminal without UTF-8, or a byte that was none where the text was typed
        return json.dumps(value, allow_nan=False)
    return text


def _to_stdout(text: str) -> None:
    sys.stdout.write(text + "\n")


def _to_stderr(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "run": run,
    "collect": collect,
    "preprocess": preprocess,
    "pretrain": pretrain,
    "prepare": prepare,
    "finetune": finetune,
    "compare": compare,
    "predict": predict,
    "evaluate": evaluate,
    "fill": fill,
    "trace": trace,
    "export": export,
    "show": show,
    "verify": verify,
}
