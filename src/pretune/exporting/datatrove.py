"""datatrove's tokenized files: `NAME.ds` with all ids, `NAME.ds.index` with the ends of documents, `NAME.ds.metadata`.

The ids are little-endian numbers of two or four bytes, the ends are counted in tokens, eight bytes each. The metadata
are three lines: the tokenizer and the bytes of an id, the number of tokens, and the same number to read. Described in
datatrove, src/datatrove/pipeline/tokens/tokenizer.py.
"""

from __future__ import annotations

from pathlib import Path

from pretune.text.token_shards import TokenShard

_AT_ONCE = 1 << 20
_UNITS = ("", "k", "M", "G", "T", "P")


def write_datatrove(shard: TokenShard, out: Path, name: str, tokenizer: str) -> list[Path]:
    """Write the three files; `tokenizer` is what the metadata call it, a path or a name. Returns the files."""
    data, index, about = (out / f"{name}.ds{ending}" for ending in ("", ".index", ".metadata"))
    with data.open("wb") as file:
        for start in range(0, shard.num_tokens, _AT_ONCE):
            file.write(shard.tokens[start : start + _AT_ONCE].tobytes())
    with index.open("wb") as file:
        for start in range(1, len(shard.offsets), _AT_ONCE):
            file.write(shard.offsets[start : start + _AT_ONCE].astype("<u8").tobytes())
    tokenizer = tokenizer.replace("|", "_").replace("\n", "_")
    lines = [f"{tokenizer}|{shard.tokens.dtype.itemsize}", str(shard.num_tokens), _to_read(shard.num_tokens)]
    about.write_text("\n".join(lines), encoding="utf-8")
    return [data, index, about]


def _to_read(num_tokens: int) -> str:
    """Three digits, and T for tokens behind the letter of the thousands."""
    rounded = int(float(f"{num_tokens:.3g}"))
    digits = len(str(rounded)) - 1
    return f"{rounded / 1000 ** (digits // 3):.{2 - digits % 3}f} {_UNITS[digits // 3]}T"
