"""The estimators keep scikit-learn's contract: in its validation, pipelines and searches, copied and pickled."""

from __future__ import annotations

import copy
import inspect
import pickle
import warnings
from collections.abc import Callable
from dataclasses import fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.validation import check_is_fitted

import pretune
from pretune.errors import EstimatorDataError, FolderInTheWayError, InterruptedByUserError, UsageError
from pretune.estimators import TextClassifier, TextRegressor, targets_of, texts_of
from pretune.settings import FinetuneConfig, PrepareConfig, SplitConfig

THINGS = ("film", "hotel", "food", "phone", "battery", "soup")
ROWS = [
    (f"{opening} {thing} was {word}.", label)
    for opening in ("The", "This", "Our", "That")
    for thing in THINGS
    for word, label in (("wonderful", "good"), ("warm and funny", "good"), ("dreadful", "bad"), ("rude", "bad"))
]
TEXTS, LABELS = [text for text, _ in ROWS], [label for _, label in ROWS]
SETTINGS: dict[str, Any] = {"epochs": 1, "seeds": 1, "learning_rates": 1e-2, "mask_augment": 0.0}


@pytest.fixture
def estimator(run_folder: Path) -> TextClassifier:
    return TextClassifier(base=run_folder, **SETTINGS)


@pytest.fixture(scope="module")
def fitted(run_folder: Path) -> TextClassifier:
    """A fitted estimator, which no test may fit again."""
    return TextClassifier(run_folder, **{**SETTINGS, "epochs": 3}).fit(TEXTS, LABELS)


def test_it_learns(fitted: TextClassifier) -> None:
    assert fitted.classes_.tolist() == ["bad", "good"]
    assert fitted.class_frequencies_.tolist() == [0.5, 0.5]
    assert fitted.score(TEXTS, LABELS) > 0.9
    assert len(fitted.history_) == 3
    probabilities = fitted.predict_proba(TEXTS)
    assert (probabilities.shape, probabilities.dtype) == ((len(TEXTS), 2), np.float64)
    assert fitted.predict(TEXTS).tolist() == fitted.classes_[probabilities.argmax(axis=1)].tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of rows that do not add up to one
        assert log_loss(LABELS, probabilities) < 0.7


def test_the_parameters_are_the_settings_with_their_defaults() -> None:
    settings = {each.name: each.default for config in (FinetuneConfig, PrepareConfig) for each in fields(config)}
    settings["validation_fraction"] = SplitConfig().validation_fraction
    settings["random_state"] = settings.pop("seed")
    del settings["notice"]  # for conversations, which an estimator does not learn
    del settings["from_scratch"]  # an estimator without a pre-trained model would be another one
    del settings["self_train"], settings["self_train_sentences"]  # nor is there a corpus
    found = {name: each.default for name, each in inspect.signature(TextClassifier).parameters.items()}
    assert found == settings | {"base": None, "verbose": False}
    regressor = {name: each.default for name, each in inspect.signature(TextRegressor).parameters.items()}
    of_classes = ("class_weights", "method", "pattern", "label_words", "stack")
    assert found == regressor | {name: settings[name] for name in of_classes}


COLUMNS: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "numpy": np.array,
    "numpy objects": lambda values: np.array(values, dtype=object),
    "numpy (N, 1)": lambda values: np.array(values)[:, None],
    "lists of one": lambda values: [[value] for value in values],
    "pandas": lambda values: pd.Series(values, index=range(7, 7 + len(values))),
    "pandas category": lambda values: pd.Series(values, dtype="category"),
    "pandas string": lambda values: pd.Series(values, dtype="string"),
    "pandas table": lambda values: pd.DataFrame({"text": values}),
    "polars": pl.Series,
    "polars table": lambda values: pl.DataFrame({"text": values}),
}


@pytest.mark.parametrize("make", COLUMNS.values(), ids=COLUMNS)
def test_texts_and_labels_of_any_kind_of_column(make: Callable[[list[Any]], Any], fitted: TextClassifier) -> None:
    assert texts_of(make(TEXTS)) == TEXTS
    assert fitted.predict_proba(make(TEXTS[:5])).tolist() == fitted.predict_proba(TEXTS[:5]).tolist()
    assert texts_of(make(["a", None, "b"])) == ["a", "", "b"]


