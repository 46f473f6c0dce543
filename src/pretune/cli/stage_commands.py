"""The commands `run` and those of the single stages: parsed arguments in, a run or a stage folder out."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.cli import next_commands
from pretune.cli.arguments import CHAT, as_typed_for_run, run_flag, stage_folder
from pretune.cli.chat_arguments import STRATEGIES
from pretune.cli.chat_commands import chat, compare_strategies
from pretune.cli.model_commands import evaluate, export, fill, generate, learn, predict, show, trace, verify
from pretune.cli.options import refuse_options, typed_only_for, typed_values
from pretune.cli.output import to_stderr, to_stdout
from pretune.cli.page_commands import report, watch
from pretune.cli.render import describe_next
from pretune.errors import EXIT_DONE, InputDataError, UsageError
from pretune.recipe import Recipe, override, read_recipe
from pretune.reporting.progress import live_progress
from pretune.reporting.report import show_run
from pretune.runtime.home import expand_home
from pretune.runtime.launch import read_launch
from pretune.settings import ChatTuningConfig
from pretune.terminal import clean_lines

if TYPE_CHECKING:
    from pretune.live.page_process import PageProcess
    from pretune.training.forecast import Forecast

Arguments = argparse.Namespace


def run(arguments: Arguments) -> int:
    """Run all five stages, then show the whole run."""
    from pretune import pipeline

    recipe = _recipe_of(arguments)
    if arguments.dry_run:
        if read_launch().is_first:
            pipeline.dry_run(recipe, to_stdout, redo=arguments.redo)
        return EXIT_DONE
    log = (lambda _sentence: None) if arguments.quiet else to_stderr
    with _live_page(recipe, arguments) as page:
        with live_progress(sys.stderr, arguments.quiet), _options_of_run():
            folder = pipeline.run(
                recipe, redo=arguments.redo, say=log, agree=_agreement(arguments), report=arguments.report
            )
        if read_launch().is_first:
            show_run(folder, sys.stdout)
            to_stdout(describe_next(folder, recipe))
        if page is not None and page.address is not None:
            sys.stdout.flush()
            to_stderr(f"The run is finished; its page stays at {page.address} until Ctrl-C.")
            page.wait()
    return EXIT_DONE


@contextmanager
def _live_page(recipe: Recipe, arguments: Arguments) -> Iterator[PageProcess | None]:
    """With --watch, the live page of the run; None otherwise. A page that cannot start does not stop the run."""
    if not arguments.watch or recipe.out is None or not read_launch().is_first:
        yield None
        return
    from pretune.live.page_process import page_process

    with page_process(expand_home(recipe.out)) as page:
        to_stderr(f"Watch the run at {page.address}" if page.address else "The live page did not start.")
        yield page


def _recipe_of(arguments: Arguments) -> Recipe:
    """The recipe file, if one is given, overridden by the options that were typed."""
    recipe = read_recipe(Path(arguments.recipe)) if arguments.recipe else Recipe()
    inputs = ("corpus", "labels", "test_labels", "base", "protect", "data_root", "out", "control")
    typed = {name: getattr(arguments, name) for name in inputs}
    recipe = override(recipe, {name: value for name, value in typed.items() if value is not None})
    for stage, settings in typed_values(arguments).items():
        try:
            recipe = override(recipe, {stage: settings})
        except UsageError as error:
            raise UsageError(as_typed_for_run(stage, str(error))) from error
    if not recipe.has_labels:
        _refuse_label_options(arguments)
    return recipe


def _refuse_label_options(arguments: Arguments) -> None:
    """Refuse an option about labelled examples, which a run without any would ignore."""
    typed = typed_only_for(arguments, ("split", "prepare", "finetune"))
    if not typed:
        return
    (stage, name), value = next(iter(typed.items()))
    option = run_flag(stage, name) or f"--{'no-' if value is False else ''}{name.replace('_', '-')}"
    of_corpus = run_flag("collect", name) or run_flag("preprocess", name)
    meant = "leave it out" if of_corpus is None else f"that of the corpus is {of_corpus}"
    raise UsageError(f"{option} is for labelled examples, and no --labels are given; {meant}.")


@contextmanager
def _options_of_run() -> Iterator[None]:
    """Give the options in the errors of a stage the names that they have in `run`."""
    try:
        yield
    except InputDataError as error:
        if error.stage is not None:
            error.args = (as_typed_for_run(error.stage, str(error)),)
        raise


# --- the stages alone -------------------------------------------------------------------------------------------------


def split(arguments: Arguments) -> int:
    """Split the labelled examples."""
    from pretune.stages.split import split

    config, out, test_labels = _settings(arguments).split, Path(arguments.out), _path(arguments.test_labels)
    with live_progress(sys.stderr, arguments.quiet):
        split(Path(arguments.labels), out, config, test_labels=test_labels, redo=arguments.redo)
    return _show_stage(out, arguments, lambda: next_commands.after_split(out))


def collect(arguments: Arguments) -> int:
    """Stage 1: read raw text."""
    from pretune.stages.collect.stage import collect

    config, out = _settings(arguments).collect, Path(arguments.out)
    with live_progress(sys.stderr, arguments.quiet):
        collect(
            arguments.paths,
            out,
            config,
            split=_split_folder(arguments),
            redo=arguments.redo,
            data_root=_path(arguments.data_root),
            agree=_agreement(arguments),
            say=(lambda _sentence: None) if arguments.quiet else to_stderr,
            encoding_option="--encoding",
        )
    return _show_stage(out, arguments, lambda: next_commands.after_collect(out, arguments))


def _split_folder(arguments: Arguments) -> Path | None:
    """The folder of a split. If it is a label file, the error names the command that makes a folder of it."""
    if arguments.split is None:
        return None
    if Path(arguments.split).is_file():
        raise UsageError(
            f"{arguments.split} is a file; expected the output folder of split: first run pretune split "
            f"{shlex.quote(arguments.split)} --out DIR."
        )
    return stage_folder(arguments.split, "split")


def _agreement(arguments: Arguments) -> Callable[[str], bool] | None:
    """The question before a download: answered by --yes, asked in a terminal, and None elsewhere."""
    if arguments.yes:
        return _print_and_agree
    return _ask if sys.stdin.isatty() and sys.stderr.isatty() else None


def _print_and_agree(plan: str) -> bool:
    to_stderr(plan)
    return True


def _ask(plan: str) -> bool:
    sys.stderr.write(clean_lines(f"{plan}\nDownload it? [y/N] "))
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def preprocess(arguments: Arguments) -> int:
    """Stage 2: clean the text and write tokens."""
    from pretune.stages.preprocess.stage import preprocess

    config, out = _settings(arguments).preprocess, Path(arguments.out)
    with live_progress(sys.stderr, arguments.quiet):
        preprocess(
            stage_folder(arguments.collected, "collect"),
            out,
            config,
            split=_split_folder(arguments),
            protect=arguments.protect or (),
            base=_path(arguments.base),
            redo=arguments.redo,
        )
    return _show_stage(out, arguments, lambda: next_commands.after_preprocess(out, arguments))


def pretrain(arguments: Arguments) -> int:
    """Stage 3: pre-train a model."""
    from pretune.stages.pretrain.stage import pretrain

    config = _settings(arguments).pretrain
    preprocessed, base = stage_folder(arguments.preprocessed, "preprocess"), _path(arguments.base)
    if arguments.dry_run:
        from pretune.stages.pretrain.forecast import forecast

        return _show_forecast(lambda: forecast(preprocessed, config, base=base))
    out = _out_of(arguments)
    with live_progress(sys.stderr, arguments.quiet):
        pretrain(preprocessed, out, config, base=base, redo=arguments.redo)
    return _show_stage(out, arguments, lambda: next_commands.after_pretrain(out))


def prepare(arguments: Arguments) -> int:
    """Stage 4: encode the labelled examples, or conversations."""
    settings, out = _settings(arguments), Path(arguments.out)
    if settings.split.task == "chat":
        return _prepare_chat(arguments, settings, out)
    from pretune.stages.prepare import prepare

    with live_progress(sys.stderr, arguments.quiet):
        prepare(
            stage_folder(arguments.labels, "split"),
            out,
            settings.prepare,
            base=stage_folder(arguments.base, "pretrain"),
            test_labels=_path(arguments.test_labels),
            split=settings.split,
            redo=arguments.redo,
        )
    return _show_stage(out, arguments, lambda: next_commands.after_prepare(out, arguments))


def _prepare_chat(arguments: Arguments, settings: Recipe, out: Path) -> int:
    from pretune.stages.prepare_chat import prepare_chat

    with live_progress(sys.stderr, arguments.quiet):
        prepare_chat(
            Path(arguments.labels),
            out,
            settings.prepare,
            base=stage_folder(arguments.base, "pretrain"),
            test_conversations=_path(arguments.test_labels),
            split=settings.split,
            redo=arguments.redo,
        )
    return _show_stage(out, arguments, lambda: next_commands.after_prepare(out, arguments))


def finetune(arguments: Arguments) -> int:
    """Stage 5: fine-tune the model on labelled examples, or on conversations."""
    from pretune.runtime.manifest import read_manifest
    from pretune.text.chat.prepared_folder import has_conversations

    prepared = stage_folder(arguments.prepared, "prepare")
    pretrained = stage_folder(arguments.pretrained, "pretrain")
    is_chat = has_conversations(read_manifest(prepared, "prepare"))
    typed = _typed_for(arguments, CHAT if is_chat else "finetune")
    if arguments.dry_run:
        if not is_chat:
            raise UsageError(
                f"--dry-run is for conversations, and {arguments.prepared} has labelled examples; leave it out, or let "
                "`pretune run --dry-run` estimate a whole run."
            )
        from pretune.stages.chat_tuning.forecast import forecast

        return _show_forecast(lambda: forecast(pretrained, prepared, ChatTuningConfig(**typed)))
    out = _out_of(arguments)
    with live_progress(sys.stderr, arguments.quiet):
        if is_chat:
            from pretune.stages.chat_tuning.stage import tune_chat

            refuse_options(arguments, ("--corpus",), "with conversations", "prepare labelled examples")
            tune_chat(pretrained, prepared, out, ChatTuningConfig(**typed), redo=arguments.redo)
        else:
            from pretune.stages.finetune.stage import finetune

            config = override(Recipe(), {"finetune": typed}).finetune
            corpus = None if arguments.corpus is None else Path(arguments.corpus)
            finetune(pretrained, prepared, out, config, corpus=corpus, redo=arguments.redo)
    from_scratch = bool(typed.get("from_scratch"))
    return _show_stage(
        out,
        arguments,
        lambda: next_commands.after_finetune(out, prepared, is_chat=is_chat, from_scratch=from_scratch),
    )


def _typed_for(arguments: Arguments, kind: str) -> dict[str, Any]:
    """The settings that were typed for `finetune` on labelled examples, or on conversations.

    Raises UsageError for one that only the other kind has.
    """
    typed = typed_values(arguments)
    other = next((settings for name, settings in typed.items() if name != kind), {})
    own = typed.get(kind, {})
    if foreign := sorted(other.keys() - own.keys()):
        has, is_for = ("conversations", "labelled examples") if kind == CHAT else ("labelled examples", "conversations")
        raise UsageError(
            f"--{foreign[0].replace('_', '-')} is for {is_for}, and {arguments.prepared} has {has}; leave it out."
        )
    return own


def compare(arguments: Arguments) -> int:
    """Compare with the baselines and the control; with --strategies, compare four ways to a chatbot."""
    if arguments.strategies:
        return compare_strategies(arguments)
    of_strategies = ("--domain", "--held-out", "--text-column", "--response-column")
    refuse_options(arguments, of_strategies, "without --strategies", "add --strategies")
    if typed := typed_values(arguments).get(STRATEGIES):
        option = f"--{next(iter(typed)).replace('_', '-')}"
        raise UsageError(f"{option} is given without --strategies, where it has no effect; leave it out.")
    from pretune.stages.compare import compare

    out = Path(arguments.out)
    scratch = None if arguments.scratch is None else stage_folder(arguments.scratch, "scratch")
    finetuned, prepared = stage_folder(arguments.finetuned, "finetune"), stage_folder(arguments.prepared, "prepare")
    with live_progress(sys.stderr, arguments.quiet):
        compare(finetuned, scratch, prepared, out, redo=arguments.redo)
    return _show_stage(out, arguments)


def _settings(arguments: Arguments) -> Recipe:
    """The settings that were typed, checked like those of a recipe, with defaults for the rest."""
    return override(Recipe(), typed_values(arguments))


def _out_of(arguments: Arguments) -> Path:
    """The output folder, which only a dry run can do without."""
    if arguments.out is None:
        raise UsageError("Give --out DIR, the output folder; only --dry-run can do without.")
    return Path(arguments.out)


def _show_forecast(forecast: Callable[[], Forecast]) -> int:
    """Print a forecast, which only the first of several processes makes."""
    if read_launch().is_first:
        for line in forecast().describe():
            to_stdout(line)
    return EXIT_DONE


def _path(path: str | None) -> Path | None:
    return None if path is None else Path(path)


def _show_stage(folder: Path, arguments: Arguments, following: Callable[[], str] | None = None) -> int:
    """Print what the stage did and, unless with --quiet, the command that comes after it."""
    if read_launch().is_first:
        show_run(folder, sys.stdout)
        if following is not None and not arguments.quiet:
            to_stdout(f"\nNext: {following()}")
    return EXIT_DONE


COMMANDS: dict[str, Callable[[Arguments], int]] = {
    "run": run,
    "split": split,
    "collect": collect,
    "preprocess": preprocess,
    "pretrain": pretrain,
    "prepare": prepare,
    "finetune": finetune,
    "compare": compare,
    "predict": predict,
    "evaluate": evaluate,
    "fill": fill,
    "chat": chat,
    "generate": generate,
    "trace": trace,
    "export": export,
    "show": show,
    "report": report,
    "watch": watch,
    "learn": learn,
    "verify": verify,
}
