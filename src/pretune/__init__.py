"""pretune: from raw text and a few labels to a working model, with every stage traced.

The public names are imported on first use, so `import pretune` is fast and does not load torch.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretune.version import VERSION as __version__

if TYPE_CHECKING:  # the same names as below, for type checkers and editors
    from pretune.api import History as History
    from pretune.api import Model as Model
    from pretune.api import Predictions as Predictions
    from pretune.api import Run as Run
    from pretune.api import load_model as load_model
    from pretune.api import load_pretrained_model as load_pretrained_model
    from pretune.api import open_run as open_run
    from pretune.errors import CorruptModelError as CorruptModelError
    from pretune.errors import FolderInTheWayError as FolderInTheWayError
    from pretune.errors import InputDataError as InputDataError
    from pretune.errors import InterruptedByUserError as InterruptedByUserError
    from pretune.errors import ModelError as ModelError
    from pretune.errors import ModelNotFoundError as ModelNotFoundError
    from pretune.errors import OutOfResourcesError as OutOfResourcesError
    from pretune.errors import PretuneError as PretuneError
    from pretune.errors import RankLostError as RankLostError
    from pretune.errors import StoppedError as StoppedError
    from pretune.errors import UsageError as UsageError
    from pretune.estimators import TextClassifier as TextClassifier
    from pretune.estimators import TextRegressor as TextRegressor
    from pretune.evaluation.evaluate import evaluate as evaluate
    from pretune.exporting.export_tokens import export as export
    from pretune.inference.predict import fill as fill
    from pretune.inference.predict import predict as predict
    from pretune.inference.predict import predict_file as predict_file
    from pretune.pipeline import run as run
    from pretune.recipe import Recipe as Recipe
    from pretune.recipe import read_recipe as read_recipe
    from pretune.settings import ChatTuningConfig as ChatTuningConfig
    from pretune.settings import CollectConfig as CollectConfig
    from pretune.settings import FinetuneConfig as FinetuneConfig
    from pretune.settings import PrepareConfig as PrepareConfig
    from pretune.settings import PreprocessConfig as PreprocessConfig
    from pretune.settings import PretrainConfig as PretrainConfig
    from pretune.settings import SplitConfig as SplitConfig
    from pretune.stages.chat_tuning.stage import tune_chat as tune_chat
    from pretune.stages.collect.stage import collect as collect
    from pretune.stages.compare import compare as compare
    from pretune.stages.finetune.stage import finetune as finetune
    from pretune.stages.prepare import prepare as prepare
    from pretune.stages.prepare_chat import prepare_chat as prepare_chat
    from pretune.stages.preprocess.stage import preprocess as preprocess
    from pretune.stages.pretrain.stage import pretrain as pretrain
    from pretune.stages.split import split as split
    from pretune.tasks.prediction import Prediction as Prediction
    from pretune.tracing.prediction import trace as trace

if sys.platform == "win32":  # which lacks the file locks and the memory measurement that a stage needs
    _SENTENCE = "pretune works on Linux and macOS; on Windows, install and run it in WSL (wsl --install)."
    if Path(sys.argv[0]).stem in (
        "pretune",
        "-m",
    ):  # the command line; argv[0] is "-m" until Python has found the module
        from pretune.errors import EXIT_USAGE

        sys.stderr.write(f"{_SENTENCE}\n")
        sys.exit(EXIT_USAGE)
    raise ImportError(_SENTENCE)

# Threads that wait for the next matrix product sleep instead of spinning, which makes a training step several times
# faster next to other busy processes. This must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Matrix products on a GPU use a workspace of fixed size, which makes their results reproducible.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

_MODULE_OF = {
    "History": "api",
    "Model": "api",
    "Prediction": "tasks.prediction",
    "Predictions": "api",
    "Run": "api",
    "TextClassifier": "estimators",
    "TextRegressor": "estimators",
    "load_model": "api",
    "load_pretrained_model": "api",
    "open_run": "api",
    "split": "stages.split",
    "collect": "stages.collect.stage",
    "preprocess": "stages.preprocess.stage",
    "pretrain": "stages.pretrain.stage",
    "prepare": "stages.prepare",
    "prepare_chat": "stages.prepare_chat",
    "finetune": "stages.finetune.stage",
    "tune_chat": "stages.chat_tuning.stage",
    "compare": "stages.compare",
    "predict": "inference.predict",
    "predict_file": "inference.predict",
    "evaluate": "evaluation.evaluate",
    "export": "exporting.export_tokens",
    "fill": "inference.predict",
    "trace": "tracing.prediction",
    "SplitConfig": "settings",
    "CollectConfig": "settings",
    "PreprocessConfig": "settings",
    "PretrainConfig": "settings",
    "PrepareConfig": "settings",
    "FinetuneConfig": "settings",
    "ChatTuningConfig": "settings",
    "Recipe": "recipe",
    "read_recipe": "recipe",
    "run": "pipeline",
    "PretuneError": "errors",
    "UsageError": "errors",
    "FolderInTheWayError": "errors",
    "InputDataError": "errors",
    "ModelError": "errors",
    "ModelNotFoundError": "errors",
    "CorruptModelError": "errors",
    "OutOfResourcesError": "errors",
    "StoppedError": "errors",
    "RankLostError": "errors",
    "InterruptedByUserError": "errors",
}

__all__ = ["__version__", *_MODULE_OF]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'pretune' has no attribute {name!r}")
    return getattr(importlib.import_module(f"pretune.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
