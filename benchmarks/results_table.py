"""The quality of trained models on public data sets: `python benchmarks/results_table.py --write`.

PRETUNE_DATA names the folder of data sets. Each part is a command of pretune, as a user types it; what is finished is
skipped, so the same command continues after an interruption. The figures of a data set, with machine and commit, go to
benchmarks/results, and with `--write` into the tables of docs/results.md. Version, commit and load are those of the
time when the parts were run.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data_sets import (
    BASES,
    DATA_SETS,
    DataSet,
    LabelFiles,
    base_named,
    file_name,
    find_data,
    make_corpus,
    make_label_files,
    make_protected,
)
from machine import say, write_result
from parts import PartFailedError, Record, describe_records, is_finished, make, read_record, run_part
from results_page import name_figures, read_figures, write_tables

from pretune.cli.verbs import VERBS, build_parser
from pretune.errors import PretuneError, UsageError
from pretune.model.base_folder import read_base_folder
from pretune.runtime.events import Event, read_events


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run: the options of the command line."""

    data: Path
    work: Path
    scale: float
    minutes: float | None
    size: str
    finetune_options: tuple[str, ...]
    variant: str | None = None
    control: bool = True
    pretraining_seeds: int = 1
    given_bases: dict[str, Path] = field(default_factory=dict)


def main() -> None:
    options = _parse()
    chosen = [
        replace(each, draws=min(each.draws, options.draws))
        for each in DATA_SETS
        if not options.only or each.name in options.only
    ]
    failures = []
    if not options.figures_only:
        plan = _plan(options)
        for data_set in chosen:
            say(f"-- {data_set.title}")
            try:
                name = f"results-{name_figures(data_set.name, plan.variant)}"
                path = write_result(name, run_data_set(data_set, plan))
                say(f"figures in {path.name}")
            except KeyboardInterrupt:
                raise SystemExit("Interrupted; the same command continues.") from None
            except (PartFailedError, FileNotFoundError, PretuneError) as error:
                failures.append(data_set.name)
                say(str(error))
            if options.write:
                write_tables()
    if options.write:
        say(f"tables in {write_tables()}; not run yet: {', '.join(_missing()) or 'none'}")
    if failures:
        raise SystemExit(f"failed: {', '.join(failures)}")


def _parse() -> argparse.Namespace:
    names, bases = [each.name for each in DATA_SETS], [each.name for each in BASES]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--scale", type=float, default=1.0, help="of the tokens of pre-training and of general text")
    parser.add_argument("--minutes", type=float, help="pre-train each base for so many minutes, not tokens")
    parser.add_argument("--size", default="micro", help="of the models, or auto (micro)")
    parser.add_argument("--finetune", default="", help="options for `pretune finetune`, such as '--seeds 1 --epochs 2'")
    parser.add_argument(
        "--variant", help="name of a variant, such as 'without bf16'; its rows stand below those of the data set"
    )
    parser.add_argument("--draws", type=int, default=5, help="at most, of few training rows (5)")
    parser.add_argument("--pretraining-seeds", type=int, default=1, help="bases of each kind, with other seeds (1)")
    parser.add_argument("--without-control", action="store_true", help="nothing from scratch: a quarter of the time")
    parser.add_argument(
        "--base", action="append", default=[], metavar="NAME=FOLDER",
        help=f"use a model that is pre-trained already, for the data sets of a base: {', '.join(bases)}",
    )  # fmt: skip
    parser.add_argument("--work", type=Path, default=Path("runs/results"), help="where files and models are made")
    parser.add_argument("--write", action="store_true", help="fill the tables of docs/results.md")
    parser.add_argument("--figures-only", action="store_true", help="run nothing; use the saved figures")
    options = parser.parse_args()
    if any(word.partition("=")[0] not in bases or "=" not in word for word in options.base):
        parser.error(f"--base is NAME=FOLDER, where NAME is one of {', '.join(bases)}")
    if options.base and options.pretraining_seeds > 1:
        parser.error("a base that is given has one seed; leave out --base or --pretraining-seeds")
    try:
        options.finetune = read_finetune_options(options.finetune)
    except (ValueError, UsageError) as error:
        parser.error(f"--finetune has {options.finetune!r}, which `pretune finetune` does not take: {error}")
    return options


