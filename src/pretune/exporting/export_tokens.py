"""From a preprocess folder to a new folder with its tokens in the format of another tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from pretune.errors import FolderInTheWayError, UsageError
from pretune.exporting.datatrove import write_datatrove
from pretune.exporting.megatron import write_megatron
from pretune.exporting.parquet import write_parquet
from pretune.exporting.views import ROW_TOKENS, RowView, View
from pretune.runtime.atomic import commit_folder
from pretune.runtime.home import expand_home
from pretune.runtime.manifest import Manifest, read_manifest
from pretune.text.steps.select import SPLITS
from pretune.text.token_shards import TokenShard
from pretune.text.tokenizer.files import TOKENIZER_NAME
from pretune.text.tokenizer.tokenizer import copy_tokenizer

TokenFormat = Literal["parquet", "datatrove", "megatron"]
Write = Callable[[TokenShard, Path, str], Sequence[Path]]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The exported files of one split; `shape` is (documents,), or (rows, tokens per row) for a view."""

    split: str
    files: tuple[Path, ...]
    tokens: int
    shape: tuple[int, ...]
    padding_share: float


def export(
    preprocessed: Path | str,
    out: Path | str,
    format: TokenFormat,
    *,
    view: View | None = None,
    row_tokens: int | None = None,
) -> list[Exported]:
    """Write the tokens of both splits to a new folder, with the tokenizer and a manifest with the sha256 of each file.

    Every token of every document is exported, [BOS] and [EOS] included, in the order of the documents. `view`, for
    parquet only, exports rows of `row_tokens` (default 50) instead of documents. Raises UsageError for settings that do
    not fit, FolderInTheWayError if `out` is not empty, and InputDataError if `preprocessed` is not a finished
    preprocess folder.
    """
    if format not in get_args(TokenFormat):
        raise UsageError(f"{format!r} is not a token format; expected one of {', '.join(get_args(TokenFormat))}.")
    if view is not None and format != "parquet":
        raise UsageError(f"--view is only for parquet; readers of {format} files cut the rows themselves.")
    if row_tokens is not None and (view is None or row_tokens < 1):
        expected = "at least 1" if view else "--view rows or --view packed with it"
        raise UsageError(f"--row-tokens is {row_tokens}; expected {expected}.")
    source, target = Path(preprocessed), expand_home(out)
    manifest = read_manifest(source, "preprocess")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise FolderInTheWayError(f"{target} already exists and is not overwritten; choose another --out.")
    done: list[Exported] = []

    def write(folder: Path) -> None:
        copy_tokenizer(source, folder)
        for split in SPLITS:
            done.append(_write_split(source, folder, split, format, view, row_tokens or ROW_TOKENS, manifest))

    about = {"format": format, "view": view, "source": manifest.fingerprint}
    commit_folder(target, write, **about, vocab_size=manifest.summary["vocab_size"], special_ids=_special(manifest))
    return [_moved(split, target) for split in done]


def _write_split(
    source: Path, out: Path, split: str, format: TokenFormat, view: View | None, row_tokens: int, manifest: Manifest
) -> Exported:
    shard = TokenShard(source, split)
    rows = None if view is None else RowView(shard, row_tokens, _special(manifest)["pad"], view)
    about = {"pretune_version": manifest.version, "vocab_size": str(manifest.summary["vocab_size"])}
    writers: dict[TokenFormat, Write] = {
        "parquet": partial(write_parquet, view=rows, about=about),
        "datatrove": partial(write_datatrove, tokenizer=TOKENIZER_NAME),
        "megatron": write_megatron,
    }
    return Exported(
        split=split,
        files=tuple(writers[format](shard, out, split)),
        tokens=shard.num_tokens,
        shape=(len(shard),) if rows is None else (rows.shape.rows, rows.shape.row_tokens),
        padding_share=0.0 if rows is None else rows.shape.padding_share,
    )


def _special(manifest: Manifest) -> dict[str, int]:
    ids: dict[str, int] = manifest.summary["special_ids"]
    return ids


def _moved(exported: Exported, target: Path) -> Exported:
    """The same, with the paths of the files after the folder was renamed."""
    files = tuple(target / file.name for file in exported.files)
    return Exported(**{**vars(exported), "files": files})
