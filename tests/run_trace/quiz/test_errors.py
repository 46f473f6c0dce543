"""Questions about mistakes and calibration name a model as the comparison does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from pretune.run_trace.quiz.errors import TEMPLATES
from pretune.trace_schema import RunTrace


@pytest.mark.parametrize("name", ["Q-ECE", "Q-CALIBRATION"])
def test_a_model_has_the_name_that_the_page_shows(name: str, make_trace: Callable[..., RunTrace]) -> None:
    template = next(each for each in TEMPLATES if each.id == name)
    assert "the model “pre-trained”" in template.make(make_trace(), Random(0)).prompt.replace("The model", "the model")