def read_finetune_options(text: str) -> list[str]:
    """The words of options for `pretune finetune`. Raises ValueError or UsageError, now and not after hours, if it
    would refuse them."""
    words = shlex.split(text)
    build_parser(VERBS["finetune"]).parse_intermixed_args(["BASE", "PREPARED", "--out", "DIR", *words])
    return words


def _plan(options: argparse.Namespace) -> Plan:
    data = find_data()
    if data is None:
        raise SystemExit("Set PRETUNE_DATA to the folder of data sets.")
    return Plan(
        data=data,
        work=options.work / _budget_name(options.scale, options.minutes, options.size),
        scale=options.scale,
        minutes=options.minutes,
        size=options.size,
        finetune_options=tuple(options.finetune),
        variant=options.variant,
        control=not options.without_control,
        pretraining_seeds=options.pretraining_seeds,
        given_bases={name: Path(folder) for name, _, folder in (word.partition("=") for word in options.base)},
    )


def _budget_name(scale: float, minutes: float | None, size: str) -> str:
    """The name of the folder for all work with a budget of pre-training."""
    return f"scale-{scale:g}-{size}" if minutes is None else f"minutes-{minutes:g}-scale-{scale:g}-{size}"


def _missing() -> list[str]:
    found = read_figures()
    return [each.name for each in DATA_SETS if each.name not in found]


# -- running -------------------------------------------------------------------------------------------------------


def run_data_set(data_set: DataSet, plan: Plan) -> dict[str, Any]:
    """Everything for one data set; returns its figures. Raises PartFailedError."""
    bases = [make_base(data_set.base, plan, seed) for seed in range(plan.pretraining_seeds)]
    files = make_label_files(data_set, plan.data, plan.work / "files" / data_set.name)
    records = [read_record(base.parent) for base in bases if data_set.base not in plan.given_bases]
    draws = []
    for seed, base in enumerate(bases):
        for draw, draw_files in enumerate(files):
            folder = plan.work / "tasks" / name_figures(data_set.name, plan.variant) / _with_seed(f"draw-{draw}", seed)
            made, draw_result = run_draw(data_set, draw_files, base, folder, plan)
            records += made
            draws.append({"pretraining_seed": seed, **draw_result})
    return {
        **describe_records(records),
        "data_set": data_set.name,
        "title": data_set.title,
        "variant": plan.variant,
        "base": describe_base(data_set.base, bases[0], plan),
        "finetune_options": options_of(data_set, plan),
        "draws": draws,
    }


def options_of(data_set: DataSet, plan: Plan) -> list[str]:
    """The options of `finetune`, each with its value if it has one; those of the data set replace the general ones."""
    by_name: dict[str, list[str]] = {}
    for word in (*plan.finetune_options, *data_set.finetune_options):
        if word.startswith("--"):
            words = by_name[word.partition("=")[0]] = [word]
        else:
            words.append(word)
    return [word for words in by_name.values() for word in words]


def _with_seed(name: str, seed: int) -> str:
    """The name of a folder; the first seed is not named."""
    return name if seed == 0 else f"{name}-seed-{seed}"


def make_base(name: str, plan: Plan, seed: int = 0) -> Path:
    """The folder of a pre-trained model: a given one, or that of `pretune run` on the texts of the base."""
    if name in plan.given_bases:
        return plan.given_bases[name]
    base = base_named(name)
    folder = plan.work / "bases" / _with_seed(name + "".join(base.options).replace("--", "-"), seed)
    if not is_finished(folder / "pretrain"):
        corpus = make_corpus(base, plan.data, plan.work / "texts" / name, plan.scale)
        protected = make_protected(base, plan.data, plan.work / "protected" / name)
        amount = ["--tokens", str(round(base.tokens * plan.scale))]
        if plan.minutes is not None:
            amount = ["--minutes", str(plan.minutes)]
        budget = [*amount, "--size", plan.size, "--seed", str(seed), *base.options]
        words = ["run", "--corpus", *map(str, corpus), "--protect", str(protected), *budget, "--out", str(folder)]
        make(words, folder, {"command": shlex.join(words)})
    return folder / "pretrain"


