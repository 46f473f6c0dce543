"""Questions about hidden words mark no true sentence as wrong."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from pretune.run_trace.quiz.masked_words import TEMPLATES
from pretune.trace_schema import RunTrace


def test_an_untrained_model_is_not_said_wrongly_to_have_read_enough(make_trace: Callable[..., RunTrace]) -> None:
    """It has read too few texts: none."""
    draft = next(each for each in TEMPLATES if each.id == "Q-UNTRAINED").make(make_trace(), Random(0))
    assert not [claim.text for claim in draft.wrong if "too few" in claim.text]
    assert "The word is rare in the training texts." in [claim.text for claim in draft.wrong]
