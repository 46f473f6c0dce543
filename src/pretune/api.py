"""The model object: load it, train it on a task, predict with it, keep it.

model = pretune.load_pretrained_model("runs/reviews")  # which fills in words
model.train(specific_task_data)
print(model.predict(test_data))
again = pretune.load_model("runs/reviews")  # the classifier that the run fine-tuned
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, overload

from pretune.errors import FolderInTheWayError, InputDataError, ModelError, ModelNotFoundError, UsageError
from pretune.evaluation.evaluate import classes_of
from pretune.inference.classify import Classifier, Prediction
from pretune.inference.fill_mask import WordPrediction
from pretune.inference.load import classifier_of, find_model_folder, load_filler
from pretune.inference.predict import predict, read_texts
from pretune.model.folder import load_model_folder
from pretune.recipe import Recipe, override
from pretune.reporting.progress import live_progress
from pretune.reporting.sections.phases import read_phase
from pretune.reporting.sections.training import render_phase
from pretune.reporting.terminal import Cell, Column, clean, page_for, table, to_text
from pretune.runtime.atomic import commit_folder, write_text
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import MANIFEST_NAME, RECIPE_NAME
from pretune.settings import PrepareConfig, SplitConfig
from pretune.text.labels.label_text import is_missing, label_text
from pretune.text.readers.records import replace_surrogates
from pretune.text.reading_report import join_names
from pretune.tracing.prediction import trace_prediction

ROWS_SHOWN = 40  # of predictions, when they are printed
LABELS_NAME, TEST_LABELS_NAME = "labels.jsonl", "test-labels.jsonl"

Pairs = list[tuple[str, str]]


class History(Sequence[dict[str, Any]]):
    """The rows of the training trace of one `train`, as logged: loss and accuracy by epoch; prints as a table."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self._rows: list[dict[str, Any]] = read_phase(events, "finetune").rows

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        return f"History({len(self)} rows)"

    def __str__(self) -> str:
        page = page_for(sys.stdout)
        return to_text(render_phase(read_phase(self.events, "finetune"), page), page).rstrip()


class Predictions(Sequence[Prediction]):
    """What a model says of some texts, in their order; prints as a table, beside what was expected where known."""

    def __init__(self, predictions: Sequence[Prediction], expected: Sequence[str | None] | None = None) -> None:
        self._predictions = tuple(predictions)
        self.expected = None if expected is None else tuple(expected)

    @property
    def labels(self) -> list[str | None]:
        """The label of each text; None for a missing text."""
        return [prediction.label for prediction in self._predictions]

    @property
    def accuracy(self) -> float | None:
        """The share of labels that are as expected, of the rows with a text and an expected label; None without any."""
        pairs = [(a, b) for a, b in zip(self.labels, self.expected or [], strict=False) if None not in (a, b)]
        return sum(a == b for a, b in pairs) / len(pairs) if pairs else None

    @property
    def num_empty(self) -> int:
        """Texts that were missing or blank, which have no label."""
        return sum(prediction.is_empty for prediction in self._predictions)

    @overload
    def __getitem__(self, index: int) -> Prediction: ...
    @overload
    def __getitem__(self, index: slice) -> Predictions: ...
    def __getitem__(self, index: int | slice) -> Prediction | Predictions:
        if isinstance(index, slice):
            return Predictions(self._predictions[index], None if self.expected is None else self.expected[index])
        return self._predictions[index]

    def __len__(self) -> int:
        return len(self._predictions)

    def __str__(self) -> str:
        page = page_for(sys.stdout)
        columns = [Column("text", wraps=True), Column("label"), Column("probability", "right")]
        columns += [Column("expected")] if self.expected is not None else []
        rows = [
            [clean(p.text, 200), clean(p.label or "-"), "-" if p.probability is None else f"{p.probability:.3f}"]
            for p in self._predictions[:ROWS_SHOWN]
        ]
        for row, expected in zip(rows, self.expected or (), strict=False):
            row.append(clean(expected or "-"))
        text = to_text(table(columns, [[Cell(cell) for cell in row] for row in rows], page, indent=0), page)
        if len(self) > ROWS_SHOWN:
            text += f"... and {len(self) - ROWS_SHOWN:,} more\n"
        if self.num_empty:
            text += f"{self.num_empty:,} without a text, which got no label\n"
        if self.accuracy is not None:
            pairs = zip(self.labels, self.expected or (), strict=False)
            text += f"accuracy {self.accuracy:.3f} (n = {sum(None not in pair for pair in pairs):,})\n"
        return text.rstrip()

    def __repr__(self) -> str:
        return f"Predictions({len(self)} texts)"


