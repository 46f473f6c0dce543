"""A process that hangs is named; one that is only slow, or waits for the others, is not."""

from __future__ import annotations

from typing import Any

from torch.distributed import HashStore

from pretune.compute.hang_watch import NOTE_KEPT_KEY, NOTE_KEY, HangDetector, Heartbeat, Watch


def heartbeat(beat: int, arrivals: int, patience: float = 0.0) -> Heartbeat:
    place, name = f"place {arrivals}", "pid 7 on box"
    return Heartbeat(beat=beat, arrivals=arrivals, place=place, patience_seconds=patience, name=name)


def test_a_process_behind_the_others_is_named_after_the_limit() -> None:
    detector = HangDetector(60)
    assert detector.find_hang({0: heartbeat(1, 5), 1: heartbeat(1, 4)}, now=0) is None
    assert detector.find_hang({0: heartbeat(2, 5), 1: heartbeat(2, 4)}, now=59) is None
    sentence = detector.find_hang({0: heartbeat(3, 5), 1: heartbeat(3, 4)}, now=61)
    assert sentence is not None
    assert sentence.startswith("Process 1 (pid 7 on box) hangs: the others wait for it at place 5; it was last seen at")


def test_a_process_without_a_beat_is_named_even_if_all_are_at_one_place() -> None:
    detector = HangDetector(60)
    detector.find_hang({0: heartbeat(1, 5), 1: heartbeat(1, 5)}, now=0)
    sentence = detector.find_hang({0: heartbeat(9, 5), 1: heartbeat(1, 5)}, now=61)
    assert sentence is not None
    assert "Process 1 (pid 7 on box) has not responded for 61 s" in sentence


def test_a_process_that_makes_progress_or_may_take_long_is_not_named() -> None:
    detector = HangDetector(60)
    for now in range(0, 600, 30):
        assert (
            detector.find_hang(
                {0: heartbeat(now, now), 1: heartbeat(now, now - 1), 2: heartbeat(now, 0, patience=900)}, now
            )
            is None
        )


def test_no_process_is_named_if_all_are_at_one_place() -> None:
    detector = HangDetector(60)
    for now in range(0, 600, 30):
        assert detector.find_hang({0: heartbeat(now, 3), 1: heartbeat(now, 3)}, now) is None


def test_the_first_process_keeps_the_note_of_another_and_ends() -> None:
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