TARGETS: dict[str, tuple[Any, list[Any]]] = {
    "bool": ([True, False], [False, True]),
    "numpy ints": (np.array([3, 1], dtype=np.int8), [1, 3]),
    "whole floats": (np.array([2.0, 1.0]), [1.0, 2.0]),
    "pandas Int64": (pd.Series([3, 1], dtype="Int64"), [1, 3]),
    "pandas category": (pd.Series(["b", "a"], dtype="category"), ["a", "b"]),
    "pandas table": (pd.DataFrame({"label": ["b", "a"]}), ["a", "b"]),
    "polars": (pl.Series(["b", "a"], dtype=pl.Categorical), ["a", "b"]),
}


@pytest.mark.parametrize(("y", "classes"), TARGETS.values(), ids=TARGETS)
def test_predictions_are_labels_as_they_were_given(y: Any, classes: list[Any]) -> None:
    found = np.unique(targets_of(y, "TextClassifier")).tolist()
    assert found == classes
    assert list(map(type, found)) == list(map(type, classes))


def test_labels_are_learned_and_predicted_in_their_own_type(estimator: TextClassifier) -> None:
    y = np.array([label == "good" for label in LABELS])
    estimator.fit(pl.Series(TEXTS), y)
    assert estimator.classes_.tolist() == [False, True]
    assert estimator.predict(TEXTS).dtype == np.bool_
    assert estimator.score(TEXTS, y) > 0.5


def test_a_missing_text_is_given_the_class_frequencies(estimator: TextClassifier) -> None:
    estimator.fit([*TEXTS, None, float("nan"), "<p></p>"], [*LABELS, "bad", "bad", "unknown"])
    assert estimator.classes_.tolist() == ["bad", "good", "unknown"]
    found = estimator.predict_proba([TEXTS[0], None, " ", pd.NA])
    assert found[1:].tolist() == [estimator.class_frequencies_.tolist()] * 3
    assert estimator.predict([None]).tolist() == ["bad"]
    assert found[0, 2] == 0.0  # none of its texts could be read
    assert estimator.predict_proba([]).shape == (0, 3)


BAD: dict[str, tuple[Any, Any, str]] = {
    "lengths": (TEXTS, LABELS[:-1], "X has 96 texts and y has 95 values"),
    "one text": ("A text.", ["a"], r"put it in \[ \]"),
    "a number": (["a", 3], ["a", "b"], "X cannot be used. Text 2 is 3; expected a string"),
    "nothing": ([], [], "There are no examples"),
    "a table": (pd.DataFrame({"title": TEXTS, "text": TEXTS}), LABELS, "the columns title, text; expected one column"),
    "no y": (TEXTS, None, "requires y to be passed, but the target y is None"),
    "no texts": (None, LABELS, "X is None; expected a list or column of texts"),
    "one label": (TEXTS, "good", "y is 'good'; expected a list or column"),
    "several columns": (TEXTS, pd.DataFrame({"toxic": [0, 1], "rude": [0, 1]}), r"columns toxic, rude; .*multilabel"),
    "several labels": (TEXTS, [["a"], ["a", "b"]], r"y has an item \['a', 'b'\]; expected one label for .*multilabel"),
    "flags": (TEXTS, np.eye(2), r"y has an item \[1.0, 0.0\]; expected one label for each text"),
    "sets": (TEXTS, [{"a"}, {"b"}], r"y has an item \{'a'\}; expected one label for each text"),
    "missing label": (TEXTS, [None, *LABELS[1:]], "Item 0 of y is None; leave that row out"),
    "two kinds": (TEXTS, [1, *LABELS[1:]], "labels that are words and labels that are numbers"),
    "measures": (TEXTS, np.linspace(0, 1, len(TEXTS)), "Unknown label type: continuous"),
    "one class": (TEXTS, ["a"] * len(TEXTS), "X has only one label"),
    "alike": (TEXTS, ["good ", *LABELS[1:]], "written alike: 'good', 'good '"),
    "a single row": (TEXTS, ["rare", *LABELS[1:]], "X, example 1: the label 'rare' has a single row"),
}


