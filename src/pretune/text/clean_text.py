"""The clean text of a preprocess folder: what its token shards were made from."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import zstandard


def read_clean_texts(folder: Path, split: str) -> Iterator[str]:
    """The texts of one split, "train" or "validation", in the order of the token shard."""
    for path in sorted(Path(folder).glob("documents-*.jsonl.zst")):
        with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as raw:
            for line in io.TextIOWrapper(raw, encoding="utf-8"):
                row = json.loads(line)
                if row["split"] == split:
                    yield row["text"]