def run_draw(
    data_set: DataSet, files: LabelFiles, base: Path, folder: Path, plan: Plan
) -> tuple[list[Record], dict[str, Any]]:
    """Fine-tune, with its control, and compare; returns the records of the parts, and the figures with the seconds of
    each part."""
    options = options_of(data_set, plan)
    prepared, finetuned, scratch = (folder / part for part in ("prepare", "finetune", "scratch"))
    compared = folder / ("compare" if plan.control else "compare-without-control")
    labels = [str(files.train), "--test-labels", str(files.test), *data_set.options]
    made = [run_part(["prepare", *labels, "--base", str(base)], prepared)]
    made.append(run_part(["finetune", str(base), str(prepared), *options], finetuned))
    if plan.control:
        made.append(run_part(["finetune", str(base), str(prepared), "--from-scratch", *options], scratch))
    control = ["--scratch", str(scratch)] if plan.control else []
    made.append(run_part(["compare", str(finetuned), str(prepared), *control], compared))
    parts = {"prepare": prepared, "finetune": finetuned, "scratch": scratch, "compare": compared}
    summary = json.loads((prepared / "manifest.json").read_text(encoding="utf-8"))["summary"]
    labels_file = json.loads((prepared / "labels.json").read_text(encoding="utf-8"))
    return made, {
        "seconds": {part: _seconds(path) for part, path in parts.items()},
        "prepared": {name: value for name, value in summary.items() if name != "example"},  # no text of the data
        "task": labels_file.get("task"),
        "labels": len(labels_file["names"]),
        "chosen": [each["sentence"] for path in (finetuned, scratch) for each in _find(path, "chosen")],
        "comparison": _without_time(_find(compared, "comparison")[-1]),
    }


# -- figures -------------------------------------------------------------------------------------------------------


def describe_base(name: str, folder: Path, plan: Plan) -> dict[str, Any]:
    """What the base is, from its logs: tokens of pre-training, size, and the seconds of its stages."""
    estimates, plans = _find(folder, "estimate"), _find(folder, "plan")
    evaluations = _find(folder, "evaluation")
    stages = ("collect", "preprocess", "pretrain")
    return {
        "name": name,
        "title": _given_title(name, folder) if name in plan.given_bases else base_named(name).title,
        "is_given": name in plan.given_bases,
        "scale": plan.scale,
        "minutes": plan.minutes,
        "size": estimates[-1]["size"] if estimates else None,
        "tokens": plans[-1]["tokens"] if plans else None,
        "parameters": estimates[-1]["parameters"] if estimates else None,
        "precision": (read_base_folder(folder).summary.get("compute") or {}).get("precision"),
        "last_evaluation": _without_time(evaluations[-1]) if evaluations else None,
        "seconds": {stage: _seconds(folder.parent / stage) for stage in stages},
    }


def _given_title(name: str, folder: Path) -> str:
    """What a given base was trained on, if it is part of a run: the title of a base whose texts have the names of its
    files, first of the one that it stands for, else the names of the files."""
    recipe = folder.parent / "recipe.toml"
    if not recipe.is_file():
        return "-"
    files = [Path(path).name for path in tomllib.loads(recipe.read_text(encoding="utf-8"))["corpus"]]
    for base in (base_named(name), *BASES):
        names = [{file_name(source), Path(source.path).name} for source in base.sources]
        if len(files) == len(names) and all(own & {*files} for own in names):
            return base.title
    return ", ".join(files)


def _find(folder: Path, kind: str) -> list[Event]:
    return [event for event in read_events(folder) if event["event"] == kind]


def _seconds(folder: Path) -> float | None:
    finished = _find(folder, "stage_finished")
    return finished[-1]["seconds"] if finished else None


def _without_time(event: Event) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in ("time", "event", "stage", "sentences")}


if __name__ == "__main__":
    main()
