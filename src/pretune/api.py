"""The model object for programs: load it, train it on a task, predict with it, save it.

model = pretune.load_pretrained_model("runs/reviews")  # a language model, which fills in words
model.train(specific_task_data)
print(model.predict(test_data))
again = pretune.load_model("runs/reviews")  # the classifier that the run fine-tuned
"""

from __future__ import annotations

import logging
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, overload

from pretune.compute.device import restored_threads
from pretune.errors import FolderInTheWayError, InputDataError, ModelError, ModelNotFoundError, UsageError
from pretune.inference.chat_session import answer
from pretune.inference.classify import Classifier
from pretune.inference.expected_labels import describe_labels
from pretune.inference.fill_mask import WordPrediction
from pretune.inference.generate import TextGenerator
from pretune.inference.load import (
    ModelStage,
    classifier_of,
    find_model_folder,
    load_filler,
    load_generator,
    prepare_process,
)
from pretune.inference.predict import predict, read_texts
from pretune.model.folder import load_model_folder
from pretune.model.transformer import LanguageModel
from pretune.page.notebook import decided, html_of_prediction, html_of_predictions, html_of_run, html_of_training
from pretune.page.report import write_report
from pretune.recipe import Recipe, override, settings_of
from pretune.reporting.brief_progress import brief_progress
from pretune.reporting.report import run_lines
from pretune.reporting.sections.prediction import render_prediction
from pretune.reporting.sections.predictions import Predicted, render_predictions
from pretune.reporting.sections.training import render_phase, render_rows
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.log_values import of_stage
from pretune.run_trace.training import read_phase
from pretune.runtime.atomic import commit_folder, read_committed
from pretune.runtime.events import Event, read_events
from pretune.runtime.home import expand_home
from pretune.runtime.manifest import MANIFEST_NAME
from pretune.settings import PrepareConfig, Sampling, SplitConfig
from pretune.tasks.prediction import Prediction, ScorePrediction
from pretune.terminal import clean, page_for, to_text, write_text
from pretune.text.labels.python_columns import is_table, rows_as_table, values_of
from pretune.text.labels.python_data import (
    as_texts,
    examples_of,
    existing_file,
    texts_and_labels,
)
from pretune.text.reading_report import Findings, join_names
from pretune.trace_schema import PredictionTrace, RunTrace
from pretune.tracing.prediction import trace_prediction
from pretune.train_folder import (
    LABELS_NAME,
    TEST_LABELS_NAME,
    as_keywords,
    read_examples,
    train_folder,
    with_columns,
)

LOGGER = logging.getLogger("pretune")
ROWS_SHOWN = 40  # of printed predictions


class History(Sequence[dict[str, Any]]):
    """The training trace of one `train`: a row with loss and accuracy for each epoch, as logged.

    `str` gives the whole trace: charts, rows, all trials and the test.
    """

    def __init__(self, events: list[Event]) -> None:
        self.events = events
        self.phase = read_phase(events, "finetune")
        self._rows: list[dict[str, Any]] = []
        if self.phase is not None:
            own = of_stage(events, "finetune", "evaluation")
            self._rows = [event for event in own if event.get("trial") == self.phase.shown_trial]

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
        return "" if self.phase is None else to_text(render_phase(self.phase, page), page).rstrip()

    def _repr_html_(self) -> str:
        return html_of_training(self._rows)

    def table(self) -> str:
        """The rows alone, without the charts and the other trials that `str` shows."""
        page = page_for(sys.stdout)
        return "" if self.phase is None else to_text(render_rows(self.phase, page), page).rstrip()


class Histories(list[History]):
    """The training traces of a model, one for each `train`."""

    def _repr_html_(self) -> str:
        return "".join(history._repr_html_() for history in self) or "<p>Not trained here yet.</p>"


