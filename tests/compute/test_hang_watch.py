"""The process that hangs is named; one that is merely slow, or waits for the others, is not."""

from __future__ import annotations

from typing import Any

from torch.distributed import HashStore

from pretune.compute.hang_watch import NOTE_KEPT_KEY, NOTE_KEY, Lookout, Sign, Watch


def sign(beat: int, arrivals: int, patience: float = 0.0) -> Sign:
    return Sign(beat=beat, arrivals=arrivals, place=f"place {arrivals}", patience_seconds=patience, name="pid 7 on box")


def test_a_process_behind_the_others_is_named_after_the_limit() -> None:
    lookout = Lookout(60)
    assert lookout.look({0: sign(1, 5), 1: sign(1, 4)}, now=0) is None
    assert lookout.look({0: sign(2, 5), 1: sign(2, 4)}, now=59) is None
    sentence = lookout.look({0: sign(3, 5), 1: sign(3, 4)}, now=61)
    assert sentence is not None
    assert sentence.startswith("Process 1 (pid 7 on box) hangs: the others wait for it at place 5; it was last seen at")


def test_a_process_without_a_beat_is_named_even_where_all_are_at_one_place() -> None:
    lookout = Lookout(60)
    lookout.look({0: sign(1, 5), 1: sign(1, 5)}, now=0)
    sentence = lookout.look({0: sign(9, 5), 1: sign(1, 5)}, now=61)
    assert sentence is not None
    assert "Process 1 (pid 7 on box) has given no sign of life for 61 s" in sentence


def test_who_goes_on_or_may_take_long_is_left_alone() -> None:
    lookout = Lookout(60)
    for now in range(0, 600, 30):
        assert lookout.look({0: sign(now, now), 1: sign(now, now - 1), 2: sign(now, 0, patience=900)}, now) is None


def test_all_at_one_place_wait_for_nobody_in_particular() -> None:
    lookout = Lookout(60)
    for now in range(0, 600, 30):
        assert lookout.look({0: sign(now, 3), 1: sign(now, 3)}, now) is None


def test_the_first_process_keeps_what_another_leaves_and_ends() -> None:
    store, kept, ended = HashStore(), list[dict[str, Any]](), list[int]()
    watch = Watch(store, 0, 2, hang_seconds=600, keep_note=kept.append)
    try:
        watch._look_for_note(ended.append)
        assert (kept, ended) == ([], [])
        store.set(NOTE_KEY, '{"pieces": 4}')
        watch._look_for_note(ended.append)
        assert (kept, ended) == ([{"pieces": 4}], [75])
        assert store.check([NOTE_KEPT_KEY])
    finally:
        watch.close()
