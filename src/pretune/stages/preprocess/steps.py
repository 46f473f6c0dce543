"""The steps of stage 2 as maps and reduces: shards of the collected corpus in; clean documents and token shards out.

A shard is one file of the collected corpus, so the shards depend on the input alone. `engine` runs a step for all
shards, or for all ranges of hashes, in parallel; each step has a folder for its files until the stage is finished.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pretune.runtime.map_reduce import Step, Work, finished_parts, part_folder, place_file, run_steps
from pretune.runtime.workers import Engine
from pretune.settings import PreprocessConfig
from pretune.text.arrays.counted_words import Stretches
from pretune.text.arrays.text_buffer import FlatText
from pretune.text.clean.language import TEXTS_TO_SAMPLE, count_languages, is_installed
from pretune.text.clean.personal_data import PERSONAL_DATA
from pretune.text.clean.rules import quality_rules
from pretune.text.clean.screening import LANGUAGE_RULE, clean_document
from pretune.text.dedup.contamination import protect_texts, save_protected
from pretune.text.document_store import corpus_file, corpus_files
from pretune.text.reading_report import Tally
from pretune.text.seen_texts import PRETRAINING, HashStarts, save_seen
from pretune.text.splits import hash_text
from pretune.text.steps.clean_shard import clean_shard, hash_array, units_of
from pretune.text.steps.contaminated import find_in_shards
from pretune.text.steps.dropped import list_dropped
from pretune.text.steps.encode_shard import encode_shard, join_shards
from pretune.text.steps.exact_duplicates import find_exact_duplicates, num_ranges
from pretune.text.steps.funnel import Funnel, name_lengths
from pretune.text.steps.near_duplicates import find_near_duplicates
from pretune.text.steps.select import (
    DOCUMENTS_NAME,
    LENGTHS,
    REASONS,
    SPLITS,
    count_shard,
    kept_hashes,
    select_shard,
    write_shard,
)
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.word_counts import (
    MOST_CHARACTERS,
    TextSize,
    load_word_counts,
    num_word_ranges,
    sum_word_counts,
)

Results = list[dict[str, Any]]
OnProgress = Callable[[int, int, str], None]  # documents done, those of them that were done before, and the unit


class Steps:
    """The steps in order; `dropped` and `repairs` count what happened to the documents."""

    def __init__(
        self, engine: Engine, work: Path, collected: Path, config: PreprocessConfig, on_progress: OnProgress
    ) -> None:
        self.engine, self.work, self.config, self._on_progress = engine, engine.place_of(work), config, on_progress
        self.documents = corpus_files(engine.place_of(collected))
        self.threshold = (
            1.0 - config.validation_fraction
        )  # texts whose hash, as a number from 0 to 1, is at least this are for validation
        self.dropped = Tally()
        self.repairs: Counter[str] = Counter()
        self.num_words: Counter[str] = Counter()  # by split
        self.num_documents: Counter[str] = Counter()  # by split
        self.personal_data: Counter[str] = Counter()  # replaced, by kind
        self._languages: Counter[str] = Counter()
        self._is_sampled = config.language is None and is_installed()
        self._sample: list[str] = []  # kept texts
        self._found = Funnel()
        self._lengths = np.zeros(len(LENGTHS), dtype=np.int64)
        self._protected: Path | None = None
        self._protected_texts: Path | None = None
        self._num_contaminated = self._num_characters = self._train_characters = 0
        self._counts: dict[str, int] = {}  # outputs of each step
        self._num_texts: list[int] = []  # of each cleaned shard
        self._num_signed: list[int] = []  # entries of each cleaned shard
        self._near: list[str] = []  # folders with near duplicates

    @property
    def num_kept(self) -> int:
        return self.num_documents.total()

    def protect(self, held_out: Sequence[str], protected: Sequence[str]) -> None:
        """Set the texts to leave out of the corpus, and those whose word sequences no document of it may contain."""
        is_replaced = self._screening["is_personal_replaced"]
        texts = [clean_document(text, is_personal_replaced=is_replaced) for text in (*held_out, *protected)]
        left_out = texts if self.config.decontaminate == "drop" else texts[: len(held_out)]
        self.work.mkdir(parents=True, exist_ok=True)
        np.save(self.work / "held_out.npy", hash_array([hash_text(text) for text in left_out]))
        if texts and self.config.decontaminate != "off":
            self._protected, self._protected_texts = self.work / "protected", self.work / "protected.flat"
            shutil.rmtree(self._protected, ignore_errors=True)  # left by an interrupted attempt
            save_protected(self._protected, protect_texts(texts))
            FlatText.from_texts(texts).save(self._protected_texts)

    def clean(self) -> None:
        """Map: repair, quality rules, and the hashes and signatures that the next steps need."""
        config = self.config
        shared = {
            "rules": self._rules,
            "screening": self._screening,
            "most_listed": config.dropped_listed,
            "near_duplicate_threshold": config.near_duplicate_threshold if config.near_duplicates else None,
            "protected": None if self._protected is None else str(self._protected),
        }
        tasks = [{"documents": str(path), **shared} for path in self.documents]
        for result in self._run("clean", clean_shard, tasks, "documents cleaned"):
            self.dropped.add_all(result["dropped"])
            self.repairs.update(result["repairs"])
            self.personal_data.update(result["personal_data"])
            self._languages.update(result["languages"])
            self.num_documents["clean"] += result["kept"]
            self._num_texts.append(result["kept"])
            self._num_signed.append(result["signed"])
            self._found.add(result["documents"], result["found_characters"], result["repaired_characters"])

    def find_duplicates(self) -> None:
        """Reduce: equal hashes, one range of hashes at a time; then similar texts among the rest."""
        ranges = num_ranges(self.num_documents.pop("clean"), len(self.documents))
        tasks = [{"shards": self._outputs("clean"), "range": number, "ranges": ranges} for number in range(ranges)]
        self._run("exact", find_exact_duplicates, tasks)
        if self.config.near_duplicates:
            cleaned = {"shards": self._outputs("clean"), "texts": self._num_texts, "entries": self._num_signed}
            exact, threshold = self._outputs("exact"), self.config.near_duplicate_threshold
            self._near = find_near_duplicates(self.engine, self.work, cleaned, exact, threshold)

    def find_contaminated(self) -> None:
        """Reduce: documents that share word sequences, other than common phrases, with protected texts."""
        duplicates = [*self._outputs("exact"), *self._near]
        task = {"shards": self._outputs("clean"), "duplicates": duplicates}
        for result in self._run("contaminated", find_in_shards, [] if self._protected is None else [task]):
            self._num_contaminated = result["contaminated"]

    def select(self) -> int:
        """Map: which documents are kept. Returns the number of documents for validation."""
        shared = {**self._lists, "held_out": str(self.work / "held_out.npy"), "threshold": self.threshold}
        if self._is_sampled:
            shared["sampled_fraction"] = TEXTS_TO_SAMPLE / max(1, sum(self._num_texts))
        tasks = [
            {"cleaned": cleaned, "shard": number, **shared} for number, cleaned in enumerate(self._outputs("clean"))
        ]
        results = self._run("select", select_shard, tasks)
        self._sample = [text for result in results for text in result["sample"]]
        for result in results:
            self.dropped.add_all(result["dropped"])
        validation = sum(result["validation"] for result in results)
        kept = sum(result["kept"] for result in results)
        self._train_characters = sum(result["train_characters"] for result in results)
        self.num_documents.update(validation=validation, train=kept - validation)
        return validation

    def take_for_validation(self, count: int) -> None:
        """Choose `count` documents for validation: those with the largest hashes."""
        largest = np.zeros(0)
        for cleaned, selected in zip(self._outputs("clean"), self._outputs("select"), strict=True):
            largest = np.sort(np.append(largest, units_of(kept_hashes(Path(cleaned), Path(selected)))))[-count:]
        self.threshold = float(largest[0])

    def count_words(self) -> tuple[Stretches, TextSize]:
        """Map and reduce: how often each whitespace-delimited word occurs in the training text, and its size."""
        fraction = min(1.0, MOST_CHARACTERS / max(1, self._train_characters))
        ranges = num_word_ranges(self._train_characters)
        tasks = [{**task, "counted_fraction": fraction, "word_ranges": ranges} for task in self._kept()]
        self._run("counts", count_shard, tasks)
        tasks = [{"shards": self._outputs("counts"), "range": number} for number in range(ranges)]
        by_count: Counter[int] = Counter()
        for result in self._run("words", sum_word_counts, tasks):
            by_count.update({int(count): number for count, number in result["stretches_by_count"].items()})
        return load_word_counts([Path(output) for output in self._outputs("words")], by_count)

    def identify_sample(self) -> None:
        """Detect the languages of a sample of the kept texts, for the report, if no language is required."""
        self._languages.update(count_languages(self._sample))

    def write(self, out: Path) -> None:
        """Map: write the documents of this stage. Reduce: list the dropped ones."""
        dropped = {
            **self._lists,
            "cleaned": self._outputs("clean"),
            "selected": self._outputs("select"),
            "most_listed": self.config.dropped_listed,
            "protected_texts": None if self._protected_texts is None else str(self._protected_texts),
        }
        listing = self._step("dropped", list_dropped, [dropped] if self.config.dropped_listed else [])
        _, results = run_steps(self.engine, [listing, self._step("write", write_shard, self._kept())])
        self.num_documents.clear()
        for result in results:
            self.num_words.update(result["words"])
            self.num_documents.update(result["by_split"])
            self._num_characters += result["characters"]
            self._lengths += np.array(result["lengths"])
        for number, output in enumerate(self._outputs("write")):
            place_file(Path(output) / DOCUMENTS_NAME, corpus_file(out, number))
        save_seen(out, PRETRAINING, hashes=self._train_hashes())
        for folder in self._outputs("dropped"):
            for file in sorted(Path(folder).glob("*.jsonl.zst")):
                place_file(file, out / file.name)

    def _train_hashes(self) -> Iterator[HashStarts]:
        """The first 8 bytes of the hash of each training document, by shard: all that is held of the whole text."""
        for cleaned, selected in zip(self._outputs("clean"), self._outputs("select"), strict=True):
            hashes = kept_hashes(Path(cleaned), Path(selected))
            yield hashes[units_of(hashes) < self.threshold, 0]

    def funnel(self) -> dict[str, Any]:
        """The fields of a `funnel` event. Raises RuntimeError if documents or characters do not add up."""
        rules = quality_rules(**self._rules)
        names = dict.fromkeys([rule.name for rule in (*rules.short, *rules.long)] + [LANGUAGE_RULE, *REASONS])
        funnel = self._found.then_dropped([self.dropped.rules[name] for name in names if name in self.dropped.rules])
        kept = {"documents": self.num_kept, "characters": self._num_characters}
        if funnel[-1] != {"step": funnel[-1]["step"], **kept}:
            raise RuntimeError(f"{kept} are kept, but after the last rule there were {funnel[-1]}")
        fields: dict[str, Any] = {"steps": funnel, "lengths": name_lengths(self._lengths.tolist())}
        if self._languages:
            fields["languages"] = dict(self._languages.most_common())
        if self._sample:
            fields["languages_of"] = len(self._sample)
        if self.config.personal_data == "replace":
            fields["personal_data"] = {kind: self.personal_data[kind] for kind in PERSONAL_DATA}
        return fields

    @property
    def num_characters(self) -> int:
        """Characters of the kept texts."""
        return self._num_characters

    @property
    def num_reported(self) -> int:
        """Contaminated documents that are kept, because `decontaminate` is `report`."""
        return self._num_contaminated if self.config.decontaminate == "report" else 0

    @property
    def _rules(self) -> dict[str, Any]:
        config = self.config
        return {
            "profile": config.quality_profile,
            "min_words": config.min_words,
            "max_symbol_ratio": config.max_symbol_ratio,
            "disabled": list(config.disabled_rules),
            "language": config.language,
        }

    @property
    def _screening(self) -> dict[str, Any]:
        return {"is_personal_replaced": self.config.personal_data == "replace", "language": self.config.language}

    @property
    def _lists(self) -> dict[str, list[str]]:
        """The folders with the lists of documents that earlier steps found."""
        contaminated = self._outputs("contaminated")
        is_dropped = self.config.decontaminate == "drop"
        return {
            "exact_duplicates": self._outputs("exact"),
            "near_duplicates": self._near,
            "contaminated": contaminated if is_dropped else [],
            "reported": [] if is_dropped else contaminated,
        }

    def encode(self, out: Path, vocab_size: int, tokenizer_sha256: str) -> tuple[dict[str, TokenShard], Results]:
        """Map: token ids. Then join the shards; returns them with the result of encoding each one."""
        tokenizer = {"tokenizer": str(self.engine.place_of(out)), "tokenizer_sha256": tokenizer_sha256}
        tasks = [{**task, **tokenizer} for task in self._kept()]
        step = f"encode-{tokenizer_sha256[:16]}"  # not the ids of another tokenizer, trained in an earlier attempt
        results = self._run(step, encode_shard, tasks, "documents encoded")
        folders = [Path(output) for output in self._outputs(step)]
        shards = {split: join_shards(folders, out, split, vocab_size) for split in SPLITS}
        return shards, results

    def _kept(self) -> list[dict[str, Any]]:
        pairs = zip(self._outputs("clean"), self._outputs("select"), strict=True)
        return [{"cleaned": c, "selected": s, "threshold": self.threshold} for c, s in pairs]

    def _outputs(self, step: str) -> list[str]:
        """The folders of a step's outputs, in order."""
        count = self._counts[step]
        return [str(part_folder(self.work / step, number)) for number in range(count)]

    def _run(self, step: str, work: Work, tasks: Results, unit: str | None = None) -> Results:
        return run_steps(self.engine, [self._step(step, work, tasks, unit)])[0]

    def _step(self, step: str, work: Work, tasks: Results, unit: str | None = None) -> Step:
        """A step; with `unit`, its start and the number of finished documents are reported."""
        done = done_before = 0
        finished = set() if unit is None else finished_parts(self.work / step, len(tasks))
        if unit is not None:
            self._on_progress(done, done_before, unit)

        def on_part(number: int, result: dict[str, Any]) -> None:
            nonlocal done, done_before
            if unit is not None:
                done += result["documents"]
                done_before += result["documents"] if number in finished else 0
                self._on_progress(done, done_before, unit)

        self._counts[step] = len(tasks)
        return Step(self.work / step, work, tasks, on_part)