class Predictions(Sequence[Prediction]):
    """The predictions for some texts, in their order; printed as a table, with the expected labels if known."""

    def __init__(self, predictions: Sequence[Prediction], expected: Sequence[str | None] | None = None) -> None:
        self._predictions = tuple(predictions)
        self.expected = None if expected is None else tuple(expected)

    @property
    def labels(self) -> list[str | None]:
        """The label of each text; None for a missing text."""
        return [prediction.label for prediction in self._predictions]

    @property
    def accuracy(self) -> float | None:
        """The fraction of correct labels, among the rows with a text and an expected label; None without such rows, and
        for scores. Of several labels, all must be correct."""
        if any(isinstance(prediction, ScorePrediction) for prediction in self._predictions):
            return None
        pairs = [(a, b) for a, b in zip(self.labels, self.expected or [], strict=False) if None not in (a, b)]
        return sum(a == b for a, b in pairs) / len(pairs) if pairs else None

    @property
    def num_empty(self) -> int:
        """The number of missing or blank texts, which have no label."""
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
        text = to_text(render_predictions(self._rows(), self.expected, page), page)
        return (text + "\n".join(self._notes())).rstrip()

    def _repr_html_(self) -> str:
        return html_of_predictions(self._rows(), self.expected, self._notes())

    def _rows(self) -> list[Predicted]:
        return [(each.texts, each.label, each.probability) for each in self._predictions[:ROWS_SHOWN]]

    def _notes(self) -> list[str]:
        """What stands below the table: what it leaves out, and how many labels are as expected."""
        notes = []
        if len(self) > ROWS_SHOWN:
            notes.append(f"... and {len(self) - ROWS_SHOWN:,} more")
        if self.num_empty:
            notes.append(f"{self.num_empty:,} without a text and so without a label")
        if self.accuracy is not None:
            pairs = zip(self.labels, self.expected or (), strict=False)
            notes.append(f"accuracy {self.accuracy:.3f} (n = {sum(None not in pair for pair in pairs):,})")
        return notes

    def __repr__(self) -> str:
        return f"Predictions({len(self)} texts)"


class TracedPrediction(PredictionTrace):
    """The trace of one prediction, which shows itself: as `pretune trace` does when printed, and in a notebook."""

    def __repr__(self) -> str:
        return f"TracedPrediction({clean(self.text, 40)!r}: {clean(decided(self))})"

    def __str__(self) -> str:
        page = page_for(sys.stdout)
        return to_text(render_prediction(self, page), page).rstrip()

    def _repr_html_(self) -> str:
        return html_of_prediction(self)