class Model:
    """A model folder in use. `train` replaces what it holds by the result; nothing on disk is ever overwritten."""

    def __init__(self, path: Path, language_model: Path | None = None) -> None:
        loaded = load_model_folder(path)
        self.path = path
        self.label_names = loaded.label_names
        self.history: list[History] = []
        self._language_model = language_model if self.is_classifier else path
        self._classifier: Classifier | None = classifier_of(loaded) if self.is_classifier else None

    @property
    def is_classifier(self) -> bool:
        """Whether the model labels texts; until it is trained on a task it only fills in words."""
        return self.label_names is not None

    def __repr__(self) -> str:
        kind, names = "pre-trained language model", self.label_names
        if names is not None:
            kind = f"fine-tuned classifier, labels {join_names(names, 5)}"
        return f"Model({str(self.path)!r}: {kind})"

    def train(
        self,
        data: Any,
        out: Path | str | None = None,
        *,
        test_data: Any = None,
        quiet: bool = False,
        **settings: Any,
    ) -> History:
        """Learn a task from labelled examples, going on from the current weights, and keep the result in this object.

        `data` is a list of (text, label) pairs, a tuple of two columns (texts, labels), or the path of a labelled file;
        a row without a text or a label (None, NaN, blank) is left out and counted. So is
        `test_data`, and without it a part of `data` is held out. `settings` are those of the split and of
        stages 4 and 5, such as `epochs=3`. The stages write to `out`, or to a temporary folder whose path is printed.
        Returns the training trace, which `history` keeps. Raises UsageError for settings and InputDataError for data.
        """
        recipe, examples = _read_settings(settings), _read_examples(data)
        test_examples = None if test_data is None else _read_examples(test_data)
        folder = Path(tempfile.mkdtemp(prefix="pretune-")) if out is None else Path(out).expanduser()
        _refuse_other_run(folder)
        labels = _labels_file(examples, folder / LABELS_NAME)
        test_labels = None if test_examples is None else _labels_file(test_examples, folder / TEST_LABELS_NAME)
        if out is None and not quiet:
            sys.stdout.write(f"The run is in {folder}\n")
        from pretune.stages.finetune.stage import finetune
        from pretune.stages.prepare import prepare

        with live_progress(sys.stderr, quiet):
            prepare(
                labels,
                folder / "prepare",
                recipe.prepare,
                base=self.path,
                test_labels=test_labels,
                split=recipe.split,
            )
            finetune(self.path, folder / "prepare", folder / "finetune", recipe.finetune, alone=True)
        trained = Model(find_model_folder(folder, "finetune"))
        self.path, self.label_names, self._classifier = trained.path, trained.label_names, trained._classifier
        self.history.append(History(read_events(folder / "finetune")))
        return self.history[-1]

    def predict(self, data: Any) -> Predictions:
        """The label of each text with probabilities, in order; an empty prediction for a missing or blank text.

        `data` is a list or column of texts, a list of (text, label) pairs or a tuple of two columns (texts, labels),
        whose labels are shown as expected, by the model's names, or the path of a file with a text a line or with a
        text column. Raises ModelError before the model was trained on a task, and InputDataError for an expected label
        that the model does not know.
        """
        if self._classifier is None:
            raise ModelError(f"{self.path} holds a language model, which labels nothing yet; call train(data) first.")
        if isinstance(data, str | Path):
            file, column = _existing_file(data), self._classifier.columns.get("text_column")
            return Predictions(predict(self._classifier, read_texts(file, preferred=column)))
        items = _examples_of(data)
        if any(map(_is_pair, items)):
            _refuse_what_is_no_pair(items)
            texts, expected = zip(*items, strict=True)
            names = _names_of(expected, self._classifier.label_names)
            return Predictions(predict(self._classifier, _as_texts(texts)), names)
        return Predictions(predict(self._classifier, _as_texts(items)))

    def trace(self, text: str) -> dict[str, Any]:
        """How the model comes to its decision about a text, layer by layer, as JSON data."""
        if self._classifier is None:
            raise ModelError(f"{self.path} holds a language model, which decides nothing; call train(data) first.")
        [text] = _as_texts([text])
        return trace_prediction(self._classifier, text)

    def fill(self, text: str, top: int = 5) -> list[list[WordPrediction]]:
        """For each [MASK] in the text the `top` words that the pre-trained model predicts, best first."""
        [text] = _as_texts([text])
        return load_filler(self._language_model or self.path).fill(text, top)

    def save(self, path: Path | str) -> Path:
        """Copy the model into a new folder, which is alone enough to predict and which transformers loads.

        Raises FolderInTheWayError where the path holds something already.
        """
        target = Path(path).expanduser()
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise FolderInTheWayError(f"{target} holds something already and is not overwritten; choose another path.")

        def write(partial: Path) -> None:
            for file in self.path.iterdir():
                if file.is_file() and file.name != MANIFEST_NAME:
                    shutil.copyfile(file, partial / file.name)

        commit_folder(target, write)
        return target


def load_pretrained_model(path: Path | str) -> Model:
    """The pre-trained model of a run, to fill in words and to train on a task.

    If the path is a stage or checkpoint folder, its model is loaded, whichever kind it is; `repr` says which. Raises
    ModelNotFoundError or CorruptModelError, which say what is wrong with the path.
    """
    return Model(find_model_folder(path, "pretrain"))


def load_model(path: Path | str) -> Model:
    """The fine-tuned model of a run, to label texts.

    If the path is a stage or checkpoint folder, its model is loaded, whichever kind it is; `repr` says which. Raises
    ModelNotFoundError or CorruptModelError, which say what is wrong with the path.
    """
    folder = find_model_folder(path, "finetune")
    try:
        language_model: Path | None = find_model_folder(path, "pretrain")
    except ModelNotFoundError:
        language_model = None
    return Model(folder, language_model)


