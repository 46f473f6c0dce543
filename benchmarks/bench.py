"""All speed benchmarks in one go: `make bench`, or `python benchmarks/bench.py --parts pretraining --sizes 5M --quick`.

Text is IMDB's where PRETUNE_DATA names the folder of real corpora, the built-in world's elsewhere. Tables go to the
terminal, the figures with machine and commit to benchmarks/results.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import finetuning
import neighbour
import prediction
import pretraining
from machine import say, write_result
from workload import SIZES, make_pretraining_text

from pretune.compute.device import multiplies_in_bf16

PARTS = ("pretraining", "finetuning", "prediction", "neighbour")
_DOCUMENTS = 4_000


def main() -> None:
    options = _parse()
    started = time.monotonic()
    folder, text = make_pretraining_text(options.work, _DOCUMENTS)
    has_bf16 = multiplies_in_bf16("cpu")
    say(f"Text: {text}. bf16 products: {'yes' if has_bf16 else 'no, so fp32 for all'}.")
    results: dict[str, Any] = {"text": text, "has_bf16": has_bf16, "repeats": options.repeats, "quick": options.quick}
    for part in options.parts:
        say(f"-- {part}")
        results[part], table = _PARTS[part](options, folder, has_bf16)
        say(table)
    results["minutes"] = (time.monotonic() - started) / 60
    path = write_result(options.name, results)
    say(f"{results['minutes']:.1f} minutes; figures in {path.name}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=_words(PARTS), default=list(PARTS), help=f"of {','.join(PARTS)}; all")
    parser.add_argument("--sizes", type=_words(tuple(SIZES)), help=f"of {','.join(SIZES)}; all, 5M with --quick")
    parser.add_argument("--repeats", type=int, help="turns of each contender; 3, or 2 with --quick")
    parser.add_argument("--seconds", type=float, help="of a turn; 8, or 5 with --quick")
    parser.add_argument("--quick", action="store_true", help="one size, fewer contenders: some three minutes")
    parser.add_argument("--only-phrases", action="store_true", help="no long texts in the part on prediction")
    parser.add_argument("--with-neighbour", action="store_true", help="only the part beside a busy neighbour")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"), help="where text and models are made")
    parser.add_argument("--name", default="bench", help="of the file in benchmarks/results")
    options = parser.parse_args()
    if options.with_neighbour:
        options.parts = ["neighbour"]
    options.sizes = options.sizes or (["5M"] if options.quick else list(SIZES))
    options.repeats = options.repeats or (2 if options.quick else 3)
    options.seconds = options.seconds or (5.0 if options.quick else 8.0)
    return options


def _words(known: tuple[str, ...]) -> Callable[[str], list[str]]:
    def split(text: str) -> list[str]:
        words = text.split(",")
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not one of {', '.join(known)}")
        return words

    return split


def _pretraining(options: argparse.Namespace, folder: Path, has_bf16: bool) -> tuple[Any, str]:
    found = []
    for size in options.sizes:
        result = pretraining.measure_size(
            folder,
            size,
            repeats=options.repeats,
            seconds=options.seconds,
            has_bf16=has_bf16,
            everything=not options.quick,
        )
        say(pretraining.render([result]))
        found.append(result)
    return found, ""


def _finetuning(options: argparse.Namespace, folder: Path, has_bf16: bool) -> tuple[Any, str]:
    found = finetuning.measure(
        options.work, folder, repeats=options.repeats, seconds=options.seconds, has_bf16=has_bf16, quick=options.quick
    )
    return found, finetuning.render(found)


def _prediction(options: argparse.Namespace, folder: Path, has_bf16: bool) -> tuple[Any, str]:
    found = prediction.measure(
        options.work,
        folder,
        texts=2_000 if options.quick else 10_000,
        repeats=options.repeats,
        has_bf16=has_bf16,
        with_reviews=not options.only_phrases,
    )
    return found, prediction.render(found)


def _neighbour(options: argparse.Namespace, folder: Path, _has_bf16: bool) -> tuple[Any, str]:
    found = neighbour.measure(folder, repeats=options.repeats, seconds=options.seconds)
    return found, neighbour.render(found)


_PARTS = {
    "pretraining": _pretraining,
    "finetuning": _finetuning,
    "prediction": _prediction,
    "neighbour": _neighbour,
}


if __name__ == "__main__":
    main()
