"""From a token shard to datatrove's tokenized files: `NAME.ds` (all ids), `NAME.ds.index` and `NAME.ds.metadata`.

The ids are little-endian numbers of two or four bytes. The index has the end of each document, in tokens, as eight
bytes. The metadata are three lines: the tokenizer and the bytes per id, the number of tokens, and that number in a
readable form. Described in datatrove, src/datatrove/pipeline/tokens/tokenizer.py.
"""

from __future__ import annotations

from pathlib import Path

from pretune.text.token_shards import TokenShard

_AT_ONCE = 1 << 20
_UNITS = ("", "k", "M", "G", "T", "P")


def write_datatrove(shard: TokenShard, out: Path, name: str, tokenizer: str) -> list[Path]:
    """Write the three files and return them; `tokenizer` is its path or name for the metadata."""
    data, index, about = (out / f"{name}.ds{ending}" for ending in ("", ".index", ".metadata"))
    with data.open("wb") as file:
        for start in range(0, shard.num_tokens, _AT_ONCE):
            file.write(shard.tokens[start : start + _AT_ONCE].tobytes())
    with index.open("wb") as file:
        for start in range(1, len(shard.offsets), _AT_ONCE):
            file.write(shard.offsets[start : start + _AT_ONCE].astype("<u8").tobytes())
    tokenizer = tokenizer.replace("|", "_").replace("\n", "_")
    lines = [f"{tokenizer}|{shard.tokens.dtype.itemsize}", str(shard.num_tokens), _readable(shard.num_tokens)]
    about.write_text("\n".join(lines), encoding="utf-8")
    return [data, index, about]


def _readable(num_tokens: int) -> str:
    """A number with three digits, followed by its unit prefix and T for tokens, such as 1.23 MT."""
    rounded = int(float(f"{num_tokens:.3g}"))
    digits = len(str(rounded)) - 1
    return f"{rounded / 1000 ** (digits // 3):.{2 - digits % 3}f} {_UNITS[digits // 3]}T"