class Model:
    """A model that was loaded from a folder. `train` replaces it by the trained one; no folder is ever overwritten."""

    def __init__(self, path: Path, language_model: Path | None = None) -> None:
        prepare_process()
        loaded = load_model_folder(path)
        self.path = path
        self.label_names = loaded.label_names
        self._is_language_model = isinstance(loaded.model, LanguageModel)
        self.history: list[History] = Histories()
        self._language_model = language_model if self.is_classifier else path
        self._classifier: Classifier | None = classifier_of(loaded) if self.is_classifier else None
        self._generator: TextGenerator | None = None

    @property
    def is_classifier(self) -> bool:
        """Whether the model labels texts; other models fill in words, continue texts or reply."""
        return self.label_names is not None

    def folder_of(self, stage: ModelStage) -> Path:
        """The folder of this model; for the stage `pretrain`, that of the language model it came with, if any."""
        return self.path if stage == "finetune" else self._language_model or self.path

    def __repr__(self) -> str:
        names = self.label_names
        kind = "pre-trained language model" if self._is_language_model else "pre-trained encoder"
        if names is not None:
            kind = f"fine-tuned classifier, labels {join_names(names, 5)}"
        return f"Model({str(self.path)!r}: {kind})"

    def train(
        self,
        data: Any,
        out: Path | str | None = None,
        *,
        test_data: Any = None,
        corpus: Path | str | None = None,
        quiet: bool = False,
        redo: bool = False,
        **settings: Any,
    ) -> History:
        """Train on labelled examples, starting from the current weights, and keep the trained model in this object.

        `data` is a list of (text, label) pairs, a tuple of two columns (texts, labels), a table or a list of dicts with
        `text_column=` and `label_column=`, or the path of a labelled file; rows without a text or a label (None, NaN,
        blank) are left out and counted. `test_data` has any of these forms; without it, some rows of `data` are held
        out. `settings` are those of the split and of stages 4 and 5, such as `epochs=3`. The stages write to `out`, or
        to a temporary folder; `path` is then the model's folder in it. With `redo`, stages there with other settings
        are renamed.

        A terminal shows one line of progress while it trains; the table of the history is printed at the end. All other
        messages go to the logger "pretune". With `quiet` nothing is printed. Returns the training trace, which is also
        added to `history`. Raises UsageError for wrong settings and InputDataError for data that cannot be used.
        """
        recipe = _read_settings(settings)
        examples = read_examples(data, recipe.split)
        test_examples = None if test_data is None else read_examples(test_data, recipe.split)
        split = with_columns(recipe.split, *filter(None, (examples, test_examples)))
        from pretune.stages.finetune.corpus_sentences import choose_corpus
        from pretune.stages.finetune.stage import finetune
        from pretune.stages.prepare import prepare

        with train_folder(out) as run:
            run.refuse_own_model(self.path)
            given = None if corpus is None else expand_home(corpus)
            text = choose_corpus(self.path, given, recipe.finetune)
            labels = run.labels_file(examples, LABELS_NAME)
            test_labels = None if test_examples is None else run.labels_file(test_examples, TEST_LABELS_NAME)
            LOGGER.info("The run is in %s", run.path)
            shown = brief_progress(sys.stderr, LOGGER, quiet, reword=run.in_terms_of_python)
            with shown, restored_threads(recipe.finetune.threads):
                prepared, start = run.path / "prepare", self.path
                prepare(labels, prepared, recipe.prepare, base=start, test_labels=test_labels, split=split, redo=redo)
                finetune(start, prepared, run.path / "finetune", recipe.finetune, corpus=text, redo=redo, alone=True)
        trained = Model(find_model_folder(run.path / "finetune", "finetune"))
        self.path, self.label_names, self._classifier = trained.path, trained.label_names, trained._classifier
        history = History(read_events(run.path / "finetune"))
        self.history.append(history)
        if not quiet:
            write_text(f"{history.table()}\n", sys.stdout)
        return history

    def predict(
        self,
        data: Any,
        *,
        text_column: str | None = None,
        label_column: str | None = None,
        text_pair_column: str | None = None,
    ) -> Predictions:
        """The prediction for each text, or pair of texts, in order; an empty one for a missing or blank text.

        `data` is a list or column of texts or of pairs of texts, a table (also a list of dicts), or the path of a file
        with one text per line or with a text column. The texts of a table or file are in `text_column` (and
        `text_pair_column`), else in the columns that the model was trained on. If `data` is a list of (text, label)
        pairs, a tuple of two columns (texts, labels), or a table with `label_column`, the labels are shown as expected
        labels, by the model's names. Raises ModelError if the model is not trained on a task yet, and InputDataError
        for an expected label that the model does not know.
        """
        if self._classifier is None:
            raise ModelError(f"{self.path} has a language model, which cannot label texts yet; call train(data) first.")
        columns = self._classifier.columns
        if isinstance(data, str | Path):
            if label_column is not None:
                raise UsageError(
                    "label_column names a column of a table in memory, and the data is a file; call pretune.evaluate "
                    "to compare predictions with the labels of a file."
                )
            file, preferred, found = existing_file(data), columns.get("text_column"), Findings()
            second = self._classifier.second_column(text_pair_column)
            has_words = self._classifier.task.is_token_level
            texts = read_texts(file, text_column, preferred, found, text_pair_column=second, reads_words=has_words)
            for sentence in found.sentences_about(file):
                LOGGER.warning("%s", sentence)
            return Predictions(predict(self._classifier, texts))
        data = rows_as_table(data)
        if not is_table(data):
            _refuse_columns(text_column=text_column, label_column=label_column, text_pair_column=text_pair_column)
        items = examples_of(data, text_column, label_column, text_pair_column, preferred=columns)
        given, labels = texts_and_labels(items, has_pairs=self._classifier.labelling.has_pairs)
        expected = None if labels is None else describe_labels(given, labels, self._classifier)
        return Predictions(self._classifier.predict(given), expected)

    def trace(self, text: str, text_pair: str | None = None) -> TracedPrediction:
        """The trace of the model's decision about a text, layer by layer, with the reasons for it.

        A model of pairs takes the second text as `text_pair`.
        """
        if self._classifier is None:
            raise ModelError(
                f"{self.path} has a language model, which has no decision to trace; call train(data) first."
            )
        first, *second = as_texts([text] if text_pair is None else [text, text_pair])
        found = trace_prediction(self._classifier, first, *second)
        return TracedPrediction(**{each.name: getattr(found, each.name) for each in fields(found)})

    def fill(self, text: str, top: int = 5) -> list[list[WordPrediction]]:
        """The `top` words that the pre-trained model predicts for each [MASK] in the text, best first."""
        [text] = as_texts([text])
        return load_filler(self).fill(text, top)

    @overload
    def generate(self, prompt: str, **settings: Any) -> str: ...
    @overload
    def generate(self, prompt: Any, **settings: Any) -> list[str]: ...
    def generate(self, prompt: Any, **settings: Any) -> str | list[str]:
        """What follows a prompt; of a list or column of prompts, what follows each.

        `settings` are those of `Sampling`, such as `max_tokens=50`, `temperature=0` or `seed=1`. Raises UsageError for
        a wrong setting and for a prompt that is empty or too long, InputDataError for anything but texts, and
        ModelError if the model does not predict the next token.
        """
        sampling = settings_of(Sampling, settings)
        if not is_table(prompt) and not isinstance(prompt, Iterable):
            raise InputDataError(f"The prompt is {prompt!r:.80}; expected a text or a list of texts.")
        prompts = as_texts([prompt] if isinstance(prompt, str) else values_of(prompt))
        texts = [each.text for each in self._open_generator().generate(prompts, sampling)]
        return texts[0] if isinstance(prompt, str) else texts

    def chat(self, messages: str | Sequence[Any], **settings: Any) -> str:
        """The reply to a conversation, whose last message is of the user.

        `messages` are `{"role": ..., "content": ...}` with the roles system, user and assistant; a string is a single
        message of the user. Raises as `generate` does, and UsageError for other messages.
        """
        given = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        return answer(self._open_generator(), given, settings_of(Sampling, settings))

    def _open_generator(self) -> TextGenerator:
        path = self.folder_of("pretrain")
        if self._generator is None or self._generator.path != path:
            self._generator = load_generator(path)
        return self._generator

    def save(self, path: Path | str) -> Path:
        """Copy the model to a new folder, which has all that is needed to predict and which transformers can load.

        Only an adapter still needs its base, where that is: the copy has its corrections and names it, too. Raises
        FolderInTheWayError if the path exists, unless it is an empty folder.
        """
        target = expand_home(path)
        if target.is_file() or (target.is_dir() and any(target.iterdir())):
            raise FolderInTheWayError(f"{target} already exists and is not overwritten; choose another path.")

        def write(partial: Path) -> None:
            for file in self.path.iterdir():
                if file.is_file() and file.name != MANIFEST_NAME:
                    shutil.copyfile(file, partial / file.name)

        base = (read_committed(self.path) or {}).get("base")  # of an adapter, with the hash that its base must have
        commit_folder(target, write, **({} if base is None else {"base": base}))
        return target


