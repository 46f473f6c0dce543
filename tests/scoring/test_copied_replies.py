"""What replies share with the training replies: equal to a search of every run, and copies are found as copies."""

from __future__ import annotations

from difflib import SequenceMatcher

from hypothesis import given
from hypothesis import strategies as st

from pretune.scoring.copied_replies import COPIED_SIZE, SEED_SIZE, describe_copies, longest_shared_runs

VOCABULARY = "take two pills a day with water".split()
texts = st.lists(st.sampled_from(VOCABULARY), max_size=25).map(" ".join)
ADVICE = "You should see a doctor if the fever lasts longer than three days or gets worse at night."


def longest_by_difflib(reply: str, training: list[str]) -> int:
    """The longest shared run of words, by another implementation."""
    matches = [
        SequenceMatcher(None, reply.split(), other.split(), autojunk=False).find_longest_match().size
        for other in training
    ]
    return max(matches, default=0)


@given(st.lists(texts, max_size=4), st.lists(texts, max_size=4))
def test_parity_with_difflib(replies: list[str], training: list[str]) -> None:
    for reply, run in zip(replies, longest_shared_runs(replies, training), strict=True):
        expected = longest_by_difflib(reply, training)
        if not run.is_whole:
            assert run.num_words == (expected if expected >= SEED_SIZE else 0)
        assert run.is_whole == (bool(reply) and reply in training)


def test_a_memorised_reply_is_found_despite_case_and_punctuation() -> None:
    found = describe_copies([ADVICE.upper().replace(".", "!!")], ["Something else.", ADVICE])
    assert found["copied_fraction"] == 1.0
    assert found["whole_copied_fraction"] == 1.0
    assert found["longest_shared_words"] == len(ADVICE.split())


def test_a_long_run_is_copied_and_a_short_one_is_not() -> None:
    words = ADVICE.split()
    almost, enough = " ".join(words[: COPIED_SIZE - 1]), " ".join(words[:COPIED_SIZE])
    found = describe_copies([f"{almost} weeks", f"{enough} weeks"], [ADVICE])
    assert found["copied_fraction"] == 0.5
    assert found["whole_copied_fraction"] == 0.0
    assert found["mean_shared_words"] == COPIED_SIZE - 0.5


def test_a_short_reply_that_a_training_reply_equals_is_copied() -> None:
    found = describe_copies(["Yes, please.", "No."], ["yes please"])
    assert found["copied_fraction"] == 0.5


def test_nothing_is_shared_with_no_training_reply() -> None:
    found = describe_copies([ADVICE, ""], [])
    assert found["copied_fraction"] == 0.0
    assert found["longest_shared_words"] == 0
