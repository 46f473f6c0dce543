"""From a text, or a pair of texts, to the token ids of one row that is not too long, or to several windows."""

from __future__ import annotations

from collections.abc import Sequence

from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle
from pretune.text.tokenizer.windows import WindowRule

Texts = tuple[str, str | None]  # a text, and the second text of a pair


def encode_rows(tokenizer: Tokenizer, texts: Sequence[Texts], max_seq_len: int) -> list[list[int]]:
    """The ids of each row of at most `max_seq_len` tokens, special tokens counted.

    A single text is [BOS] a [EOS], cut in the middle. A pair is [BOS] a [EOS] b [EOS], as the tokenizer's own template
    has it, so transformers encodes it alike. Of a pair that is too long, each text keeps what it needs, up to half of
    the row; what one text does not need is left to the other.
    """
    if all(second is None for _, second in texts):
        return [cut_middle(ids, max_seq_len) for ids in tokenizer.encode_batch([first for first, _ in texts])]
    return encode_pairs(tokenizer, texts, max_seq_len)[0]


def encode_pairs(tokenizer: Tokenizer, texts: Sequence[Texts], max_seq_len: int) -> tuple[list[list[int]], list[int]]:
    """The ids of each pair as `encode_rows` has them, and how many there were before they were cut."""
    pairs = [(first, second or "") for first, second in texts]
    whole = tokenizer.encode_pairs(pairs)
    rows = [
        ids if len(ids) <= max_seq_len else [ids[p] for p in pair_positions(tokenizer, pair, len(ids), max_seq_len)[0]]
        for pair, ids in zip(pairs, whole, strict=True)
    ]
    return rows, [len(ids) for ids in whole]


def encode_windows(
    tokenizer: Tokenizer, texts: Sequence[Texts], max_seq_len: int, rule: WindowRule | None
) -> list[list[list[int]]]:
    """The ids of the windows of each text; without a rule, one row as `encode_rows` makes it."""
    if rule is None:
        return [[ids] for ids in encode_rows(tokenizer, texts, max_seq_len)]
    return [rule.windows(ids) for ids in tokenizer.encode_batch([text for text, _ in texts])]


def pair_positions(
    tokenizer: Tokenizer, texts: tuple[str, str], num_tokens: int, max_seq_len: int
) -> tuple[list[int], bool]:
    """The places that are kept of the whole row of a pair of texts, and whether some are not."""
    if num_tokens <= max_seq_len:
        return list(range(num_tokens)), False
    if tokenizer.is_own:
        return _cut_pair(tokenizer, texts, num_tokens, max_seq_len), True
    return _cut_foreign_pair(tokenizer, texts, max_seq_len), True


def _cut_pair(tokenizer: Tokenizer, texts: tuple[str, str], num_tokens: int, max_seq_len: int) -> list[int]:
    """The places in a row of pretune's own template, with both texts cut in their middle."""
    # The special tokens around a single text stay with it; the template of a pair may have more of them.
    start, theirs = (len(tokenizer.encode(text)) for text in texts)
    end = num_tokens - theirs
    lengths = share_out(max_seq_len - (num_tokens - start - theirs), start, theirs)
    # With one special token between the texts, the second text comes without its first one.
    second = cut_middle(list(range(end, num_tokens)), lengths[1])[max(0, start - end) :]
    return [*cut_middle(list(range(start)), lengths[0]), *range(start, end), *second]


def _cut_foreign_pair(tokenizer: Tokenizer, texts: tuple[str, str], max_seq_len: int) -> list[int]:
    """The same for a tokenizer whose template may be any: all its special tokens stay where they are."""
    of_text = tokenizer.backend.encode(*texts).sequence_ids
    places = [[place for place, number in enumerate(of_text) if number == text] for text in (0, 1)]
    special = [place for place, number in enumerate(of_text) if number is None]
    lengths = share_out(max_seq_len - len(special), len(places[0]), len(places[1]))
    kept = [place for each, length in zip(places, lengths, strict=True) for place in cut_middle(each, length)]
    return sorted([*special, *kept])


def share_out(room: int, first: int, second: int) -> tuple[int, int]:
    """The tokens for each of two texts of these lengths: half of the room each, or more where the other needs less."""
    half = room // 2
    if first <= half:
        return first, min(second, room - first)
    if second <= room - half:
        return room - second, second
    return half, room - half


def common_prefix_length(ids: Sequence[int], others: Sequence[int]) -> int:
    """The number of ids at the beginning that both have."""
    pairs = enumerate(zip(ids, others, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(ids), len(others)))
