"""Stage 2: documents in; clean, filtered, deduplicated text, a tokenizer and token shards out.

The order: repair, quality rules, exact duplicates, near duplicates, held-out and contaminated texts, split, tokenizer
on the training split only, token shards.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, get_args

import numpy as np

from pretune.errors import InputDataError, UsageError
from pretune.exporting.views import ROW_TOKENS, View, measure_view
from pretune.model.base_folder import BaseFolder, describe_pretrained_rows, read_base_folder
from pretune.runtime.manifest import Manifest, hash_file, read_manifest
from pretune.runtime.stage_folder import WORK_NAME, StageFolder, open_stage
from pretune.runtime.workers import Engine, describe_engine, open_engine
from pretune.settings import PreprocessConfig, to_dict, to_identity
from pretune.stages.preprocess.steps import Steps
from pretune.tasks.registry import task_named
from pretune.text.arrays.counted_words import Stretches
from pretune.text.clean.language import check_language
from pretune.text.clean.normalize import REPAIRS
from pretune.text.clean.personal_data import PERSONAL_DATA, replace_personal_data
from pretune.text.clean.rules import quality_rules
from pretune.text.clean.screening import clean_document
from pretune.text.collect.protected_texts import protected_texts
from pretune.text.collect.report_sentences import Remark, remarks
from pretune.text.document_store import iter_corpus
from pretune.text.labels.capitals import are_in_lower_case, describe_lower_case
from pretune.text.labels.split import LabelledSplit, open_split
from pretune.text.reading_report import Findings, counted
from pretune.text.sources.files import find_files, fingerprint_files
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.fast_encoder import LIBRARY as FAST_LIBRARY
from pretune.text.tokenizer.files import TOKENIZER_NAME
from pretune.text.tokenizer.tokenizer import Tokenizer, copy_tokenizer, load_tokenizer
from pretune.text.tokenizer.training import LIBRARY as TRAINER
from pretune.text.tokenizer.training import train_on_counts

MIN_WORDS = 100  # of training text; with fewer there is nothing to learn
FEW_WORDS = 20_000  # of training text; with fewer there is a warning
MIN_VALIDATION_DOCUMENTS = 20  # or a tenth of the documents, if there are fewer than 200
NOTEWORTHY_FRACTION = 0.2  # of the documents, dropped by one rule
_ROUND_TRIPS = 1000


def preprocess(
    collected: Path,
    out: Path,
    config: PreprocessConfig = PreprocessConfig(),
    *,
    split: Path | None = None,
    protect: Sequence[str | Path] = (),
    base: Path | None = None,
    redo: bool = False,
) -> Manifest:
    """Clean the documents in `collected`, train a tokenizer on the training split, and write token shards to `out`.

    The held-out texts of `split`, a folder that `pretune split` wrote, are removed, and so are documents that share
    word sequences with them or with the files in `protect`. With `base`, a model that pre-training will start from, its
    tokenizer is used instead of a new one. Raises InputDataError if too little text is left, or less than a vocabulary
    of the given size needs, if the documents were collected with another split, or if the base has learned test rows
    of this split; ModelNotFoundError if the base has no tokenizer; UsageError if settings ask for another one. After
    such an error there is no new folder.
    """
    quality_rules(disabled=config.disabled_rules)  # raises for unknown names
    if config.language is not None:
        check_language(config.language)
    source = read_manifest(Path(collected), "collect")
    inputs = {"collected": source.fingerprint}
    if split is not None:
        inputs["split"] = read_manifest(Path(split), "split").fingerprint
    collected_with = source.inputs.get("split")
    if collected_with is not None and collected_with != inputs.get("split"):
        given = "no split is given" if split is None else f"{split} is a different one"
        raise InputDataError(
            f"{collected} contains the training texts of a split (fingerprint {collected_with[:12]}), but {given}; "
            "give that split here as well, or collect again with this one."
        )
    if protect:
        inputs["protect"] = fingerprint_files(find_files(protect, Findings()))
    base_folder = None if base is None else read_base_folder(base)
    if base_folder is not None:
        refuse_tokenizer_settings(config)
        inputs["tokenizer"] = base_folder.tokenizer_hash
    folder = open_stage(
        Path(out), "preprocess", config={**to_identity(config), "tokenizer_trainer": TRAINER}, inputs=inputs, redo=redo
    )
    if folder.is_finished:
        return folder.manifest
    if folder.is_resumed:
        folder.log.write("resumed", from_step=0)
    amount = source.summary["characters"]
    with folder.at_work(), open_engine(config.engine, config.workers, amount=amount) as engine:
        _Preprocessing(Path(collected), source, folder, config, split, protect, base_folder, engine).run()
    return folder.manifest


def refuse_tokenizer_settings(config: PreprocessConfig) -> None:
    """Raise UsageError for settings of a tokenizer that is not trained here."""
    default = PreprocessConfig()
    given = [name for name in ("tokenizer", "vocab_size", "lowercase") if vars(config)[name] != vars(default)[name]]
    if given and (given != ["lowercase"] or config.lowercase):
        flag = f"--{given[0].replace('_', '-')}"
        raise UsageError(f"{flag} is given, but the tokenizer is that of the base; leave {flag} or the base out.")


class _Preprocessing:
    """One run of the stage: the state that its steps share, and the steps in order."""

    def __init__(
        self,
        collected: Path,
        source: Manifest,
        folder: StageFolder,
        config: PreprocessConfig,
        split: Path | None,
        protected: Sequence[str | Path],
        base: BaseFolder | None,
        engine: Engine,
    ) -> None:
        self.start = time.monotonic()
        self.collected, self.source, self.folder, self.config, self.split = collected, source, folder, config, split
        self.engine, self.protected, self.base = engine, protected, base
        self.funnel: dict[str, Any] = {}
        self._are_labels_in_lower_case = False
        self.steps = Steps(engine, folder.path / WORK_NAME, self.collected, config, self._log_progress)
        self._step_start = self.start  # of the step whose progress is logged

    @property
    def path(self) -> Path:
        return self.folder.path

    def run(self) -> None:
        given = [self.collected, self.split, *self.protected, None if self.base is None else self.base.path]
        names = [str(path) for path in given if path is not None]
        is_synthetic = bool(self.source.summary.get("synthetic", False))
        self.folder.log.write("stage_started", config=to_dict(self.config), inputs=names, synthetic=is_synthetic)
        if self.engine.workers > 1 or self.engine.name != "threads":
            self.folder.log.write("notice", sentence=f"Running on {describe_engine(self.engine)}.")
        self._clean()
        tokenizer, facts = self._train_tokenizer() if self.base is None else self._take_tokenizer(self.base)
        shards = self._encode(tokenizer)
        self._report(tokenizer, shards, facts)
        self._finish(tokenizer, shards, facts)

    def _train_tokenizer(self) -> tuple[Tokenizer, dict[str, Any]]:
        """A tokenizer trained on the training split, and the facts of its training; meanwhile the text is written."""
        config = self.config
        counts, size = self.steps.count_words()
        lowercase = self._is_lowercase(counts)
        # Meanwhile the workers, if any, write; the library releases the GIL.
        with ThreadPoolExecutor(1) as pool:
            training = pool.submit(train_on_counts, counts, config.tokenizer, config.vocab_size, lowercase, size)
            self._write_text()
            trained = training.result()
        trained.tokenizer.save(self.path)
        return trained.tokenizer, {"trainer": TRAINER, **trained.summary}

    def _is_lowercase(self, counts: Stretches) -> bool:
        """Whether the tokenizer converts text to lower case: as asked, or if only the labelled texts are."""
        if self.config.lowercase is not None:
            return self.config.lowercase
        reason = describe_lower_case(counts.as_dict()) if self._are_labels_in_lower_case else None
        if reason is not None:
            self.folder.log.write("notice", sentence=reason)
        return reason is not None

    def _take_tokenizer(self, base: BaseFolder) -> tuple[Tokenizer, dict[str, Any]]:
        """The tokenizer of the base, whose files are copied byte for byte; its hash tells whose it is."""
        tokenizer = load_tokenizer(base.tokenizer_path)
        self._write_text()
        copy_tokenizer(base.tokenizer_path, self.path)
        if tokenizer.end_id < 0:
            sentence = (
                "The tokenizer of the base names no token that ends a text, so documents have no end that could be "
                "learned; name one as eos_token in its tokenizer_config.json."
            )
            self.folder.log.write("notice", sentence=sentence)
        rule = f"{tokenizer.vocab_size:,} tokens, as in the base: its tokenizer was not trained on this text."
        return tokenizer, {"size_rule": rule}

    def _write_text(self) -> None:
        with ThreadPoolExecutor(1) as pool:
            identifying = pool.submit(self.steps.identify_sample)
            self.steps.write(self.path)
            identifying.result()
        self._log_funnel()
        self._check_size(self.steps.num_kept)

    # --- clean text

    def _clean(self) -> None:
        steps = self.steps
        self._protect()
        steps.clean()
        steps.find_duplicates()
        steps.find_contaminated()
        num_validation = steps.select()
        if steps.num_kept + steps.dropped.total != self.source.summary["documents"]:
            raise RuntimeError(f"{steps.num_kept} kept and {steps.dropped.total} dropped are not all documents")
        self._ensure_validation(num_validation)

    def _log_funnel(self) -> None:
        self.funnel = self.steps.funnel()
        self.folder.log.write("funnel", **self.funnel)

    def _protect(self) -> None:
        """Collect the texts that stage 3 must not see: the held-out rows, and the files in `protect`."""
        held_out: list[str] = []
        if self.split is not None:
            rows = open_split(self.split, task_named)
            held_out = [text for row in rows.held_out for text in row.texts]
            self._are_labels_in_lower_case = are_in_lower_case([text for row in rows.all for text in row.texts])
            self._check_base(rows)
            self._warn_of_personal_data(rows)
        findings = Findings()
        protected = protected_texts(self.protected, findings)
        if self.protected:
            self._log_protected(len(protected), findings)
        self.steps.protect(held_out, protected)

    def _warn_of_personal_data(self, rows: LabelledSplit) -> None:
        """Warn of personal data in labelled rows, which are never masked.

        `predict` reads texts as they are given, and so does every other program that loads the model; a model trained
        on masked rows would meet in them what it has never learned from.
        """
        counts: Counter[str] = Counter()
        if self.config.personal_data == "replace":
            for row in rows.all:
                for text in row.texts:
                    replace_personal_data(text, counts)
        if counts:
            found = ", ".join(f"{PERSONAL_DATA[kind]}: {count:,}" for kind, count in counts.items())
            self.folder.log.write(
                "warning",
                rule="personal_data_in_labels",
                count=counts.total(),
                sentence=f"The labelled rows contain personal data ({found}). --personal-data replace masks the text "
                "for pre-training and leaves labelled rows as they are, so the files and the report of a run contain "
                "this data, and its model may. If it must not be there, mask it in the label file and in the texts to "
                "predict.",
            )

    def _log_protected(self, num_texts: int, findings: Findings) -> None:
        """Log how the files in `protect` were read: a text that was not read is not protected."""
        found = [Remark(sentence=f"{num_texts:,} texts in {counted(findings.num_files, 'file')}.")]
        found += [Remark(sentence=detection.sentence) for detection in findings.detections]
        for remark in [*found, *remarks(findings, num_texts)]:
            self.folder.log.write(remark.event, **{**remark.fields, "sentence": f"Protected: {remark.sentence}"})

    def _check_base(self, rows: LabelledSplit) -> None:
        """Refuse a base that has learned test rows under another split, as `prepare` would after pre-training."""
        split = self.folder.manifest.inputs["split"]
        found = None if self.base is None else describe_pretrained_rows(rows, self.base, split)
        if found is not None:
            self.folder.log.write("warning", rule="seen_in_pretraining", count=found[0], sentence=found[1])

    def _ensure_validation(self, num_validation: int) -> None:
        """If too few documents are left for validation, move the training documents with the largest hashes there.

        This happens by chance in a small corpus, and always if the labelled texts are the corpus: the texts with the
        largest hashes are then held-out rows, which are not collected.
        """
        num_kept = self.steps.num_kept
        wanted = max(MIN_VALIDATION_DOCUMENTS, round(self.config.validation_fraction * num_kept))
        need = min(wanted, num_kept // 10) or min(1, num_kept - 1)
        if num_validation >= need / 2:
            return
        self.steps.take_for_validation(need)
        left = counted(num_validation, "document")
        sentence = f"Too few documents left for validation ({left}), so {need:,} were chosen by hash."
        self.folder.log.write("notice", sentence=sentence)

    def _check_size(self, num_documents: int) -> None:
        words = self.steps.num_words["train"]
        if words < MIN_WORDS or not self.steps.num_words["validation"]:
            most = max(self.steps.dropped.rules.values(), key=lambda rule: rule.count, default=None)
            why = f" (most were dropped because {most.reason}: {most.count:,})" if most else ""
            raise InputDataError(
                f"The clean text has {words:,} words for training in {counted(num_documents, 'document')}{why}, which "
                f"is too little to learn from; expected at least {MIN_WORDS} words in 2 documents, better "
                f"{FEW_WORDS:,} words."
            )
        if words < FEW_WORDS:
            sentence = (
                f"The training text has only {words:,} words; expected at least {FEW_WORDS:,} for a useful model."
            )
            self.folder.log.write("warning", rule="small_corpus", count=words, sentence=sentence)

    # --- token shards

    def _encode(self, tokenizer: Tokenizer) -> dict[str, TokenShard]:
        sha256 = hash_file(self.path / TOKENIZER_NAME)
        shards, encoded = self.steps.encode(self.path, tokenizer.vocab_size, sha256)
        if not all(shard["is_exact"] for shard in encoded):
            self.folder.log.write(
                "notice", sentence="The fast encoder gave different results, so the slow one was used."
            )
        if any(shard["is_refused"] for shard in encoded):
            problem = "it failed or its ids differ from the tokenizer's, which was used instead"
            sentence = f"{FAST_LIBRARY} is installed, but {problem}."
            self.folder.log.write("warning", rule="fast_encoder_refused", sentence=sentence)
        self.encoders = sorted({shard["encoder"] for shard in encoded})
        self._check_tokens(tokenizer, shards, sum(shard["bytes"] for shard in encoded))
        return shards

    def _check_tokens(self, tokenizer: Tokenizer, shards: dict[str, TokenShard], num_bytes: int) -> None:
        """Check by an independent count that the shards contain all of the text. Raises RuntimeError if not."""
        num_tokens = sum(shard.num_tokens for shard in shards.values())
        sentence = f"Checked: all {num_tokens:,} tokens of the clean text are in the shards"
        if tokenizer.is_own and tokenizer.kind == "bpe" and not tokenizer.is_lowercase:
            bytes_of = np.array([len(token) for token in tokenizer.token_bytes], dtype=np.int64)
            in_shards = sum(_sum_of(bytes_of, shard) for shard in shards.values())
            if in_shards != num_bytes:
                raise RuntimeError(f"the shards decode to {in_shards} bytes of text, but the text has {num_bytes}")
            sentence += f"; they decode to all of its {num_bytes:,} bytes"
        self.folder.log.write("notice", sentence=sentence + ".")

    # --- logging

    def _texts(self) -> Iterator[str]:
        return (document["text"] for document in iter_corpus(self.path))

    def _report(self, tokenizer: Tokenizer, shards: dict[str, TokenShard], facts: dict[str, Any]) -> None:
        num_special = tokenizer.num_special_of_document * sum(len(shard) for shard in shards.values())
        num_tokens = sum(shard.num_tokens for shard in shards.values()) - num_special
        words = self.steps.num_words.total()
        is_unknown = np.zeros(tokenizer.vocab_size, dtype=np.int64)
        if tokenizer.unk_id is not None:
            is_unknown[tokenizer.unk_id] = 1
        unknown_share = sum(_sum_of(is_unknown, shard) for shard in shards.values()) / max(1, num_tokens)
        sample = list(islice(self._texts(), _ROUND_TRIPS))
        surfaces = tokenizer.surfaces(range(tokenizer.first_ordinary_id, tokenizer.vocab_size))
        sample_ids = tokenizer.encode_batch(sample)
        self.folder.log.write(
            "tokenizer_report",
            kind=tokenizer.kind,
            encoders=self.encoders,
            **facts,
            vocab_size=tokenizer.vocab_size,
            fertility=round(num_tokens / max(1, words), 4),
            unknown_share=round(unknown_share, 6),
            longest_tokens=sorted(surfaces, key=lambda surface: (-len(surface), surface))[:10],
            round_trip_share=sum(self._is_restored(tokenizer, *pair) for pair in zip(sample, sample_ids, strict=True))
            / len(sample),
            characters_per_token=round(self.steps.num_characters / max(1, num_tokens), 4),
        )
        self.views = {view: measure_view(shards["train"], ROW_TOKENS, view).as_json for view in get_args(View)}
        self.folder.log.write("views", **self.views)
        if unknown_share > 0.05:
            sentence = f"{unknown_share:.1%} of the words are unknown; --tokenizer bpe can encode any text."
            self.folder.log.write(
                "warning", rule="unknown_words", count=round(unknown_share * num_tokens), sentence=sentence
            )

    @staticmethod
    def _is_restored(tokenizer: Tokenizer, text: str, ids: list[int]) -> bool:
        """Whether decoding restores the text; spaces are ignored except for BPE, which alone keeps them."""
        decoded = tokenizer.decode(ids)
        if tokenizer.kind != "bpe":
            decoded, text = decoded.replace(" ", ""), text.replace(" ", "")
        return decoded == (text.lower() if tokenizer.is_lowercase else text)

    def _log_progress(self, done: int, done_before: int, unit: str) -> None:
        if not done:
            self._step_start = time.monotonic()
            return
        total = self.source.summary["documents"]
        if unit == "documents encoded":
            total -= self.steps.dropped.total
        self.folder.log.write_progress(done, total, unit, since=self._step_start, done_before=done_before)

    def _log_drops(self) -> None:
        total = self.source.summary["documents"]
        for rule in self.steps.dropped.rules.values():
            if rule.count > NOTEWORTHY_FRACTION * total:
                sentence = f"{rule.count:,} of {total:,} documents were dropped ({rule.name}): {rule.reason}."
                self.folder.log.write("warning", rule=rule.name, count=rule.count, sentence=sentence)
        if self.steps.repairs:
            repaired = "; ".join(f"{REPAIRS[name]} ({count:,})" for name, count in self.steps.repairs.most_common())
            self.folder.log.write("notice", sentence=f"Repaired documents: {repaired}.")
        if self.steps.personal_data:
            replaced = ", ".join(f"{count:,} {PERSONAL_DATA[kind]}" for kind, count in self.steps.personal_data.items())
            self.folder.log.write("notice", sentence=f"Personal data replaced: {replaced}.")
        if self.steps.num_reported:
            sentence = (
                f"{counted(self.steps.num_reported, 'document')} with word sequences of held-out or protected texts "
                "kept, because --decontaminate is report."
            )
            self.folder.log.write("warning", rule="contaminated", count=self.steps.num_reported, sentence=sentence)

    def _finish(self, tokenizer: Tokenizer, shards: dict[str, TokenShard], facts: dict[str, Any]) -> None:
        self._log_drops()
        before = self.source.summary["example"]["text"]
        is_personal_replaced = self.config.personal_data == "replace"
        text = clean_document(before, is_personal_replaced=is_personal_replaced)
        if is_personal_replaced:
            before = text  # as found, it may have personal data that only the repairs reveal
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
        self.folder.log_flow(
            shape_in,
            {name.replace("vocab_size", "vocabulary_tokens"): value for name, value in summary.items()},
            dropped=self.steps.dropped.to_event(),
            repaired=dict(self.steps.repairs),
            seconds=time.monotonic() - self.start,
            peak_memory_bytes=self.engine.peak_memory_bytes,
        )
        self.folder.finish(
            **summary,
            synthetic=bool(self.source.summary.get("synthetic", False)),
            example={"text": text},
            split=self.folder.manifest.inputs.get("split"),
            special_ids=tokenizer.special_ids,
            tokenizer={"kind": tokenizer.kind, **facts},
            views=self.views,
            funnel=self.funnel,
        )


def _sum_of(value_of_token: np.ndarray[Any, np.dtype[np.int64]], shard: TokenShard, step: int = 1 << 22) -> int:
    """The sum over all tokens of a shard, in chunks of `step` tokens."""
    tokens = shard.tokens
    return sum(int(value_of_token[tokens[i : i + step]].sum()) for i in range(0, len(tokens), step))
