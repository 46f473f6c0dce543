"""The steps of stage 2 over the parts of the corpus: what is a map, what a reduce, and what each hands to the next.

A part is one file of the collected corpus, so the parts are a matter of the input alone. `engine` does each step for
all parts, or for all ranges of hashes, at once; the files of every step lie in a folder of its own until the stage is
finished.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretune.data.shards import TokenShard
from pretune.data.tokenizing import encode_part, join_shards
from pretune.runtime.engines import Engine
from pretune.runtime.partitions import Work, part_folder, run_step
from pretune.stages.config import PreprocessConfig
from pretune.text.cleaning import clean_part, hash_array
from pretune.text.corpus import corpus_file, corpus_files
from pretune.text.dedup import find_exact_duplicates, num_ranges
from pretune.text.findings import Tally
from pretune.text.near_duplicates import find_among_parts
from pretune.text.selection import DOCUMENTS_NAME, SPLITS, kept_units, select_part, write_part
from pretune.text.word_counts import MOST_CHARACTERS, load_word_counts, num_word_ranges, sum_word_counts

Results = list[dict[str, Any]]
OnProgress = Callable[[int, str], None]


class Steps:
    """The steps in their order; `dropped` and `repairs` tell what became of the documents that went in."""

    def __init__(
        self, engine: Engine, work: Path, collected: Path, config: PreprocessConfig, tell_progress: OnProgress
    ) -> None:
        self.engine, self.work, self.config, self._tell_progress = engine, work, config, tell_progress
        self.documents = corpus_files(collected)
        self.threshold = 1.0 - config.validation_fraction  # the unit from which on a text is for validation
        self.dropped = Tally()
        self.repairs: Counter[str] = Counter()
        self.num_words: Counter[str] = Counter()  # by split
        self.num_documents: Counter[str] = Counter()  # by split
        self._train_characters = 0
        self._counts: dict[str, int] = {}  # parts of each step

    @property
    def _near_threshold(self) -> float | None:
        return self.config.near_duplicate_threshold if self.config.near_duplicates else None

    @property
    def num_kept(self) -> int:
        return self.num_documents.total()

    def clean(self) -> None:
        """Map: repair, quality rules, and a hash of every text."""
        config = self.config
        rules = {
            "profile": config.quality_profile,
            "min_words": config.min_words,
            "max_symbol_ratio": config.max_symbol_ratio,
            "disabled": list(config.disabled_rules),
        }
        shared = {"rules": rules, "near_duplicate_threshold": self._near_threshold}
        tasks = [{"documents": str(path), **shared} for path in self.documents]
        for result in self._run("clean", clean_part, tasks, "documents cleaned"):
            self.dropped.add_all(result["dropped"])
            self.repairs.update(result["repairs"])
            self.num_documents["clean"] += result["kept"]

    def find_duplicates(self) -> None:
        """Reduce: equal hashes, range by range of the hashes; then similar texts among those that are left."""
        ranges = num_ranges(self.num_documents.pop("clean"))
        tasks = [{"parts": self._parts("clean"), "range": number, "ranges": ranges} for number in range(ranges)]
        self._run("exact", find_exact_duplicates, tasks)
        exact = self._parts("exact")
        near = {"parts": self._parts("clean"), "exact_duplicates": exact, "threshold": self._near_threshold}
        self._run("near", find_among_parts, [near] if self.config.near_duplicates else [])

    def select(self, held_out: Sequence[bytes]) -> int:
        """Map: who is kept. `held_out` are hashes of texts to leave out. The number of documents for validation."""
        held_out_path = self.work / "held_out.npy"
        np.save(held_out_path, hash_array(held_out))
        shared = {
            "exact_duplicates": self._parts("exact"),
            "near_duplicates": self._parts("near"),
            "held_out": str(held_out_path),
            "threshold": self.threshold,
        }
        tasks = [{"cleaned": part, "part": number, **shared} for number, part in enumerate(self._parts("clean"))]
        results = self._run("select", select_part, tasks)
        for result in results:
            self.dropped.add_all(result["dropped"])
        validation = sum(result["validation"] for result in results)
        kept = sum(result["kept"] for result in results)
        self._train_characters = sum(result["train_characters"] for result in results)
        self.num_documents.update(validation=validation, train=kept - validation)
        return validation

    def take_for_validation(self, count: int) -> None:
        """Choose `count` documents for validation: those with the largest hashes."""
        units = np.concatenate(
            [kept_units(Path(c), Path(s)) for c, s in zip(self._parts("clean"), self._parts("select"), strict=True)]
        )
        self.threshold = float(np.sort(units)[-count])

    def write(self, out: Path) -> None:
        """Map: the documents of this stage, and the counts of their words."""
        share = min(1.0, MOST_CHARACTERS / max(1, self._train_characters))
        ranges = num_word_ranges(self._train_characters)
        tasks = [{**task, "counted_share": share, "word_ranges": ranges} for task in self._kept()]
        self.num_documents.clear()
        for result in self._run("write", write_part, tasks):
            self.num_words.update(result["words"])
            self.num_documents.update(result["by_split"])
        for number, part in enumerate(self._parts("write")):
            _place(Path(part) / DOCUMENTS_NAME, corpus_file(out, number))

    def count_words(self) -> Counter[str]:
        """Reduce: how often each stretch between blanks occurs in the training text, range by range."""
        ranges = num_word_ranges(self._train_characters)
        tasks = [{"parts": self._parts("write"), "range": number} for number in range(ranges)]
        by_count: Counter[int] = Counter()
        for result in self._run("words", sum_word_counts, tasks):
            by_count.update({int(count): number for count, number in result["stretches_by_count"].items()})
        return load_word_counts([Path(part) for part in self._parts("words")], by_count)

    def encode(self, out: Path, vocab_size: int, tokenizer_sha256: str) -> tuple[dict[str, TokenShard], int, bool]:
        """Map: token ids; then the shards in one piece. With them the bytes encoded, and whether the fast way held."""
        tokenizer = {"tokenizer": str(out), "tokenizer_sha256": tokenizer_sha256}
        tasks = [{**task, **tokenizer} for task in self._kept()]
        results = self._run("encode", encode_part, tasks, "documents encoded")
        folders = [Path(part) for part in self._parts("encode")]
        shards = {split: join_shards(folders, out, split, vocab_size) for split in SPLITS}
        return shards, sum(r["bytes"] for r in results), all(r["is_exact"] for r in results)

    def _kept(self) -> list[dict[str, Any]]:
        pairs = zip(self._parts("clean"), self._parts("select"), strict=True)
        return [{"cleaned": c, "selected": s, "threshold": self.threshold} for c, s in pairs]

    def _parts(self, step: str) -> list[str]:
        """The folders of a step's parts, in order."""
        count = self._counts[step]
        return [str(part_folder(self.work / step, number)) for number in range(count)]

    def _run(self, step: str, work: Work, tasks: Results, unit: str | None = None) -> Results:
        done = 0

        def on_part(_number: int, result: dict[str, Any]) -> None:
            nonlocal done
            if unit is not None:
                done += result["documents"]
                self._tell_progress(done, unit)

        self._counts[step] = len(tasks)
        return run_step(self.engine, self.work / step, work, tasks, on_part)


def _place(file: Path, target: Path) -> None:
    """Give a file a second name, or where the file system has none, copy it."""
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, target)