@pytest.mark.parametrize(("X", "y", "sentence"), BAD.values(), ids=BAD)
def test_bad_data_is_a_value_error(
    X: Any, y: Any, sentence: str, estimator: TextClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(ValueError, match=sentence) as found:
        estimator.fit(X, y)
    assert isinstance(found.value, EstimatorDataError) or "continuous" in sentence  # which is scikit-learn's
    assert "\n" not in str(found.value) or "continuous" in sentence
    assert list(tmp_path.iterdir()) == []


def test_bad_parameters_are_found_when_it_is_fitted(run_folder: Path) -> None:
    with pytest.raises(UsageError, match=r"TextClassifier has no model to start from; expected base="):
        TextClassifier().fit(TEXTS, LABELS)
    with pytest.raises(UsageError, match=r"epochs in .* is 'x'; expected a whole number"):
        TextClassifier(run_folder, epochs="x").fit(TEXTS, LABELS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="sample_weight"):
        TextClassifier(run_folder).fit(TEXTS, LABELS, sample_weight=[1] * len(TEXTS))  # type: ignore[call-arg]
    with pytest.raises(NotFittedError):
        TextClassifier(run_folder).save("nowhere")


def test_interruptions_end_a_search(estimator: TextClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search takes an ordinary exception for a failed fit, and goes on."""
    for error, raised in ((pretune.InterruptedByUserError, KeyboardInterrupt), (pretune.StoppedError, SystemExit)):
        monkeypatch.setattr("pretune.api.Model.train", lambda *a, error=error, **k: (_ for _ in ()).throw(error("x")))
        with pytest.raises(raised):
            cross_val_score(estimator, TEXTS, LABELS, cv=2)


def test_numbers_of_numpy_and_seeds_of_any_kind(run_folder: Path) -> None:
    made = TextClassifier(
        run_folder, epochs=np.int64(2), learning_rates=np.array([1e-3, 2e-3]), random_state=np.int64(7)
    )
    settings = made._settings()
    assert (settings["epochs"], settings["learning_rates"], settings["seed"]) == (2, (1e-3, 2e-3), 7)
    assert {type(settings[name]) for name in ("epochs", "seed")} == {int}
    assert TextClassifier(learning_rates=np.float64(1e-3))._settings()["learning_rates"] == (1e-3,)
    drawn = TextClassifier(random_state=np.random.RandomState(3))
    assert drawn._settings()["seed"] != drawn._settings()["seed"]
    assert (
        TextClassifier(random_state=None)._settings()["seed"] != TextClassifier(random_state=None)._settings()["seed"]
    )


def test_copies_and_pickles_predict_the_same_bits(fitted: TextClassifier, tmp_path: Path) -> None:
    expected = fitted.predict_proba(TEXTS).tobytes()
    joblib.dump(fitted, tmp_path / "model.joblib")
    copies = joblib.load(tmp_path / "model.joblib"), pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted)
    for each in copies:
        assert each is not fitted
        assert each.predict_proba(TEXTS).tobytes() == expected
        assert each.history_ == fitted.history_
    size = sum(map(len, fitted.model_.files.values()))
    assert len(pickle.dumps(fitted)) < size + 20_000  # the files, not the loaded model as well


def test_a_pickle_needs_no_file_of_the_training(run_folder: Path, tmp_path: Path) -> None:
    base = pretune.load_pretrained_model(run_folder).save(tmp_path / "base")
    carried = pickle.dumps(TextClassifier(base, **SETTINGS).fit(TEXTS, LABELS))
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    assert len(pickle.loads(carried).predict(TEXTS)) == len(TEXTS)


def test_the_same_seed_gives_the_same_bits(estimator: TextClassifier) -> None:
    first = estimator.fit(TEXTS, LABELS).predict_proba(TEXTS).tobytes()
    assert estimator.fit(TEXTS, LABELS).predict_proba(TEXTS).tobytes() == first
    assert clone(estimator).set_params(random_state=1).fit(TEXTS, LABELS).predict_proba(TEXTS).tobytes() != first


def test_a_model_object_is_a_base(run_folder: Path) -> None:
    model = pretune.load_pretrained_model(run_folder)
    made = clone(TextClassifier(model, **SETTINGS))
    assert made.get_params()["base"].path == model.path
    assert pickle.loads(pickle.dumps(made.fit(TEXTS, LABELS))).predict(TEXTS[:1]).shape == (1,)
    assert not model.is_classifier  # it is not trained itself


def test_save_writes_a_model_folder(fitted: TextClassifier, tmp_path: Path) -> None:
    model = pretune.load_model(fitted.save(tmp_path / "saved"))
    assert model.predict(TEXTS).labels == fitted.predict(TEXTS).tolist()
    with pytest.raises(FolderInTheWayError):
        fitted.save(tmp_path / "saved")


def test_in_cross_validation_and_in_pipelines(estimator: TextClassifier) -> None:
    frame = pd.DataFrame({"n": range(len(TEXTS)), "text": TEXTS, "label": LABELS})
    lower = FunctionTransformer(lambda column: column.str.lower())
    scores = cross_val_score(make_pipeline(lower, estimator), frame["text"], frame["label"], cv=2)
    assert scores.shape == (2,)
    assert scores.min() > 0.4
    only_text = ColumnTransformer([("text", "passthrough", ["text"])])
    found = cross_val_predict(make_pipeline(only_text, estimator), frame, frame["label"], cv=2, method="predict_proba")
    assert found.shape == (len(frame), 2)
    assert np.allclose(found.sum(axis=1), 1)


@pytest.mark.slow
def test_in_a_grid_search_of_polars_columns(estimator: TextClassifier) -> None:
    search = GridSearchCV(estimator, {"learning_rates": [1e-3, (30.0,)]}, cv=2, error_score="raise")
    search.fit(pl.Series(TEXTS), pl.Series(LABELS))
    assert search.best_params_ == {"learning_rates": 1e-3}
    assert search.predict(pl.Series(TEXTS[:3])).shape == (3,)


@pytest.mark.slow  # two processes that load torch
def test_in_processes_of_joblib(estimator: TextClassifier) -> None:
    alone, apart = (cross_val_predict(estimator, TEXTS, LABELS, cv=2, n_jobs=n, method="predict_proba") for n in (1, 2))
    assert apart.tobytes() == alone.tobytes()


class NumberReader(TextClassifier):
    """The classifier for the rows of numbers that scikit-learn's checks make: each row becomes a text of words."""

    def fit(self, X: Any, y: Any) -> NumberReader:
        super().fit(_in_words(X), y)
        return self

    def predict_proba(self, X: Any) -> Any:
        check_is_fitted(self)
        return super().predict_proba(_in_words(X))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = False, True
        return tags


def _in_words(X: Any) -> list[str]:
    """Each number as a word: a letter for its column, and the number."""
    return [" ".join(f"{'abcdefghij'[column]}{value:.1f}" for column, value in enumerate(row)) for row in np.asarray(X)]


# Of scikit-learn's own checks, those that make sense for texts, and for texts made of numbers. The others: of sparse
# matrices, of dtypes and memory layouts of X, of NaN and infinity in X, of n_features_in_ and names of features (there
# is one column, without a name), of sample weights (there are none), of fitting one row (a class needs two), and of
# accuracy on rows of Gaussian numbers.
API_CHECKS = (
    "estimator_cloneable", "estimator_tags_renamed", "valid_tag_types", "estimator_repr", "no_attributes_set_in_init",
    "fit_score_takes_y", "estimators_unfitted", "do_not_raise_errors_in_init_or_set_params", "mixin_order",
    "parameters_default_constructible", "get_params_invariance", "set_params", "requires_y_none",
    "classifiers_one_label", "classifiers_regression_target", "supervised_y_no_nan",
)  # fmt: skip
FITTED_CHECKS = ("estimators_pickle", "pipeline_consistency", "dict_unchanged", "methods_subset_invariance")
MORE_FITTED_CHECKS = (
    "estimators_overwrite_params", "dont_overwrite_parameters", "estimators_fit_returns_self", "classifiers_classes",
    "supervised_y_2d", "methods_sample_order_invariance", "fit_idempotent", "fit_check_is_fitted",
    "readonly_memmap_input", "non_transformer_estimators_n_iter",
)  # fmt: skip
SLOW_CHECKS = [pytest.param(name, marks=pytest.mark.slow) for name in MORE_FITTED_CHECKS]


@pytest.mark.parametrize("name", [*API_CHECKS, *FITTED_CHECKS, *SLOW_CHECKS])
def test_scikit_learns_own_checks(name: str, run_folder: Path) -> None:
    check = getattr(estimator_checks, f"check_{name}")
    check("NumberReader", NumberReader(run_folder, **SETTINGS))


def test_the_tags_say_what_it_takes(fitted: TextClassifier) -> None:
    tags = get_tags(fitted)
    assert tags.estimator_type == "classifier"
    assert (tags.input_tags.string, tags.input_tags.two_d_array, tags.target_tags.required) == (True, False, True)


SCORES = np.array(
    [{"wonderful": 4.5, "warm and funny": 4.0, "rude": 1.5, "dreadful": 1.0}[t[:-1].split(" was ")[1]] for t in TEXTS]
)


def test_scores_are_learned_and_carried_in_pickles(run_folder: Path) -> None:
    regressor = TextRegressor(run_folder, **{**SETTINGS, "epochs": 5}).fit(pl.Series(TEXTS), pd.Series(SCORES))
    found = regressor.predict(TEXTS)
    assert (found.shape, found.dtype) == ((len(TEXTS),), np.float64)
    assert regressor.score(TEXTS, SCORES) > 0.5
    assert regressor.predict([None, " "]).tolist() == [SCORES.mean()] * 2
    for each in (pickle.loads(pickle.dumps(regressor)), copy.deepcopy(regressor)):
        assert each.predict(TEXTS).tobytes() == found.tobytes()


@pytest.mark.parametrize("convert", [float, Decimal, Fraction])
def test_scores_may_be_objects(run_folder: Path, convert: Callable[[float], Any]) -> None:
    column = np.array([convert(score) for score in SCORES.tolist()], dtype=object)
    found = TextRegressor(run_folder, **SETTINGS).fit(TEXTS, column)
    assert found.mean_ == SCORES.mean()
    with pytest.raises(EstimatorDataError, match="expected numbers"):
        TextRegressor(run_folder, **SETTINGS).fit(TEXTS[:2], np.array(["1.5", "2.5"], dtype=object))
    with pytest.raises(EstimatorDataError, match="Item 1 of y is Decimal"):
        targets_of([Decimal(1), Decimal("-Infinity")], "TextRegressor")


def test_a_regressor_in_cross_validation(run_folder: Path) -> None:
    found = cross_val_predict(TextRegressor(run_folder, **SETTINGS), np.array(TEXTS)[:, None], SCORES, cv=2)
    assert found.shape == SCORES.shape
    assert SCORES.min() - 2 < found.mean() < SCORES.max() + 2  # in the units of y


def test_a_regressor_refuses_words_and_missing_scores(run_folder: Path) -> None:
    for y, sentence in ((LABELS, "y has the label 'good'; expected numbers"), ([None, *SCORES[1:]], "Item 0 of y")):
        with pytest.raises(ValueError, match=sentence):
            TextRegressor(run_folder, **SETTINGS).fit(TEXTS, y)
    with pytest.raises(NotFittedError):
        TextRegressor(run_folder).predict(TEXTS)
    assert get_tags(TextRegressor()).estimator_type == "regressor"


def test_numbers_and_joined_words_are_classes(estimator: TextClassifier) -> None:
    """Files with such labels are read as other tasks; an estimator's class says what its labels are."""
    stars = np.arange(len(TEXTS)) % 3 + 1
    assert estimator.fit(TEXTS, stars).classes_.tolist() == [1, 2, 3]
    joined = [("red", "red, green", "green")[place % 3] for place in range(len(TEXTS))]
    assert estimator.fit(TEXTS, joined).classes_.tolist() == ["green", "red", "red, green"]


def test_a_fit_that_fails_leaves_the_one_before(fitted: TextClassifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes were those of the new labels and the model that of the old ones: a KeyError."""
    estimator = copy.deepcopy(fitted)
    with pytest.raises(EstimatorDataError):
        estimator.fit(TEXTS[:2], ["hot", "cold", "warm"])
    monkeypatch.setattr("pretune.api.Model.train", Mock(side_effect=InterruptedByUserError("Stopped.")))
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(TEXTS[:3], ["hot", "cold", "warm"])
    assert estimator.classes_.tolist() == ["bad", "good"]
    assert estimator.predict(TEXTS).tolist() == fitted.predict(TEXTS).tolist()
