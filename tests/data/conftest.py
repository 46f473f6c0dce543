"""Token shards of a few random documents over a vocabulary of 50, whose first four tokens are special."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pretune.data.special_ids import SpecialIds
from pretune.text.token_shards import ShardWriter

VOCAB_SIZE = 50


@pytest.fixture
def special() -> SpecialIds:
    return SpecialIds(pad=0, mask=3, first_ordinary=4)


@pytest.fixture
def write_shard(tmp_path: Path) -> Callable[[Sequence[Sequence[int]], str], Path]:
    """Writes documents as a shard of this name into one folder, which it returns."""

    def write(documents: Sequence[Sequence[int]], name: str) -> Path:
        with ShardWriter(tmp_path, name, VOCAB_SIZE) as writer:
            for document in documents:
                writer.add(document)
        return tmp_path

    return write


@pytest.fixture
def draw_documents() -> Callable[..., list[list[int]]]:
    """Draws documents of 2 to `longest` tokens, each between [BOS] 1 and [EOS] 2."""

    def draw(count: int, longest: int, seed: int = 0) -> list[list[int]]:
        rng = np.random.default_rng(seed)
        lengths = rng.integers(0, longest - 1, size=count)
        return [[1, *rng.integers(4, VOCAB_SIZE, size=length).tolist(), 2] for length in lengths]

    return draw


@pytest.fixture
def is_sentence_end() -> npt.NDArray[np.bool_]:
    """(V,): every seventh token ends a sentence."""
    ends = np.arange(VOCAB_SIZE) % 7 == 0
    ends[:4] = False
    return ends
