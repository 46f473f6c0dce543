"""From a text, or a pair of texts, to the token ids of one row that is not too long."""

from __future__ import annotations

from collections.abc import Sequence

from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle

Texts = tuple[str, str | None]  # a text, and the second text of a pair


def encode_rows(tokenizer: Tokenizer, texts: Sequence[Texts], max_seq_len: int) -> tuple[list[list[int]], list[bool]]:
    """The ids of each row of at most `max_seq_len` tokens, special tokens counted, and whether it was cut.

    A single text is [BOS] a [EOS], cut in the middle. A pair is [BOS] a [EOS] b [EOS], as the tokenizer's own template
    has it, so transformers encodes it alike. Of a pair that is too long, each text keeps what it needs, up to half of
    the row; what one text does not need is left to the other.
    """
    if all(second is None for _, second in texts):
        rows = tokenizer.encode_batch([first for first, _ in texts])
        return [cut_middle(ids, max_seq_len) for ids in rows], [len(ids) > max_seq_len for ids in rows]
    pairs = [(first, second or "") for first, second in texts]
    rows, cut = [], []
    for (first, second), ids in zip(pairs, tokenizer.encode_pairs(pairs), strict=True):
        cut.append(len(ids) > max_seq_len)
        rows.append(_cut_pair(tokenizer, first, second, ids, max_seq_len) if cut[-1] else ids)
    return rows, cut


def _cut_pair(tokenizer: Tokenizer, first: str, second: str, ids: list[int], max_seq_len: int) -> list[int]:
    """The row of a pair with both texts cut in their middle, so that it fits."""
    alone = [tokenizer.encode(text) for text in (first, second)]
    # The special tokens around a single text stay with it; the template of a pair may have more of them.
    extra = len(ids) - sum(map(len, alone))
    lengths = share_out(max_seq_len - extra, len(alone[0]), len(alone[1]))
    parts = [cut_middle(row, length) for row, length in zip(alone, lengths, strict=True)]
    start, end = len(alone[0]), len(ids) - len(alone[1])
    between = ids[start:end] if end > start else []
    # With one special token between the texts, the second text comes without its first one.
    return [*parts[0], *between, *parts[1][max(0, start - end) :]]


def share_out(room: int, first: int, second: int) -> tuple[int, int]:
    """The tokens for each of two texts of these lengths: half of the room each, or more where the other needs less."""
    half = room // 2
    if first <= half:
        return first, min(second, room - first)
    if second <= room - half:
        return room - second, second
    return half, room - half
