"""How many times as long Hugging Face's example trains for the masked accuracy that ours has after some minutes.

    python benchmarks/time_to_quality.py PREPROCESSED --minutes 2 5 10 --out LINES

PREPROCESSED is a finished folder of stage 2: its tokenizer, training split and validation split serve all. `ours` is
`pretune pretrain --minutes M`, with two seeds. `default` is transformers' `run_mlm.py` as it comes; `tuned` has our
rows, bf16 and compiled code where the chip has it, and what a search at equal seconds found best (trainer_settings.py).
Their model is transformers' EuroBERT with the layers, width and vocabulary that ours has: the same architecture, so
that recipe and code make the difference. It is better with little time than a BERT of that size.

A schedule has to know its end, so every contender is trained from scratch, with a whole schedule, for 1, 2, 5 and 10
times the minutes, up to --most, until it reaches the mean of ours. The result is an interval ("more than 2x, at most
5x"), and between its ends the accuracy is taken to be linear in the logarithm of the time.
Every choice favours the contender. Ours is charged for the whole command, with its imports, initial vectors,
calibration, evaluations and files. Theirs is charged for the call that trains, compiling included, but not for the CPU
time of compile workers that outlive the call. The search is free, and it may read the rows that decide. Of rows of 64
and of 512 tokens, the length with which theirs does better counts. One process runs at a time, contenders by turns, and
each line has the rate of matrix products right before it, so that a slow hour shows.

A run is appended to LINES when it is finished; a run that LINES has is not repeated, so the same command resumes. The
settings that the search finds for a size serve all its budgets. With the default options, the whole takes some nine
hours of two cores that have nothing else to do, and at most twelve.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from machine import commit, describe_machine, matrix_gflops, render_table, say, write_result
from trainer_settings import DEFAULT, TrainerSettings, search, tuned_start

CONTENDERS = ("default", "tuned")
_OUR_SEEDS = (0, 1)
_STEPS_OF_TEN = (1, 2, 5)
_ROW_TOKENS, _ROWS_PER_STEP = 64, 64  # those of `pretrain`
_EVALUATED_ROW_TOKENS = (64, 512)
_EVALUATED_TOKENS = 200_000  # at each length; 30,000 of them are hidden
_SHOWN_LINES = 15
Line = dict[str, Any]


def main() -> None:
    options = _parse()
    runs = Runs(options)
    tuned: dict[str, TrainerSettings] = {}
    results = []
    for minutes in options.minutes:
        ours = [runs.ours(minutes, seed) for seed in _OUR_SEEDS]
        size = ours[0]["size"]
        if "tuned" in options.contenders and size not in tuned:
            tuned[size] = _search(runs, size)
        chosen = {"default": DEFAULT, **({"tuned": tuned[size]} if size in tuned else {})}
        wanted = {name: chosen[name] for name in options.contenders}
        results.append(compare(minutes, ours, wanted, options.most, partial(runs.theirs, size)))
        say(render(results))
    fields = {"text": runs.text, "threads": options.threads, "most": options.most, "results": results}
    say(write_result(options.name, fields).name)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preprocessed", type=Path, help="a finished folder of stage 2")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 5.0, 10.0], help="budgets of ours")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--size", default="auto", help="of all models; auto: what `pretrain` chooses for the budget")
    parser.add_argument("--most", type=float, default=10.0, help="train a contender for at most so many times as long")
    parser.add_argument("--search-minutes", type=float, default=5.0, help="of each trial of the search, about ten")
    parser.add_argument("--threads", type=int, help="of every contender (default: all cores)")
    parser.add_argument("--out", type=Path, default=Path("runs/time-to-quality.jsonl"), help="finished runs are added")
    parser.add_argument("--work", type=Path, default=Path("runs/time-to-quality"), help="where models are made")
    parser.add_argument("--name", default="time-to-quality", help="of the file in benchmarks/results")
    return parser.parse_args()


# --- from runs to factors ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Factor:
    """How many times as long a contender takes: more than `above` (None: not known), at most `at_most` (None: it never
    got there), and `interpolated` if both are known."""

    above: float | None
    at_most: float | None
    interpolated: float | None

    def describe(self) -> str:
        words = []
        if self.above is not None:
            words.append(f"more than {self.above:.1f}x")
        if self.at_most is not None:
            words.append(f"at most {self.at_most:.1f}x")
        return ", ".join(words)


def find_factor(target: float, seconds: float, rungs: Sequence[tuple[float, float]]) -> Factor:
    """The factor over `seconds` at which a contender has the accuracy `target`.

    `rungs` are its runs as (seconds, accuracy), the shortest first. The first that reaches the target ends the interval
    and the one before it begins it; in between, the accuracy is linear in the logarithm of the seconds.
    """
    at = next((i for i, (_, accuracy) in enumerate(rungs) if accuracy >= target), None)
    before = rungs[-1] if at is None and rungs else rungs[at - 1] if at else None
    above = before and before[0] / seconds
    if at is None or before is None:
        return Factor(above=above, at_most=None if at is None else rungs[at][0] / seconds, interpolated=None)
    (low, low_accuracy), (high, high_accuracy) = before, rungs[at]
    fraction = (target - low_accuracy) / (high_accuracy - low_accuracy)
    between = math.exp(math.log(low) + fraction * math.log(high / low))
    return Factor(above=above, at_most=high / seconds, interpolated=between / seconds)


def multiples(most: float) -> list[float]:
    """1, 2, 5, 10, 20, 50 and so on up to `most`, and `most` itself."""
    found = [m * 10.0**power for power in range(int(math.log10(max(1.0, most))) + 1) for m in _STEPS_OF_TEN]
    return [*(each for each in found if each < most), most]


def compare(
    minutes: float,
    ours: Sequence[Line],
    contenders: dict[str, TrainerSettings],
    most: float,
    train: Callable[[TrainerSettings, float], Line],
) -> dict[str, Any]:
    """Train the contenders by turns for more and more minutes, each until it reaches ours at one length of rows."""
    targets = {length: _mean([line["accuracy"][length] for line in ours]) for length in ours[0]["accuracy"]}
    rungs: dict[str, list[Line]] = {name: [] for name in contenders}
    for turn, multiple in enumerate(multiples(most)):
        going = [name for name, lines in rungs.items() if not _has_reached(targets, lines)]
        for name in going if turn % 2 == 0 else going[::-1]:
            rungs[name].append(train(contenders[name], multiple * minutes))
    return {
        "minutes": minutes,
        "size": ours[0]["size"],
        "ours": list(ours),
        "contenders": [
            {
                "name": name,
                "settings": contenders[name].describe(),
                "rungs": lines,
                "factors": _factors(targets, ours, lines),
            }
            for name, lines in rungs.items()
        ],
    }


def _has_reached(targets: dict[str, float], lines: Sequence[Line]) -> bool:
    return any(line["accuracy"][length] >= target for line in lines for length, target in targets.items())


def _factors(targets: dict[str, float], ours: Sequence[Line], lines: Sequence[Line]) -> dict[str, Any]:
    """By the clock and by CPU seconds, for each length of rows; `counted` is the length at which theirs is better.

    The CPU seconds of an older line of theirs are those of its whole process, so that line counts by the clock only.
    """
    found: dict[str, Any] = {}
    comparable = {"seconds": lines, "cpu_seconds": [line for line in lines if "whole_cpu_seconds" in line]}
    for kind, theirs in comparable.items():
        own = _mean([line[kind] for line in ours])
        found[kind] = {
            length: asdict(find_factor(target, own, [(line[kind], line["accuracy"][length]) for line in theirs]))
            for length, target in targets.items()
        }
    found["counted"] = min(targets, key=lambda length: _order(found["seconds"][length]))
    return found


def _order(factor: dict[str, float | None]) -> tuple[float, float, float]:
    """Sorts factors: those that end earlier, then those that are lower in their interval."""
    at_most, between, above = (factor[name] for name in ("at_most", "interpolated", "above"))
    return (at_most or math.inf, between or 0.0, above or 0.0)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def render(results: Sequence[dict[str, Any]]) -> str:
    """A row for each of our budgets and each contender."""
    rows = []
    for result in results:
        for contender in result["contenders"]:
            factors = contender["factors"]
            length = factors["counted"]
            clock, cpu = (Factor(**factors[kind][length]) for kind in ("seconds", "cpu_seconds"))
            rows.append(
                [
                    f"{result['minutes']:g} min, {result['size']}",
                    f"{_mean([line['accuracy'][length] for line in result['ours']]):.1%}",
                    contender["name"],
                    f"{contender['rungs'][-1]['accuracy'][length]:.1%}",
                    clock.describe(),
                    "-" if clock.interpolated is None else f"{clock.interpolated:.1f}x",
                    cpu.describe() or "-",
                    length,
                ]
            )
    header = ["ours", "accuracy", "contender", "its last", "time", "interpolated", "CPU time", "rows"]
    return render_table(header, rows)


# --- runs --------------------------------------------------------------------------------------------------------


class Runs:
    """Trains and measures, or finds in the file of lines what was measured before."""

    def __init__(self, options: argparse.Namespace) -> None:
        from pretune.runtime.manifest import read_manifest

        self.options, self.lines = options, _read_lines(options.out)
        self.text = read_manifest(options.preprocessed, "preprocess").fingerprint[:12]
        self.rows: dict[str, Any] = {}

    def ours(self, minutes: float, seed: int) -> Line:
        """`pretune pretrain`."""
        spec = self._spec("ours", minutes, seed, size=self.options.size)
        return self._once(spec, self._run_ours)

    def theirs(self, size: str, settings: TrainerSettings, minutes: float) -> Line:
        """The example of transformers with a model of this size."""
        spec = self._spec("trainer", minutes, 0, size=size, settings=asdict(settings))
        return self._once(spec, self._run_theirs)

    def _spec(self, contender: str, minutes: float, seed: int, **more: Any) -> dict[str, Any]:
        given = {"contender": contender, "minutes": minutes, "seed": seed, **more}
        return {**given, "threads": self.options.threads, "text": self.text}

    def _once(self, spec: dict[str, Any], run: Callable[[dict[str, Any], Path], Line]) -> Line:
        key = identify(spec)
        if key in self.lines:
            return self.lines[key]
        folder = self.options.work / key
        shutil.rmtree(folder, ignore_errors=True)  # of an interrupted run, whose time is not known
        folder.mkdir(parents=True)
        started = {"gflops": self._matrix_rate(), "load_average": os.getloadavg()[0], "commit": commit()}
        line = {"id": key, **spec, **run(spec, folder), **started, "chip": describe_machine()["chip"]}
        self.options.out.parent.mkdir(parents=True, exist_ok=True)
        with self.options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        shutil.rmtree(folder)
        self.lines[key] = line
        say(_describe(line))
        return line

    def _run_ours(self, spec: dict[str, Any], folder: Path) -> Line:
        import masked_accuracy

        from pretune.runtime.manifest import read_manifest

        out = folder / "pretrain"
        words = ["-m", "pretune", "--quiet", "pretrain", str(self.options.preprocessed), "--out", str(out)]
        words += ["--minutes", str(spec["minutes"]), "--size", spec["size"], "--seed", str(spec["seed"])]
        words += ["--mask-weights", "uniform"]  # as theirs are, and as the accuracy is measured
        words += ["--threads", str(spec["threads"])] if spec["threads"] else []
        spent = run_process([sys.executable, *words])
        summary = read_manifest(out, "pretrain").summary
        return {
            **spent,
            "size": summary["size"],
            "steps": summary["steps"],
            "tokens": summary["tokens"],
            "compute": summary["compute"],
            "accuracy": self._accuracies(masked_accuracy.our_logits(out / "checkpoint")),
        }

    def _run_theirs(self, spec: dict[str, Any], folder: Path) -> Line:
        import masked_accuracy

        given = {
            "folder": str(self.options.preprocessed),
            "out": str(folder),
            "seconds": 60 * spec["minutes"],
            **{name: spec[name] for name in ("size", "settings", "seed", "threads")},
        }
        worker = str(Path(__file__).parent / "timed_trainer.py")
        spent = run_process([sys.executable, worker, json.dumps(given)])
        found = json.loads((folder / "found.json").read_text(encoding="utf-8"))
        return {
            **spent,
            "whole_seconds": spent["seconds"],
            "whole_cpu_seconds": spent["cpu_seconds"],
            "seconds": found.pop("train_seconds"),
            "cpu_seconds": found.pop("train_cpu_seconds"),
            **found,
            "accuracy": self._accuracies(masked_accuracy.their_logits(folder)),
        }

    def _accuracies(self, logits_of: Any) -> dict[str, float]:
        import masked_accuracy

        for length in _EVALUATED_ROW_TOKENS:
            if str(length) not in self.rows:
                rows = masked_accuracy.make_rows(self.options.preprocessed, length, _EVALUATED_TOKENS)
                self.rows[str(length)] = rows
        return {length: masked_accuracy.accuracy(logits_of, rows) for length, rows in self.rows.items()}

    def _matrix_rate(self) -> float:
        import torch

        if self.options.threads:
            torch.set_num_threads(self.options.threads)
        return matrix_gflops()


def run_process(command: list[str]) -> Line:
    """Run a command to its end: seconds by the clock and of its CPUs, and its peak memory.

    Raises RuntimeError with the end of what it wrote if it fails.
    """
    environment = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    try:
        last_lines = process.stderr.readlines()[-_SHOWN_LINES:]
    except BaseException:  # nothing goes on training when this program was interrupted
        process.kill()
        raise
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[1:4]} ended with code {process.returncode}:\n{''.join(last_lines)}")
    return {
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def identify(spec: dict[str, Any]) -> str:
    """The id of a run: a hash of its description."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def _read_lines(path: Path) -> dict[str, Line]:
    texts = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {line["id"]: line for line in map(json.loads, texts)}


def _describe(line: Line) -> str:
    settings = TrainerSettings(**line["settings"]).describe() if "settings" in line else {"seed": line["seed"]}
    words = ", ".join(f"{name} {value}" for name, value in settings.items()) or "as it comes"
    accuracies = ", ".join(f"{value:.2%} in rows of {length}" for length, value in line["accuracy"].items())
    spent = f"{line['seconds']:.0f} s, {line['cpu_seconds']:.0f} of CPU, {line['tokens']:,} tokens"
    return f"  {line['contender']}, {line['minutes']:g} min, {line['size']} ({words}): {accuracies}; {spent}"


def _search(runs: Runs, size: str) -> TrainerSettings:
    """The best settings for a size, each tried for the same minutes."""
    from pretune.compute.device import device_at_hand, multiplies_in_bf16

    def score(settings: TrainerSettings) -> float:
        found: float = runs.theirs(size, settings, runs.options.search_minutes)["accuracy"][str(_ROW_TOKENS)]
        return found

    start = tuned_start(_ROW_TOKENS, _ROWS_PER_STEP, has_bf16=multiplies_in_bf16(device_at_hand()))
    best = search(start, score)
    say(f"  tuned for {size}: {best.describe()}")
    return best


if __name__ == "__main__":
    main()
