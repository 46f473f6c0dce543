"""Whether held-out texts stand in the training text: the files of a run in, counts out.

The files are read again only if they have changed, since a live page asks often.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pretune.errors import PretuneError
from pretune.run_trace.predicted_rows import read_lines
from pretune.text.document_store import corpus_files, iter_corpus_file
from pretune.text.splits import SPLITS, hash_text, normalise_for_hash

MOST_BYTES = 100_000_000  # of files to read for one check; above that it is left out

Stamp = tuple[tuple[str, int, int], ...]  # path, size and time of each file


def _stamp(paths: list[Path]) -> Stamp | None:
    """What identifies the files; None if one is missing, or if they are too large."""
    if not paths or not all(path.is_file() for path in paths):
        return None
    stats = [(str(path), path.stat()) for path in paths]
    stamp = tuple((name, found.st_size, found.st_mtime_ns) for name, found in stats)
    return stamp if sum(size for _, size, _ in stamp) <= MOST_BYTES else None


def count_shared_rows(run: Path) -> tuple[int, int] | None:
    """Rows of validation and test whose text also stands in another split, and all rows compared; the same but for
    case and blanks counts as shared. None if there are no splits, or large ones."""
    for folder in ("prepare", "split"):
        paths = [run / folder / f"{name}.jsonl" for name in SPLITS]
        stamp = _stamp(paths)
        if stamp is not None:
            return _count_shared(stamp)
    return None


@lru_cache(maxsize=8)
def _count_shared(stamp: Stamp) -> tuple[int, int]:
    seen: set[bytes] = set()
    shared = total = 0
    for path, _, _ in stamp:
        rows = (line for line in read_lines(Path(path)) if isinstance(line.get("text"), str) and line["text"].strip())
        hashes = [_hash_row(row["text"], row.get("text_pair")) for row in rows]
        shared += sum(found in seen for found in hashes)
        total += len(hashes)
        seen.update(hashes)
    return shared, total


def _hash_row(text: str, pair: str | None) -> bytes:
    """What two equal rows have in common; of a pair, both texts."""
    return hash_text(text) if pair is None else hash_text(text) + hash_text(pair)


def find_in_training(run: Path, sentences: tuple[str, ...]) -> list[bool] | None:
    """Whether each sentence stands in a training document, case and blanks apart; None without documents, or if there
    are too many to read."""
    stamp = _stamp(corpus_files(run / "preprocess"))
    return None if stamp is None else _search(stamp, sentences)


@lru_cache(maxsize=8)
def _search(stamp: Stamp, sentences: tuple[str, ...]) -> list[bool] | None:
    wanted = [normalise_for_hash(sentence) for sentence in sentences]
    found = [False] * len(wanted)
    try:
        for path, _, _ in stamp:
            for document in iter_corpus_file(Path(path)):
                if document.get("split") != "train":
                    continue
                text = normalise_for_hash(str(document.get("text", "")))
                found = [is_found or sentence in text for is_found, sentence in zip(found, wanted, strict=True)]
    except (PretuneError, OSError, ValueError):
        return None
    return found
