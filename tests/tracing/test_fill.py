"""A fill's trace ends at what `fill` predicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretune.errors import UsageError
from pretune.inference.fill_mask import MaskFiller
from pretune.inference.load import load_filler
from pretune.tracing.fill import trace_fill

TEXT = "A wonderful [MASK], warm and funny."


@pytest.fixture(scope="module")
def filler(run_folder: Path) -> MaskFiller:
    return load_filler(run_folder)


@pytest.mark.parametrize("text", [TEXT, "[MASK]", "🙂 لا [MASK] never", "the [MASK] in the [MASK]"])
def test_the_last_layer_is_the_prediction(filler: MaskFiller, text: str) -> None:
    found, expected = trace_fill(filler, text), filler.fill(text, 5)[0]
    assert [guess.word for guess in found.predictions] == [each.word for each in expected]
    assert [guess.probability for guess in found.predictions] == pytest.approx(
        [each.probability for each in expected], rel=1e-4
    )
    assert found.readouts[-1].predictions == found.predictions
    assert [readout.layer for readout in found.readouts] == [0, 1, 2]
    assert found.tokens[found.mask_position].id == filler.tokenizer.mask_id
    assert found.tokens[found.mask_position].is_special


def test_the_true_word_has_its_probability_and_rank(filler: MaskFiller) -> None:
    masked_text = "A wonderful film, [MASK] and funny."
    ids = filler.tokenizer.encode(masked_text.replace("[MASK]", "warm"))
    found = trace_fill(filler, masked_text, true_word="warm")
    assert len(ids) == len(found.tokens)  # the word is a single token
    probabilities = filler.predict_masked(masked_text)[0]
    of_word = probabilities[ids[found.mask_position]]
    assert found.readouts[-1].probability == pytest.approx(float(of_word), rel=1e-4)
    assert found.readouts[-1].rank == 1 + int((probabilities > of_word).sum())
    unknown = trace_fill(filler, masked_text).readouts[-1]
    assert (unknown.probability, unknown.rank) == (None, None)


def test_a_true_word_of_several_tokens_has_neither(filler: MaskFiller) -> None:
    assert trace_fill(filler, TEXT, true_word="xylophone").readouts[-1].rank is None


def test_occlusion_is_the_fall_of_the_log_probability_of_the_first_guess(filler: MaskFiller) -> None:
    found = trace_fill(filler, TEXT)
    assert found.words == ["A", "wonderful", "[MASK]", ",", "warm", "and", "funny."]
    assert found.occlusion[2] == pytest.approx(0.0, abs=1e-5)  # it is masked already
    both = TEXT.replace("warm", "[MASK]")
    assert len(filler.encode(both)) == len(found.tokens)
    before, after = filler.predict_masked(TEXT)[0], filler.predict_masked(both)[0]
    guess = int(before[filler.tokenizer.first_ordinary_id :].argmax()) + filler.tokenizer.first_ordinary_id
    assert found.occlusion[4] == pytest.approx(float(before[guess].log() - after[guess].log()), abs=1e-3)


def test_a_text_without_a_mask_or_too_long_is_refused(filler: MaskFiller) -> None:
    with pytest.raises(UsageError, match=r"The text has no \[MASK\]"):
        trace_fill(filler, "A film.")
    with pytest.raises(UsageError, match=r"expected at most 512"):
        trace_fill(filler, "[MASK] " + "dreadful " * 600)
