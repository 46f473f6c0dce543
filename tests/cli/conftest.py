"""Language models with random weights, shared with the tests of inference."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_spec = spec_from_file_location("inference_models", Path(__file__).parents[1] / "inference" / "conftest.py")
assert _spec is not None and _spec.loader is not None
_models = module_from_spec(_spec)
_spec.loader.exec_module(_models)
save_language_model = _models.save_language_model