class Run:
    """A run as it was when it was opened: its trace, which a notebook shows as a table, and its page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trace: RunTrace = build_run_trace(path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}: {clean(self.trace.run.headline)})"

    def __str__(self) -> str:
        page = page_for(sys.stdout)
        return to_text(run_lines(self.trace, page), page).rstrip()

    def _repr_html_(self) -> str:
        return html_of_run(self.trace)

    def report(self, path: Path | str, *, redact: bool = False) -> Path:
        """Write the page of the run as one HTML file; with `redact`, without any of the user's text.

        Raises FolderInTheWayError if anything but an earlier report is at the path.
        """
        target = expand_home(path)
        write_report(self.trace, target, redact=redact)
        return target


def open_run(path: Path | str) -> Run:
    """The run in a folder, finished or not, or a single stage; a copy of the logs is enough.

    Raises InputDataError if the folder is missing or is no run.
    """
    return Run(expand_home(path))


def load_pretrained_model(path: Path | str) -> Model:
    """The pre-trained model of a run, to fill in or continue texts and to train on a task; or a public one, to train.

    A public model is a local folder as transformers writes it, a GGUF file, or `hf:OWNER/NAME`, which is downloaded. If
    the path is a stage or checkpoint folder, its model is loaded, of whichever kind; `repr` shows the kind. Raises
    ModelNotFoundError or CorruptModelError with what is wrong with the path, and ModelError for a model that cannot be
    used.
    """
    return Model(find_model_folder(path, "pretrain"))


def load_model(path: Path | str) -> Model:
    """The fine-tuned model of a run, to label texts or, after a tuning on conversations, to reply.

    If the path is a stage or checkpoint folder, its model is loaded, of whichever kind; `repr` shows the kind. Raises
    ModelNotFoundError or CorruptModelError with what is wrong with the path.
    """
    folder = find_model_folder(path, "finetune")
    try:
        language_model: Path | None = find_model_folder(path, "pretrain")
    except ModelNotFoundError:
        language_model = None
    return Model(folder, language_model)


def _read_settings(settings: dict[str, Any]) -> Recipe:
    if settings.get("from_scratch"):
        raise UsageError("train starts from the current weights; for the control from scratch, call pretune.finetune.")
    configs: dict[str, type[SplitConfig | PrepareConfig]] = {"split": SplitConfig, "prepare": PrepareConfig}
    stage_of = {field.name: stage for stage, config in configs.items() for field in fields(config)}
    by_stage: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        by_stage.setdefault(stage_of.get(name, "finetune"), {})[name] = value
    try:
        return override(Recipe(), by_stage)
    except UsageError as error:
        raise UsageError(as_keywords(str(error))) from error


def _refuse_columns(**columns: str | None) -> None:
    """Raise UsageError if a column is named, since the data is not a table or file."""
    for name, column in columns.items():
        if column is not None:
            raise UsageError(f"{name} names a column of a table or file, and the data is neither; leave it out.")
