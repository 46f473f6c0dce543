"""The models of a run, for texts that are typed into the page: loaded at the first text, and again when replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pretune.runtime.manifest import MANIFEST_NAME
from pretune.trace_schema import FillTrace, PredictionTrace

Model = TypeVar("Model")


class ModelsOfRun:
    """Both models of a run. Nothing here imports torch until a text has been typed."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self._kept: dict[str, tuple[object, Any]] = {}

    def predict(self, text: str, text_pair: str | None = None) -> PredictionTrace:
        """The trace of the fine-tuned model's decision about a text, or a pair of texts.

        Raises ModelNotFoundError while the run has no such model, and UsageError if there is no text.
        """
        from pretune.inference.load import load_classifier
        from pretune.tracing.prediction import trace_prediction

        return trace_prediction(self._load("finetune", load_classifier), text, text_pair)

    def fill(self, text: str) -> FillTrace:
        """The trace of the word that the pre-trained model fills in at [MASK].

        Raises ModelNotFoundError while the run has no such model, and UsageError if the text has not one [MASK].
        """
        from pretune.inference.load import load_filler
        from pretune.tracing.fill import trace_fill

        return trace_fill(self._load("pretrain", load_filler), text)

    def _load(self, stage: Any, load: Callable[[Path], Model]) -> Model:
        """The model of a stage, as it is on disk now."""
        from pretune.inference.load import find_model_folder

        folder = find_model_folder(self.run, stage)
        manifest = folder / MANIFEST_NAME
        status = manifest.stat() if manifest.is_file() else None
        identity = (folder, None if status is None else (status.st_ino, status.st_size, status.st_mtime_ns))
        if stage not in self._kept or self._kept[stage][0] != identity:
            self._kept.pop(stage, None)  # first, so that two are never in memory
            self._kept[stage] = (identity, load(folder))
        model: Model = self._kept[stage][1]
        return model
