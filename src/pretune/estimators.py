"""Estimators with scikit-learn's contract, for its pipelines, cross-validation and grid searches.

classifier = pretune.TextClassifier(base="runs/reviews", epochs=3)
print(cross_val_score(classifier, frame["text"], frame["label"]))
"""

from __future__ import annotations

import math
import numbers
import re
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from pretune.api import Model, load_pretrained_model
from pretune.errors import EstimatorDataError, InputDataError, InterruptedByUserError, StoppedError, UsageError
from pretune.inference.model_files import ModelFiles
from pretune.setting_kinds import to_python
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.label_text import is_missing, label_text
from pretune.text.labels.python_columns import is_table, names_of, values_of
from pretune.text.labels.python_data import as_texts
from pretune.text.reading_report import join_names
from pretune.train_folder import DATA_NAME

_OWN_PARAMETERS = ("base", "random_state", "verbose")  # all others are settings of the split and of stages 4 and 5
_ONE_LABEL = (
    "expected one label for each text. For several labels a text, call "
    'pretune.load_pretrained_model(base).train((X, y), task="multilabel").'
)
_LARGEST_SEED = 2**31 - 1


class _TextEstimator(BaseEstimator, ABC):  # type: ignore[misc]  # scikit-learn has no type annotations
    """What the estimators have in common: texts in, a model trained from `base`, and the model in their pickle."""

    def __init__(
        self,
        base: Path | str | Model | None = None,
        *,
        epochs: int | None = None,
        updates: int | None = None,
        patience: int = 2,
        batch_size: int = 32,
        learning_rates: Sequence[float] | float | None = None,
        search_rows: int = 3000,
        seeds: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        weight_decay: float = 0.05,
        mask_augment: float = 0.1,
        validation_fraction: float = 0.1,
        max_seq_len: int | None = None,
        long_texts: Literal["auto", "windows", "cut"] = "auto",
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        self.base = base
        self.epochs = epochs
        self.updates = updates
        self.patience = patience
        self.batch_size = batch_size
        self.learning_rates = learning_rates
        self.search_rows = search_rows
        self.seeds = seeds
        self.random_state = random_state
        self.weight_decay = weight_decay
        self.mask_augment = mask_augment
        self.validation_fraction = validation_fraction
        self.max_seq_len = max_seq_len
        self.long_texts = long_texts
        self.precision = precision
        self.threads = threads
        self.verbose = verbose

    def save(self, path: Path | str) -> Path:
        """Write the fitted model as a folder, for `pretune.load_model`, the command line and transformers.

        Raises FolderInTheWayError if the path exists, unless it is an empty folder.
        """
        check_is_fitted(self, "model_")
        with self.model_.as_folder() as folder:
            return Model(folder).save(path)

    def _train(
        self, texts: Sequence[str], labels: Sequence[Any], task: Literal["classification", "regression"]
    ) -> tuple[ModelFiles, list[dict[str, Any]]]:
        """The files of the fitted model and its training trace; the folder of the training is deleted.

        The caller sets all attributes at once, so that a refused or interrupted `fit` leaves an earlier one as it is.
        """
        if len(texts) != len(labels):
            raise EstimatorDataError(
                f"X has {len(texts):,} texts and y has {len(labels):,} values; expected one for each text."
            )
        model, settings = load_pretrained_model(self._base_folder()), self._settings()
        folder = Path(tempfile.mkdtemp(prefix="pretune-"))
        try:
            rows = list(zip(texts, labels, strict=True))
            history = model.train(rows, folder, quiet=not self.verbose, task=task, test_fraction=0.0, **settings)
            return ModelFiles.read(model.path), list(history)
        except InputDataError as error:
            raise EstimatorDataError(re.sub(rf"^{DATA_NAME}\b", "X", str(error))) from error
        except InterruptedByUserError as error:  # a grid search would go on after an ordinary exception
            raise KeyboardInterrupt from error
        except StoppedError as error:
            raise SystemExit(error.exit_code) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _predict(self, X: Any, missing: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The outputs of the model for each text (N, ...), and `missing` for a missing or blank one.

        Raises scikit-learn's NotFittedError before `fit`.
        """
        check_is_fitted(self, "model_")
        texts = texts_of(X)
        found = np.repeat(missing[None], len(texts), axis=0)
        places = [place for place, text in enumerate(texts) if clean_text(text)]
        if places:
            found[places] = self._outputs([texts[place] for place in places])
        return found

    @abstractmethod
    def _outputs(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        """The outputs of the model for texts that are not blank (N, ...)."""

    def _base_folder(self) -> Path | str:
        if self.base is None:
            raise UsageError(
                f"{type(self).__name__} has no model to start from; expected base=..., the path of a run, of a stage "
                "or of a model folder. `pretune pretrain` makes one from raw text."
            )
        return self.base.path if isinstance(self.base, Model) else self.base

    def _settings(self) -> dict[str, Any]:
        """The parameters as `Model.train` takes them."""
        seed = self.random_state
        if not isinstance(seed, numbers.Integral):
            seed = check_random_state(seed).randint(_LARGEST_SEED)
        found = {name: value for name, value in self.get_params(deep=False).items() if name not in _OWN_PARAMETERS}
        if isinstance(found["learning_rates"], numbers.Real):  # one of the values in a grid search
            found["learning_rates"] = (found["learning_rates"],)
        return {name: to_python(value) for name, value in {**found, "seed": seed}.items()}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.allow_nan = True
        return tags


class TextClassifier(ClassifierMixin, _TextEstimator):  # type: ignore[misc]  # scikit-learn has no type annotations
    """A classifier of texts, fine-tuned from a pre-trained model, as an estimator of scikit-learn.

    Parameters
    ----------
    base : the model to start from: the path of a run, of a stage, of a model folder or of a GGUF file, `hf:OWNER/NAME`,
        or a `pretune.Model`.
    random_state : the first seed: a number, a RandomState, or None for a new seed with every `fit`.
    verbose : whether to show the progress of the training.

    All others are settings of `pretune finetune`, `pretune prepare` and the split, with the same defaults (docs:
    guide/cli.md). `learning_rates` may be a single rate, and nothing is held out for a test: that is the caller's.

    Attributes
    ----------
    classes_ : (C,), the labels in y, sorted.
    class_frequencies_ : (C,), the fraction of the rows with each label, which is what a missing text is given.
    model_ : the files of the fitted model. They are in every pickle and copy of the estimator.
    history_ : the training trace, a dict with loss and accuracy for each epoch.
    """

    def __init__(
        self,
        base: Path | str | Model | None = None,
        *,
        epochs: int | None = None,
        updates: int | None = None,
        patience: int = 2,
        batch_size: int = 32,
        learning_rates: Sequence[float] | float | None = None,
        search_rows: int = 3000,
        seeds: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        weight_decay: float = 0.05,
        mask_augment: float = 0.1,
        class_weights: Literal["auto", "none", "balanced"] = "auto",
        method: Literal["auto", "head", "cloze"] = "auto",
        pattern: str | None = None,
        label_words: tuple[str, ...] = (),
        stack: bool = True,
        validation_fraction: float = 0.1,
        max_seq_len: int | None = None,
        long_texts: Literal["auto", "windows", "cut"] = "auto",
        precision: Literal["auto", "bf16", "fp32"] = "auto",
        threads: int | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(
            base,
            epochs=epochs,
            updates=updates,
            patience=patience,
            batch_size=batch_size,
            learning_rates=learning_rates,
            search_rows=search_rows,
            seeds=seeds,
            random_state=random_state,
            weight_decay=weight_decay,
            mask_augment=mask_augment,
            validation_fraction=validation_fraction,
            max_seq_len=max_seq_len,
            long_texts=long_texts,
            precision=precision,
            threads=threads,
            verbose=verbose,
        )
        self.class_weights = class_weights
        self.method = method
        self.pattern = pattern
        self.label_words = label_words
        self.stack = stack

    def fit(self, X: Any, y: Any) -> TextClassifier:
        """Train on the texts X and their labels y.

        X is a list, an array or a column of N texts, or a table or array (N, 1) with one column; rows without a text
        are not learned from. y has N labels, none of them missing. There are no weights of rows: see `class_weights`.
        Raises EstimatorDataError, a ValueError, for data that cannot be used.
        """
        texts, labels = texts_of(X), targets_of(y, type(self).__name__)
        check_classification_targets(labels)
        classes, class_of_row, counts = np.unique(labels, return_inverse=True, return_counts=True)
        names = class_names(classes)
        found = self._train(texts, [names[index] for index in class_of_row.tolist()], "classification")
        (self.model_, self.history_), self.classes_ = found, classes
        self.class_frequencies_ = counts / counts.sum()
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most probable label of each text (N,); of a missing text, the most frequent label."""
        check_is_fitted(self, "model_")
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """The probability of every class (N, C), in the order of `classes_`.

        They are the softmax of the scores and are not calibrated. A missing or blank text is given the class
        frequencies of the training rows. Raises scikit-learn's NotFittedError before `fit`.
        """
        check_is_fitted(self, "model_")
        return self._predict(X, self.class_frequencies_)

    def _outputs(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        classifier = self.model_.classifier
        place_of = {name: place for place, name in enumerate(class_names(self.classes_))}
        found = np.zeros((len(texts), len(place_of)))  # zero for a class whose texts were all missing
        probabilities = np.asarray(classifier.predict_outputs(texts), dtype=np.float64)
        # scikit-learn's losses warn of rows that do not add up to one in double precision.
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        found[:, [place_of[name] for name in classifier.label_names]] = probabilities
        return found


class TextRegressor(RegressorMixin, _TextEstimator):  # type: ignore[misc]  # scikit-learn has no type annotations
    """A regressor of texts, fine-tuned from a pre-trained model, as an estimator of scikit-learn.

    The parameters are those of `TextClassifier`, without `class_weights`, `method`, `pattern`, `label_words` and
    `stack`.

    Attributes
    ----------
    mean_ : the mean of y, which is what a missing text is given.
    model_ : the files of the fitted model. They are in every pickle and copy of the estimator.
    history_ : the training trace, a dict with the figures of each epoch.
    """

    def fit(self, X: Any, y: Any) -> TextRegressor:
        """Train on the texts X, in the forms that `TextClassifier.fit` takes, and their scores y (N,).

        Rows without a text are not learned from. Raises EstimatorDataError, a ValueError, for data that cannot be used.
        """
        texts, targets = texts_of(X), targets_of(y, type(self).__name__)
        # A column of a database may have Decimals, and one of mixed origin numbers as objects.
        is_numeric = targets.dtype.kind in "biuf" or all(isinstance(each, numbers.Real | Decimal) for each in targets)
        if not is_numeric:
            raise EstimatorDataError(f"y has the label {targets.tolist()[0]!r:.80}; expected numbers.")
        scores = targets.astype(np.float64)
        self.model_, self.history_ = self._train(texts, scores.tolist(), "regression")
        self.mean_ = float(scores.mean())
        return self

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """The score of each text (N,), in the units of y; of a missing text, the mean of y."""
        check_is_fitted(self, "model_")
        return self._predict(X, np.array(self.mean_))

    def _outputs(self, texts: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.asarray(self.model_.classifier.predict_outputs(texts), dtype=np.float64).reshape(len(texts))


def class_names(classes: npt.NDArray[Any]) -> list[str]:
    """The written form of each class (C,). Raises EstimatorDataError if two have the same."""
    names = [label_text(value) for value in classes.tolist()]
    counts = Counter(names)
    alike = [value for value, name in zip(classes.tolist(), names, strict=True) if counts[name] > 1]
    if alike:
        raise EstimatorDataError(
            f"y has labels that are written alike: {join_names(map(repr, alike), 4)}; expected labels that differ "
            "in more than white space, the case of true and false, 1 and 1.0, or the Unicode form."
        )
    return names


def texts_of(X: Any) -> list[str]:
    """The texts in X, with "" for a missing one. Raises EstimatorDataError for anything but one column of texts."""
    if isinstance(X, str | bytes):
        raise EstimatorDataError(f"X is the single text {X!r:.80}; expected a list of texts: put it in [ ].")
    if is_table(X) and len(names := names_of(X)) != 1:
        raise EstimatorDataError(
            f"X is a table with the columns {join_names(map(str, names))}; expected one column of texts: choose it "
            "with X[NAME], or in a pipeline with a ColumnTransformer."
        )
    if not is_table(X) and not isinstance(X, Iterable):
        raise EstimatorDataError(f"X is {X!r:.80}; expected a list or column of texts.")
    try:
        items = values_of(X)
        if items and all(isinstance(item, list | tuple) and len(item) == 1 for item in items):
            items = [item for (item,) in items]
        return as_texts(items)
    except InputDataError as error:
        raise EstimatorDataError(f"X cannot be used. {error}") from error


def targets_of(y: Any, estimator: str) -> npt.NDArray[Any]:
    """The labels or scores (N,) in y, of its dtype. Raises EstimatorDataError if one is missing, or y is None."""
    if y is None:
        raise EstimatorDataError(f"{estimator} requires y to be passed, but the target y is None.")
    if is_table(y) and len(names := names_of(y)) != 1:
        raise EstimatorDataError(f"y is a table with the columns {join_names(map(str, names))}; {_ONE_LABEL}")
    if isinstance(y, str | bytes) or not (is_table(y) or isinstance(y, Iterable)):
        raise EstimatorDataError(f"y is {y!r:.80}; expected a list or column with a label for each text.")
    try:
        values = values_of(y)
    except InputDataError as error:
        raise EstimatorDataError(f"y cannot be used. {error}") from error
    if several := [value for value in values if _has_several(value)]:
        raise EstimatorDataError(f"y has an item {several[0]!r:.80}; {_ONE_LABEL}")
    unusable = next((place for place, value in enumerate(values) if is_missing(value) or _is_infinite(value)), None)
    if unusable is not None:
        raise EstimatorDataError(f"Item {unusable} of y is {values[unusable]!r}; leave that row out.")
    are_words = {isinstance(value, str) for value in values}
    if len(are_words) > 1:
        raise EstimatorDataError("y has labels that are words and labels that are numbers; expected one kind.")
    array = y if isinstance(y, np.ndarray) else np.array(values)
    return np.asarray(column_or_1d(array, warn=True))


def _has_several(value: Any) -> bool:
    """Whether an item of y is a collection other than the one value of a row of an array (N, 1)."""
    return isinstance(value, set | frozenset) or (isinstance(value, list | tuple | np.ndarray) and len(value) != 1)


def _is_infinite(value: Any) -> bool:
    return isinstance(value, numbers.Real | Decimal) and math.isinf(value)
