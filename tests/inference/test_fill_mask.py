"""Words for [MASK] come best first, with probabilities over the whole vocabulary."""

from __future__ import annotations

from pathlib import Path

import pytest

from pretune.errors import UsageError
from pretune.inference.fill_mask import MaskFiller
from pretune.inference.load import load_filler


@pytest.fixture(scope="module")
def filler(run_folder: Path) -> MaskFiller:
    return load_filler(run_folder)


def test_every_mask_gets_its_words_best_first(filler: MaskFiller) -> None:
    words = filler.fill("The [MASK] rises in the [MASK].", top=4)
    assert [len(each) for each in words] == [4, 4]
    for each in words:
        probabilities = [word.probability for word in each]
        assert probabilities == sorted(probabilities, reverse=True)
        assert all(0 <= probability <= 1 for probability in probabilities)
        assert all(word.token_id > filler.tokenizer.mask_id for word in each)


def test_all_words_sum_to_one_but_for_special_tokens(filler: MaskFiller) -> None:
    words = filler.fill("The [MASK].", top=10_000)[0]
    special = filler.predict_masked("The [MASK].")[0][: filler.tokenizer.first_ordinary_id].sum()
    assert len(words) == filler.tokenizer.vocab_size - filler.tokenizer.first_ordinary_id
    assert sum(word.probability for word in words) + float(special) == pytest.approx(1.0, abs=1e-5)


def test_texts_that_cannot_be_filled_are_refused(filler: MaskFiller) -> None:
    with pytest.raises(UsageError, match=r"no \[MASK\]"):
        filler.fill("The sun rises.")
    with pytest.raises(UsageError, match="expected at most 512"):
        filler.fill("The [MASK]. " * 300)
    with pytest.raises(UsageError, match="at least 1"):
        filler.fill("The [MASK].", top=0)


def test_a_text_is_cleaned_as_in_training(run_folder: Path) -> None:
    filler = load_filler(run_folder)
    assert filler.fill("The sch&ouml;ne <b>film</b> is [MASK].") == filler.fill("The schöne film is [MASK].")
    with pytest.raises(UsageError, match="inside markup"):
        filler.fill("A <a title='[MASK]'>link</a> and a [MASK].")
