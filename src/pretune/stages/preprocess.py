"""Stage 2: documents in; clean, filtered, deduplicated text, a tokenizer and token shards out.

The line: repair, quality rules, exact duplicates, (near duplicates,) split, held-out texts, tokenizer on the training
part only, token shards.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pretune.data.shards import ShardWriter, TokenShard
from pretune.errors import InputDataError, PretuneError
from pretune.runtime.artifacts import (
    Manifest,
    StageFolder,
    hash_file,
    open_stage,
    read_manifest,
    remove_folder,
)
from pretune.runtime.memory import peak_memory_bytes
from pretune.stages.config import PreprocessConfig, to_dict
from pretune.text.corpus import CorpusWriter, corpus_files, iter_corpus
from pretune.text.dedup import SeenTexts
from pretune.text.encoding import CleanTextEncoder
from pretune.text.filters import quality_rules
from pretune.text.findings import Tally
from pretune.text.labeled import read_labeled
from pretune.text.normalize import REPAIRS, clean_text
from pretune.text.splits import assign_splits, hash_text, unit_of_hash
from pretune.text.tokenizer import Tokenizer, train_tokenizer

PROGRESS_SECONDS = 1.0
MIN_WORDS = 100  # of training text: with fewer there is nothing to learn
FEW_WORDS = 20_000  # of training text: with fewer a warning
MIN_VALIDATION_DOCUMENTS = 20  # or a tenth of the documents, where there are fewer than 200
NOTEWORTHY_SHARE = 0.2  # of the documents dropped by one rule
_BATCH_CHARACTERS = 2_000_000
_ROUND_TRIPS = 1000
_HELD_OUT = "the text is one of the labelled validation or test rows"
_DUPLICATE = "the same text, white space and case apart, came before"


def preprocess(
    collected: Path,
    out: Path,
    config: PreprocessConfig = PreprocessConfig(),
    *,
    labels: Path | None = None,
    test_labels: Path | None = None,
    redo: bool = False,
) -> Manifest:
    """Clean the documents in `collected`, train a tokenizer on the training part, and write token shards to `out`.

    Texts that stage 4 will hold out of `labels`, and those of `test_labels`, are taken out. Raises InputDataError where
    too little text is left, or less than the vocabulary asked for needs; such a refusal leaves no folder behind.
    """
    quality_rules(min_words=1, max_symbol_ratio=1.0, disabled=config.disabled_rules)  # refuses unknown names at once
    source = read_manifest(Path(collected), "collect")
    files = {name: Path(p) for name, p in (("labels", labels), ("test_labels", test_labels)) if p is not None}
    inputs = {"collected": source.fingerprint, **{name: _hash(path) for name, path in files.items()}}
    folder = open_stage(Path(out), "preprocess", config=to_dict(config), inputs=inputs, redo=redo)
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    try:
        _Preprocessing(Path(collected), source, folder, config, files).run()
    except PretuneError:
        folder.close()
        remove_folder(folder.path)
        raise
    finally:
        folder.close()
    return folder.manifest


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise InputDataError(f"{path} cannot be read ({error.strerror}); expected a label file.") from error


class _Preprocessing:
    """One run of the stage: what its steps share, and the steps in order."""

    def __init__(
        self, collected: Path, source: Manifest, folder: StageFolder, config: PreprocessConfig, files: dict[str, Path]
    ) -> None:
        self.start = time.monotonic()
        self.collected, self.source, self.folder, self.config, self.files = collected, source, folder, config, files
        self.dropped = Tally()
        self.repairs: Counter[str] = Counter()
        self.num_words: Counter[str] = Counter()  # by split
        self.num_bytes = 0  # of clean text, as it was given to the tokenizer
        self._next_progress = self.start + PROGRESS_SECONDS

    @property
    def path(self) -> Path:
        return self.folder.path

    def run(self) -> None:
        names = [str(self.collected), *map(str, self.files.values())]
        is_synthetic = bool(self.source.summary.get("synthetic", False))
        self.folder.log.write("stage_started", config=to_dict(self.config), inputs=names, synthetic=is_synthetic)
        units = self._clean()
        self._ensure_validation(units)
        self._check_size(len(units))
        tokenizer = self._train_tokenizer()
        shards = self._encode(tokenizer)
        self._check_tokens(tokenizer, shards)
        self._report(tokenizer, shards)
        self._finish(tokenizer, shards)

    # --- clean text

    def _clean(self) -> array[float]:
        """Write the documents that are kept, clean and with their split; the place of each in the order of hashes."""
        held_out = self._held_out_texts()
        seen = SeenTexts()
        units = array("d")
        config, rules = self.config, self._rules()
        with CorpusWriter(self.path) as writer:
            for number, document in enumerate(iter_corpus(self.collected), 1):
                text = clean_text(document["text"], self.repairs)
                rule = next((rule for rule in rules if rule.applies(text)), None)
                if rule is not None:
                    self.dropped.add(rule.name, rule.reason, document["text"])
                elif not seen.add(key := hash_text(text)):
                    self.dropped.add("exact_duplicate", _DUPLICATE, text)
                # Near duplicates will be dropped here.
                elif key in held_out:
                    self.dropped.add("held_out", _HELD_OUT, text)
                else:
                    unit = unit_of_hash(key)
                    split = "train" if unit < 1.0 - config.validation_fraction else "validation"
                    writer.write(text, source=document["source"], split=split)
                    units.append(unit)
                    self.num_words[split] += text.count(" ") + 1
                self._tell_progress(number, "documents cleaned")
        if len(units) + self.dropped.total != self.source.summary["documents"]:
            raise RuntimeError(f"{len(units)} kept and {self.dropped.total} dropped are not all documents")
        return units

    def _rules(self) -> list[Any]:
        config = self.config
        return quality_rules(
            min_words=config.min_words, max_symbol_ratio=config.max_symbol_ratio, disabled=config.disabled_rules
        )

    def _held_out_texts(self) -> SeenTexts:
        """What stage 4 will not train on, so that stage 3 does not see it either."""
        texts: list[str] = []
        config = self.config
        for name, path in self.files.items():
            rows = read_labeled(path, config.label_text_column, config.label_column)
            usable = [(t, label) for t, label in zip(rows.texts, rows.labels, strict=True) if t.strip() and label]
            if name == "test_labels":
                texts += [text for text, _ in usable]
                continue
            test_fraction = 0.0 if "test_labels" in self.files else config.label_test_fraction
            splits = assign_splits(
                [text for text, _ in usable],
                [label for _, label in usable],
                config.label_validation_fraction,
                test_fraction,
            )
            texts += [text for (text, _), split in zip(usable, splits, strict=True) if split != "train"]
        return SeenTexts(hash_text(clean_text(text)) for text in texts)

    def _ensure_validation(self, units: array[float]) -> None:
        """Where too few documents are left to validate on, the training ones with the largest hashes are moved there.

        That happens by chance in a small corpus, and always where the labelled texts are the corpus: held-out rows and
        validation documents are then the same texts, those with the largest hashes.
        """
        threshold = 1.0 - self.config.validation_fraction
        wanted = max(MIN_VALIDATION_DOCUMENTS, round(self.config.validation_fraction * len(units)))
        need = min(wanted, len(units) // 10) or min(1, len(units) - 1)
        num_validation = sum(unit >= threshold for unit in units)
        if num_validation >= need / 2:
            return
        threshold = sorted(units)[-need]
        self.num_words.clear()
        draft = self.path / "draft"
        draft.mkdir(exist_ok=True)
        with CorpusWriter(draft) as writer:
            for unit, document in zip(units, iter_corpus(self.path), strict=True):
                document["split"] = "train" if unit < threshold else "validation"
                self.num_words[document["split"]] += document["text"].count(" ") + 1
                writer.write(**document)
        for file in corpus_files(self.path):
            file.unlink()
        for file in corpus_files(draft):
            file.rename(self.path / file.name)
        draft.rmdir()
        sentence = (
            f"Only {num_validation:,} documents were left to validate on; now there are {need:,}, chosen by hash."
        )
        self.folder.log.write("notice", sentence=sentence)

    def _check_size(self, num_documents: int) -> None:
        words = self.num_words["train"]
        if words < MIN_WORDS or not self.num_words["validation"]:
            most = max(self.dropped.rules.values(), key=lambda rule: rule.count, default=None)
            why = f" (most were dropped because {most.reason}: {most.count:,})" if most else ""
            raise InputDataError(
                f"The clean text has {words:,} words for training in {num_documents:,} documents{why}, which is too "
                f"little to learn from; expected at least {MIN_WORDS} words in 2 documents, and best {FEW_WORDS:,}."
            )
        if words < FEW_WORDS:
            sentence = f"The training text has {words:,} words only; below {FEW_WORDS:,} there is little to learn."
            self.folder.log.write("warning", rule="small_corpus", count=words, sentence=sentence)

    # --- tokenizer and shards

    def _texts(self, split: str | None = None) -> Iterator[str]:
        for document in iter_corpus(self.path):
            if split is None or document["split"] == split:
                yield document["text"]

    def _train_tokenizer(self) -> Tokenizer:
        config = self.config
        tokenizer = train_tokenizer(self._texts("train"), config.tokenizer, config.vocab_size, config.lowercase)
        tokenizer.save(self.path)
        return tokenizer

    def _encode(self, tokenizer: Tokenizer) -> dict[str, TokenShard]:
        encoder = CleanTextEncoder(tokenizer)
        done = 0
        with (
            ShardWriter(self.path, "train", tokenizer.vocab_size) as train,
            ShardWriter(self.path, "validation", tokenizer.vocab_size) as validation,
        ):
            writers = {"train": train, "validation": validation}
            for batch in self._batches():
                for split, writer in writers.items():
                    texts = [document["text"] for document in batch if document["split"] == split]
                    if texts:
                        writer.add_many(*encoder.encode(texts))
                        self.num_bytes += sum(
                            len(text.encode()) + 1 for text in texts
                        )  # with the blank before the first
                done += len(batch)
                self._tell_progress(done, "documents encoded")
        if not encoder.is_exact:
            self.folder.log.write("notice", sentence="The fast way to encode did not agree; the slow way was taken.")
        shards = {split: TokenShard(self.path, split) for split in writers}
        for split, writer in writers.items():
            if (shards[split].num_tokens, len(shards[split])) != (writer.num_tokens, writer.num_documents):
                raise RuntimeError(f"the {split} shard does not hold what was written to it")
        return shards

    def _batches(self) -> Iterator[list[dict[str, Any]]]:
        batch: list[dict[str, Any]] = []
        characters = 0
        for document in iter_corpus(self.path):
            batch.append(document)
            characters += len(document["text"])
            if characters >= _BATCH_CHARACTERS:
                yield batch
                batch, characters = [], 0
        if batch:
            yield batch

    def _check_tokens(self, tokenizer: Tokenizer, shards: dict[str, TokenShard]) -> None:
        """Count again, independently, that the shards hold the text to the last byte."""
        num_tokens = sum(shard.num_tokens for shard in shards.values())
        sentence = f"All {num_tokens:,} tokens of the clean text are in the shards"
        if tokenizer.kind == "bpe" and not self.config.lowercase:
            bytes_of = np.array([len(piece) for piece in tokenizer.token_bytes], dtype=np.int64)
            in_shards = sum(_sum_of(bytes_of, shard) for shard in shards.values())
            if in_shards != self.num_bytes:
                raise RuntimeError(f"the shards stand for {in_shards} bytes of text, and the text has {self.num_bytes}")
            sentence += f"; they stand for all of its {self.num_bytes:,} bytes"
        self.folder.log.write("notice", sentence=sentence + ".")

    # --- telling

    def _report(self, tokenizer: Tokenizer, shards: dict[str, TokenShard]) -> None:
        num_documents = sum(len(shard) for shard in shards.values())
        num_tokens = sum(shard.num_tokens for shard in shards.values()) - 2 * num_documents
        words = self.num_words.total()
        is_unknown = np.zeros(tokenizer.vocab_size, dtype=np.int64)
        if tokenizer.unk_id is not None:
            is_unknown[tokenizer.unk_id] = 1
        unknown_share = sum(_sum_of(is_unknown, shard) for shard in shards.values()) / max(1, num_tokens)
        sample = list(islice(self._texts(), _ROUND_TRIPS))
        surfaces = tokenizer.surfaces(range(tokenizer.first_ordinary_id, tokenizer.vocab_size))
        characters = sum(map(len, sample))
        sample_ids = tokenizer.encode_batch(sample)
        self.folder.log.write(
            "tokenizer_report",
            kind=tokenizer.kind,
            vocab_size=tokenizer.vocab_size,
            fertility=round(num_tokens / max(1, words), 4),
            unknown_share=round(unknown_share, 6),
            longest_tokens=sorted(surfaces, key=lambda surface: (-len(surface), surface))[:10],
            round_trip_share=sum(self._returns(tokenizer, *pair) for pair in zip(sample, sample_ids, strict=True))
            / len(sample),
            characters_per_token=round(characters / max(1, sum(len(ids) - 2 for ids in sample_ids)), 4),
        )
        if unknown_share > 0.05:
            sentence = f"{unknown_share:.1%} of the words are unknown; --tokenizer bpe knows every text."
            self.folder.log.write(
                "warning", rule="unknown_words", count=round(unknown_share * num_tokens), sentence=sentence
            )

    def _returns(self, tokenizer: Tokenizer, text: str, ids: list[int]) -> bool:
        """Whether decoding gives the text back; whole words without regard to blanks, which they do not keep."""
        decoded = tokenizer.decode(ids)
        if tokenizer.kind == "words":
            decoded, text = decoded.replace(" ", ""), text.replace(" ", "")
        return decoded == (text.lower() if self.config.lowercase else text)

    def _tell_progress(self, done: int, unit: str) -> None:
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_SECONDS
            total = self.source.summary["documents"]
            if unit == "documents encoded":
                total -= self.dropped.total
            self.folder.log.write("progress", done=done, total=total, unit=unit, elapsed_seconds=now - self.start)

    def _tell_drops(self) -> None:
        total = self.source.summary["documents"]
        for rule in self.dropped.rules.values():
            if rule.count > NOTEWORTHY_SHARE * total:
                sentence = f"{rule.count:,} of {total:,} documents were dropped ({rule.name}): {rule.reason}."
                self.folder.log.write("warning", rule=rule.name, count=rule.count, sentence=sentence)
        if self.repairs:
            repaired = "; ".join(f"{count:,} documents: {REPAIRS[name]}" for name, count in self.repairs.most_common())
            self.folder.log.write("notice", sentence=f"Repaired, in {repaired}.")

    def _finish(self, tokenizer: Tokenizer, shards: dict[str, TokenShard]) -> None:
        self._tell_drops()
        before = self.source.summary["example"]["text"]
        text = clean_text(before)
        ids = tokenizer.encode(text)
        self.folder.log.write("example", text_before=before, text=text, tokens=tokenizer.surfaces(ids), ids=ids)
        summary = {
            "vocab_size": tokenizer.vocab_size,
            "train_documents": len(shards["train"]),
            "train_tokens": shards["train"].num_tokens,
            "validation_documents": len(shards["validation"]),
            "validation_tokens": shards["validation"].num_tokens,
        }
        shape_in = {name: self.source.summary[name] for name in ("documents", "characters")}
        seconds, peak = time.monotonic() - self.start, peak_memory_bytes()
        self.folder.log.write(
            "flow",
            shape_in=[{"name": name, "value": value} for name, value in shape_in.items()],
            shape_out=[{"name": name, "value": value} for name, value in summary.items()],
            dropped=self.dropped.to_event(),
            repaired=dict(self.repairs),
            seconds=seconds,
            peak_memory_bytes=peak,
        )
        self.folder.log.write("stage_finished", seconds=seconds, peak_memory_bytes=peak)
        self.folder.finish(
            **summary,
            synthetic=bool(self.source.summary.get("synthetic", False)),
            example={"text": text},
            special_ids=tokenizer.special_ids,
        )


def _sum_of(value_of_token: np.ndarray[Any, np.dtype[np.int64]], shard: TokenShard, step: int = 1 << 22) -> int:
    """The sum over all tokens of a shard, a stretch at a time."""
    tokens = shard.tokens
    return sum(int(value_of_token[tokens[i : i + step]].sum()) for i in range(0, len(tokens), step))