def _read_settings(settings: dict[str, Any]) -> Recipe:
    if settings.get("from_scratch"):
        raise UsageError("train goes on from the current weights; for the control from scratch call pretune.finetune.")
    configs: dict[str, type[SplitConfig | PrepareConfig]] = {"split": SplitConfig, "prepare": PrepareConfig}
    stage_of = {field.name: stage for stage, config in configs.items() for field in fields(config)}
    by_stage: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        by_stage.setdefault(stage_of.get(name, "finetune"), {})[name] = value
    return override(Recipe(), by_stage)


def _refuse_other_run(folder: Path) -> None:
    """A run of the command line has a recipe, and stages that were made from other examples."""
    if (folder / RECIPE_NAME).is_file():
        raise FolderInTheWayError(f"{folder} holds a run that `pretune run` made; choose another out=.")


def _read_examples(data: Any) -> Path | str:
    """The file of labelled examples that `data` names, or what to write into one."""
    if isinstance(data, str | Path):
        return _existing_file(data)
    rows = [json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n" for text, label in _as_pairs(data)]
    return "".join(rows)


def _labels_file(content: Path | str, target: Path) -> Path:
    """The file that holds labelled examples: the one that was named, or `target`, written."""
    if isinstance(content, Path):
        return content
    if target.exists() and target.read_text(encoding="utf-8") != content:
        raise FolderInTheWayError(f"{target} holds other examples and is not overwritten; choose another out=.")
    target.parent.mkdir(parents=True, exist_ok=True)
    write_text(target, content)
    return target


def _as_pairs(data: Any) -> Pairs:
    items = _examples_of(data)
    _refuse_what_is_no_pair(items)
    if not items:
        raise InputDataError("There are no examples; expected pairs of a text and its label, with two labels at least.")
    texts = _as_texts([text for text, _ in items])
    return [(text, label_text(label)) for text, (_, label) in zip(texts, items, strict=True)]


def _examples_of(data: Any) -> list[Any]:
    """The items of `data`, as they are; of a tuple of two columns (texts, labels), the pairs."""
    # Not a tuple that holds two examples, or two texts.
    is_columns = isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], tuple | str)
    if not is_columns or is_missing(data[0]):
        return _items_of(data)
    texts, labels = (_items_of(part) for part in data)
    if len(texts) != len(labels):
        raise InputDataError(f"There are {len(texts):,} texts and {len(labels):,} labels; expected as many of both.")
    return list(zip(texts, labels, strict=True))


def _refuse_what_is_no_pair(items: Sequence[Any]) -> None:
    for number, item in enumerate(items, 1):
        if not _is_pair(item):
            raise InputDataError(f"Example {number} is {item!r:.80}; expected a pair of a text and its label.")


def _items_of(data: Any) -> list[Any]:
    """The items of a list, an array, a column, or anything else that has some one after another.

    A table is refused: iterated over, it would give the names of its columns."""
    if isinstance(data, Mapping) or hasattr(data, "columns"):
        columns = data.keys() if isinstance(data, Mapping) else data.columns
        raise InputDataError(
            f"The data is a table with the columns {join_names(map(str, columns))}; expected a list of texts, of "
            "(text, label) pairs, or two columns: (data[TEXTS], data[LABELS])."
        )
    for name in ("tolist", "to_list"):  # arrays and columns of numpy, pandas, polars: values of Python
        if hasattr(data, name):
            data = getattr(data, name)()
            break
    try:
        return list(data)
    except TypeError as error:
        raise InputDataError(
            f"The data is {data!r:.80}; expected a list of texts, a list of (text, label) pairs, or the path of a file."
        ) from error


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple | list) and len(item) == 2 and (isinstance(item[0], str) or is_missing(item[0]))


def _as_texts(items: Sequence[Any]) -> list[str]:
    """The texts, with "" for a missing one. Raises InputDataError for what is neither."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, str) and not is_missing(item):
            raise InputDataError(f"Text {number} is {item!r:.80}; expected a string.")
    return [replace_surrogates(str(item)) if isinstance(item, str) else "" for item in items]


def _names_of(labels: Sequence[Any], names: tuple[str, ...]) -> list[str | None]:
    """The model's name of each label, by the rules of `evaluate`; None for a missing one."""
    known = [(place, label) for place, label in enumerate(map(label_text, labels)) if label]
    classes = classes_of([label for _, label in known], [f"item {place + 1}" for place, _ in known], names)
    found: list[str | None] = [None] * len(labels)
    for (place, _), index in zip(known, classes.tolist(), strict=True):
        found[place] = names[index]
    return found


def _existing_file(path: Path | str) -> Path:
    file = Path(path).expanduser()
    try:
        is_there = file.is_file()
    except OSError:  # a long text is no file name
        is_there = False
    if not is_there:
        raise InputDataError(
            f"{str(path)!r:.80} is not a file; expected a path, or a list of texts: put a single text into [ ]."
        )
    return file
