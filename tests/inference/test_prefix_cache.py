"""What is kept of a text that was read: the same continuation as without it, and only what is new is read."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pretune.inference.generate import Sampling, TextGenerator
from pretune.inference.prefix_cache import PrefixCache

GREEDY = Sampling(temperature=0.0, max_tokens=6)
TEXT = list(range(20, 44))


@pytest.mark.parametrize(
    ("text", "num_known"),
    [
        ([*TEXT, 60, 61], 24),  # it goes on
        (TEXT, 23),  # again: the last token is read for its scores
        (TEXT[:10], 9),  # shorter
        ([*TEXT[:5], 61, *TEXT[6:]], 5),  # another token in the middle
        (TEXT[3:], 0),  # its beginning fell out
        (TEXT * 2, 24),  # longer than there was room for
    ],
)
def test_only_what_is_new_is_read(generator: TextGenerator, text: list[int], num_known: int) -> None:
    prefix = PrefixCache(generator.model.transformer)
    list(generator.continue_ids(TEXT, Sampling(max_tokens=1), prefix=prefix))
    assert prefix.open(text, len(text) + 6).length == num_known
    assert continued(generator, text, prefix) == continued(generator, text, None)


def test_what_was_written_is_known_but_for_the_last_token(generator: TextGenerator) -> None:
    prefix = PrefixCache(generator.model.transformer)
    new = continued(generator, TEXT, prefix)
    text = [*TEXT, *new, 60]
    assert prefix.open(text, len(text)).length == len(TEXT) + len(new) - 1


def test_a_reading_that_broke_off_leaves_nothing_behind(
    generator: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = PrefixCache(generator.model.transformer)
    last_block = generator.model.transformer.blocks[-1]
    with monkeypatch.context() as patched:
        patched.setattr(last_block, "attend_to_cache", interrupt)
        with pytest.raises(KeyboardInterrupt):
            continued(generator, TEXT, prefix)
    assert prefix.open(TEXT, len(TEXT) + 6).length == 0
    assert continued(generator, TEXT, prefix) == continued(generator, TEXT, None)


def interrupt(*_given: object) -> None:
    raise KeyboardInterrupt


def continued(generator: TextGenerator, ids: Sequence[int], prefix: PrefixCache | None) -> list[int]:
    return list(generator.continue_ids(ids, GREEDY, prefix=prefix))
