"""The folder of a base, a model that training starts from: its tokenizer, its identity, and the texts it has learned.

A base is a run, the folder of a stage, a checkpoint, or a model folder that was made elsewhere. Only its files are
read here, without torch; `pretune.model.folder` loads the weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretune.errors import CorruptModelError, InputDataError, ModelNotFoundError
from pretune.model.config import longest_row_of
from pretune.model.hub import local_folder
from pretune.model.weights import ADAPTER_CONFIG_NAME, has_weights, weights_file
from pretune.runtime.json_text import parse_json
from pretune.runtime.manifest import (
    MANIFEST_NAME,
    hash_file,
    hash_input,
    hash_json,
    read_manifest,
    read_manifest_if_any,
)
from pretune.text.labels.checks import MAX_SHARED_FRACTION, LabeledRow
from pretune.text.labels.split import LabelledSplit
from pretune.text.seen_texts import PRETRAINING, SeenTexts, load_seen
from pretune.text.splits import Split
from pretune.text.tokenizer.files import TOKENIZER_CONFIG_NAME, TOKENIZER_NAME

_CONFIG_NAME = "config.json"
CORRECTED_NAME = "base_model_name_or_path"  # of an adapter
_WEIGHTS_ENDING = ".safetensors"
CHECKPOINT_NAME = "checkpoint"  # in the folder of a stage that trains: its model


@dataclass(frozen=True, kw_only=True)
class BaseFolder:
    """What the files of a base say, apart from its weights."""

    path: Path  # the folder that has the weights, if there are any, and the tokenizer, unless it is an adapter without
    tokenizer_path: Path
    max_seq_len: int | None  # the longest row the model reads, if its config has it
    is_synthetic: bool
    example: str | None  # the text that all stages show
    splits: frozenset[str]  # the fingerprints of the splits whose held-out rows were kept out of its text
    seen: SeenTexts | None  # the texts it was pre-trained on, if known
    summary: dict[str, Any]  # of the stage that wrote it; empty if there is none

    @property
    def tokenizer_hash(self) -> str:
        """The sha256 of its tokenizer.json."""
        return hash_file(self.tokenizer_path / TOKENIZER_NAME)

    @property
    def fingerprint(self) -> str:
        """A hash of its weights, config and tokenizer: the same for a copy in another folder."""
        return fingerprint_of(self.path)

    @property
    def facts_hash(self) -> str:
        """A hash of what rows are prepared by, besides the tokenizer; further training does not change it."""
        seen = None if self.seen is None else hashlib.sha256(self.seen.hashes.tobytes()).hexdigest()
        return hash_json([self.max_seq_len, self.is_synthetic, self.example, sorted(self.splits), seen])

    @property
    def trained_tokens(self) -> int:
        """The tokens that it and all its bases were trained on, as far as they are known."""
        total = 0
        model: Any = self.summary
        while isinstance(model, dict):
            total, model = total + (model.get("tokens") or 0), model.get("base")
        return total

    @property
    def is_recorded(self) -> bool:
        """Whether all of its training is on record: neither it nor a base of it was made elsewhere."""
        first = self.summary
        while isinstance(earlier := first.get("base"), dict):
            first = earlier
        return "tokens" in first


def fingerprint_of(folder: Path) -> str:
    """A hash of the weights, config and tokenizer in a model folder; for an adapter, with those of the model that it
    corrects, wherever that is."""
    names = sorted(file.name for file in folder.iterdir() if file.name.endswith(_WEIGHTS_ENDING))
    files = [file for name in (*names, _CONFIG_NAME, TOKENIZER_NAME) if (file := folder / name).is_file()]
    hashes: dict[str, Any] = {file.name: hash_input(file) for file in files}
    if (fields := _read_adapter(folder)) is not None:
        corrected = corrected_folder(folder)
        fields.pop(CORRECTED_NAME, None)
        hashes[ADAPTER_CONFIG_NAME] = hash_json(fields)
        hashes["base"] = None if corrected is None else fingerprint_of(corrected)
    return hash_json(hashes)


def read_base_folder(base: Path | str) -> BaseFolder:
    """The base at a path: a run (its pre-trained model), a stage folder, a checkpoint, or a bare model folder.

    Raises ModelNotFoundError if it has no tokenizer, CorruptModelError if a file is damaged, and ModelError if its
    weights are only a pickle, which no stage could load.
    """
    base = local_folder(base)
    places = (base / CHECKPOINT_NAME, base, base / "pretrain" / CHECKPOINT_NAME)
    found = ((place, tokenizer) for place in places if (tokenizer := tokenizer_folder_of(place)) is not None)
    folder, tokenizer_path = next(found, (None, None))
    if folder is None or tokenizer_path is None:
        raise ModelNotFoundError(_describe_absence(base))
    if has_weights(folder):
        weights_file(folder)  # for its errors
    summary = _read_summary(folder, is_named=folder == base)
    return BaseFolder(
        path=folder,
        tokenizer_path=tokenizer_path,
        max_seq_len=_read_longest_row(folder),
        is_synthetic=bool(summary.get("synthetic", False)),
        example=(summary.get("example") or {}).get("text"),
        splits=splits_of(summary),
        seen=load_seen(folder, PRETRAINING),
        summary=summary,
    )


def tokenizer_folder_of(folder: Path) -> Path | None:
    """The folder that has a model's tokenizer: its own, or, for an adapter without one, as PEFT saves it, that of the
    model that it corrects; None if neither has one."""
    if (folder / TOKENIZER_NAME).is_file():
        return folder
    corrected = corrected_folder(folder)
    return None if corrected is None else tokenizer_folder_of(corrected)


def _describe_absence(base: Path) -> str:
    """What is there in place of a base with a tokenizer."""
    named = (_read_adapter(base) or {}).get(CORRECTED_NAME)
    if named and corrected_folder(base) is None:
        return (
            f"{base} is an adapter without {TOKENIZER_NAME} for {named}, which does not exist; write the folder of "
            f"that model as {CORRECTED_NAME} into {base / ADAPTER_CONFIG_NAME}."
        )
    found = "does not exist" if not base.exists() else f"has no {TOKENIZER_NAME}"
    return f"{base} {found}; expected the folder of the pretrain stage, or a model folder."


def inputs_of_base(base: BaseFolder, out: Path, *, redo: bool) -> dict[str, str]:
    """The inputs that a folder of prepared rows has from their base.

    A finished folder of an older version records only the tokenizer; without `redo`, it stays valid.
    """
    inputs = {"tokenizer": base.tokenizer_hash, "base": base.facts_hash}
    before = None if redo else read_manifest_if_any(out)
    if before is not None and before.status == "finished" and "base" not in before.inputs:
        del inputs["base"]
    return inputs


def splits_of(summary: dict[str, Any]) -> frozenset[str]:
    """The fingerprints of the splits that were kept out of the text of a pre-trained model, and of all its bases."""
    own, earlier = summary.get("split"), summary.get("base")
    return frozenset(([] if own is None else [own]) + (earlier.get("splits", []) if isinstance(earlier, dict) else []))


def describe_pretrained_rows(rows: LabelledSplit, base: BaseFolder, split: str | None) -> tuple[int, str] | None:
    """How many held-out rows the base was pre-trained on, with a warning; None if there are none, as far as known.

    `split` is the fingerprint of the folder that the rows come from. Raises InputDataError if the base has learned
    more than a fifth of the test rows because another split was held out from its text.
    """
    held_out: tuple[Split, ...] = ("validation", "test")
    counts = {side: _count_seen(base.seen, rows.by_split[side]) for side in held_out}
    total = sum(counts.values())
    if not total:
        return None
    shown = " and ".join(
        f"{counts[side]:,} of the {len(rows.by_split[side]):,} {side} rows" for side in held_out if counts[side]
    )
    # A few rows, or a smaller label file that moves other rows to validation, deserve only a warning.
    if counts["test"] > MAX_SHARED_FRACTION * len(rows.by_split["test"]) and base.splits - {split}:
        raise InputDataError(
            f"The model was pre-trained on {shown}, because another split was held out from its text. "
            "Give the folder of that split instead of this one, or pre-train again with this one."
        )
    return total, (
        f"The model was pre-trained on the texts of {shown}, so results on them may be too good; to hold them out, "
        "give the split to `collect` and `preprocess`."
    )


def _count_seen(seen: SeenTexts | None, rows: Sequence[LabeledRow]) -> int:
    """The rows that are among the texts, as far as known."""
    if seen is None or not rows:
        return 0
    text_pairs = None if rows[0].text_pair is None else [row.text_pair or "" for row in rows]
    return seen.count_among([row.text for row in rows], text_pairs) or 0


def _read_object(file: Path) -> dict[str, Any]:
    try:
        return dict(parse_json(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise CorruptModelError(f"{file} is damaged ({error!r}); restore it from a copy.") from error


def _read_adapter(folder: Path) -> dict[str, Any] | None:
    """The config of an adapter; None for a folder with a whole model."""
    adapter = folder / ADAPTER_CONFIG_NAME
    return None if (folder / _CONFIG_NAME).is_file() or not adapter.is_file() else _read_object(adapter)


def corrected_folder(folder: Path) -> Path | None:
    """The folder of the model that an adapter corrects; None for a folder with a whole model, or if it is not there,
    which loading it explains.

    Raises CorruptModelError if it is an adapter that in the end corrects itself.
    """
    corrected, passed = _named_folder(folder), {folder.resolve()}
    after = corrected
    while after is not None:
        if after.resolve() in passed:
            raise CorruptModelError(
                f"{folder} is an adapter for {corrected}, which leads from adapter to adapter without end; expected a "
                f"folder with {_CONFIG_NAME} as {CORRECTED_NAME} in {folder / ADAPTER_CONFIG_NAME}."
            )
        passed.add(after.resolve())
        after = _named_folder(after)
    return corrected


def _named_folder(folder: Path) -> Path | None:
    name = (_read_adapter(folder) or {}).get(CORRECTED_NAME)
    return Path(name) if isinstance(name, str) and name and Path(name).is_dir() else None


def _read_longest_row(folder: Path) -> int | None:
    """The most tokens that the model reads; None if there is no model, or its config does not have the number."""
    path, of_tokenizer = folder / _CONFIG_NAME, folder / TOKENIZER_CONFIG_NAME
    if not path.is_file():
        corrected = corrected_folder(folder)
        return None if corrected is None else _read_longest_row(corrected)
    try:
        fields = [
            parse_json(file.read_text(encoding="utf-8")) if file.is_file() else {} for file in (path, of_tokenizer)
        ]
        return longest_row_of(*fields)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise CorruptModelError(f"{path} is damaged ({error!r}); restore it from a copy.") from error


def _read_summary(folder: Path, *, is_named: bool) -> dict[str, Any]:
    """The summary of the stage that wrote a checkpoint; empty for another folder.

    If `is_named`, the user gave the checkpoint itself: it may have been copied alone, next to unrelated files.
    """
    folder = folder.absolute()
    if folder.name != CHECKPOINT_NAME or not (folder.parent / MANIFEST_NAME).is_file():
        return {}
    try:
        return read_manifest(folder.parent).summary
    except InputDataError:
        if is_named:
            return {}
        raise
