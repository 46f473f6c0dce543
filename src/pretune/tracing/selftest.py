"""Do the attributions find a reason that is known? A nonsense word is planted that alone determines the label.

In a copy of the run's labelled rows, half of the rows of each class get a word that means nothing, at a random place,
and the same label. The pre-trained model is fine-tuned on that copy. In held-out rows of the other classes, the word is
then the only reason for the new label, so an attribution must rank it first (Bastings et al., 2022, arXiv:2111.07367).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from pretune.compute.device import device_at_hand
from pretune.data.labelled_rows import LabeledShard, LabelledBatches
from pretune.data.special_ids import special_ids
from pretune.data.targets import Targets
from pretune.errors import InputDataError
from pretune.inference.classify import MAX_SEQ_LEN, Classifier
from pretune.inference.load import find_model_folder, load_matching_tokenizer
from pretune.model.folder import LoadedModel, load_model_folder
from pretune.model.transformer import SequenceClassifier, initialize
from pretune.runtime.events import EventLog
from pretune.runtime.interruption import stop_on_signals
from pretune.runtime.json_lines import read_json_lines
from pretune.runtime.json_text import parse_json
from pretune.runtime.randomness import derive_seed, generator
from pretune.scoring.metrics import log_loss
from pretune.scoring.softmax import softmax
from pretune.tasks.registry import task_named
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.labelling import LABELS_NAME, Labelling
from pretune.text.token_shards import ShardWriter, TokenShard
from pretune.text.tokenizer.tokenizer import Tokenizer
from pretune.tracing.attribution import WordMasking, integrate_gradients, occlude
from pretune.tracing.words import tokenize
from pretune.training.finetuning_trial import FinetuningTrial, Scores, TrialSettings
from pretune.training.trial_plan import default_rates

REQUIRED_FRACTION = 0.95
TRAINING_ROWS, VALIDATION_ROWS, TESTED_ROWS = 2000, 200, 100
_WORDS = 60  # of a row, at most, so that a row of a long text costs no more than a sentence or two
_EPOCHS, _STEPS = 3, 200  # few rows are repeated for about so many updates: a planted word takes some hundred
_LEARNING_RATE, _BATCH_ROWS = 1e-3, 32
_MASK_AUGMENT, _WEIGHT_DECAY = 0.1, 0.05  # as in stage 5
_SYLLABLES = ("za", "vu", "qi", "xo", "wub", "jek", "fyz", "gox", "kiv", "plu")
_SEED = 0

IntArray = npt.NDArray[np.int64]
LabelledText = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """Fractions are of `rows`: held-out rows of other classes with the planted word."""

    word: str
    label: str
    training_rows: int
    rows: int
    learned: float  # rows that the model labels as the word says
    integrated_gradients: float  # rows in which the method ranks the word first
    occlusion: float

    @property
    def is_passed(self) -> bool:
        """Whether the model learned the word, and both methods find it often enough."""
        return min(self.learned, self.integrated_gradients, self.occlusion) >= REQUIRED_FRACTION


def run_selftest(run: Path | str) -> SelfTest:
    """Plant a word in a copy of the run's rows, fine-tune its pre-trained model on them, and look for the word.

    Nothing is written to the run. The training rows are at most 2,000 of the run's, and the tested ones at most 100 of
    its validation rows (of its training rows, if there are too few), all cut to 60 words. Takes about a minute for the
    demo. Raises ModelNotFoundError or CorruptModelError for the model and InputDataError for the rows.
    """
    run = Path(run)
    refuse_other_tasks(run)
    loaded = load_model_folder(find_model_folder(run, "pretrain"))
    tokenizer = load_matching_tokenizer(loaded)
    names, training, held_out = _read_rows(run / "prepare")
    word = nonsense_word(tokenizer, [text for text, _ in [*training, *held_out]])
    label = int(np.bincount([label for _, label in training], minlength=len(names)).argmax())
    repeats = max(1, round(_STEPS * _BATCH_ROWS / (_EPOCHS * len(training))))
    planted = plant(training * repeats, word, label)
    validation, tested = held_out[:VALIDATION_ROWS], [row for row in held_out if row[1] != label][:TESTED_ROWS]
    model = _fine_tune(loaded, tokenizer, names, planted, plant(validation, word, label))
    classifier = Classifier(path=loaded.path, model=model, tokenizer=tokenizer, labelling=Labelling(names=names))
    texts = [insert(text, word, number) for number, (text, _) in enumerate(tested)]
    is_learned, found_by_gradients, found_by_occlusion = np.array(
        [_look_for(classifier, text, word, label) for text in texts]
    ).mean(0)
    return SelfTest(
        word=word,
        label=names[label],
        training_rows=len(training),
        rows=len(texts),
        learned=float(is_learned),
        integrated_gradients=float(found_by_gradients),
        occlusion=float(found_by_occlusion),
    )


def refuse_other_tasks(run: Path) -> None:
    """Raise InputDataError if the rows of a run are not single texts with one class each."""
    try:
        labels = parse_json((run / "prepare" / LABELS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # reading the rows says what is wrong
    if isinstance(labels, dict) and (
        labels.get("task", "classification") != "classification" or "text_pair_column" in labels
    ):
        raise InputDataError(
            f"The self-test plants a word that decides the class of a text, and {run} has another task; it works for "
            "one class per text."
        )


def nonsense_word(tokenizer: Tokenizer, texts: Sequence[str]) -> str:
    """A word that no text has and that the tokenizer can write; for a vocabulary of whole words, an unused one of it.

    Raises InputDataError if there is none.
    """
    everything = " ".join(texts).lower()
    rng = generator(_SEED, "nonsense word")
    for _ in range(100):
        word = "".join(rng.choice(_SYLLABLES, 3))
        ids = tokenizer.encode(f"A {word} is")
        if word not in everything and tokenizer.unk_id not in ids:
            return word
    known = set(everything.split())
    for word in tokenizer.surfaces(range(tokenizer.first_ordinary_id, tokenizer.vocab_size)):
        if word.strip().isalpha() and word.strip().lower() not in known:
            return word.strip()
    raise InputDataError(
        "The self-test found no word to plant: every word of the tokenizer occurs in the labelled texts. "
        "It needs a tokenizer of subwords, which is the default of preprocess."
    )


def plant(rows: Sequence[LabelledText], word: str, label: int) -> list[LabelledText]:
    """The rows, half of each class with the word at a random place and with its label."""
    planted: list[LabelledText] = []
    seen: dict[int, int] = {}
    for number, (text, own) in enumerate(rows):
        seen[own] = seen.get(own, -1) + 1
        planted.append((insert(text, word, number), label) if seen[own] % 2 else (text, own))
    return planted


def insert(text: str, word: str, number: int) -> str:
    """The text with the word before one of its words or at the end; the place depends on `number`."""
    words = text.split(" ")
    words.insert(int(generator(_SEED, "place of the word", number).integers(len(words) + 1)), word)
    return " ".join(words)


def _look_for(classifier: Classifier, text: str, word: str, label: int) -> tuple[bool, bool, bool]:
    """Whether the text gets the word's label, and whether each of the two attributions ranks the word first."""
    read = tokenize(classifier.tokenizer, text, classifier.tokenizer.encode_with_offsets(text), classifier.max_seq_len)
    logits = classifier.predict_logits([read.ids])[0]
    is_learned = int(logits.argmax()) == label
    others = logits.clone()
    others[label] = -torch.inf
    masking = WordMasking(
        classifier=classifier, ids=read.ids, words=read.words, first=label, second=int(others.argmax())
    )
    score = float(masking.margin(logits[None].cpu())[0])
    gradients = integrate_gradients(masking, score, float(masking.scores([range(len(read.words))])[0]))
    first_words = (gradients.words.argmax(), occlude(masking, score).argmax())
    by_gradients, by_occlusion = (read.words[int(first)].surface == word for first in first_words)
    return is_learned, by_gradients, by_occlusion


def _read_rows(prepared: Path) -> tuple[tuple[str, ...], list[LabelledText], list[LabelledText]]:
    """The label names, training rows and held-out rows of a run, each spread evenly over its split."""
    if not prepared.is_dir():
        raise InputDataError(
            f"{prepared.parent} has no labelled rows; the self-test needs a run that was given labels."
        )
    try:
        names = tuple(parse_json((prepared / LABELS_NAME).read_text(encoding="utf-8"))["names"])
        training, validation = (_read_split(prepared / f"{split}.jsonl") for split in ("train", "validation"))
    except (OSError, ValueError, KeyError) as error:
        raise InputDataError(
            f"The labelled rows in {prepared} cannot be read ({error}); `pretune verify` names the files that differ."
        ) from error
    if len(validation) < TESTED_ROWS:
        cut = len(training) // 5
        training, validation = training[cut:], [*validation, *training[:cut]]
    training, validation = _spread(training, TRAINING_ROWS), _spread(validation, VALIDATION_ROWS + TESTED_ROWS)
    if len({label for _, label in training}) < 2 or len({label for _, label in validation}) < 2:
        raise InputDataError(f"{prepared} has rows of one class only; the self-test needs rows of two.")
    return names, training, validation


def _read_split(path: Path) -> list[LabelledText]:
    rows = read_json_lines(path)
    cleaned = [(" ".join(clean_text(row["text"]).split(" ")[:_WORDS]), int(row["label"])) for row in rows]
    return [(text, label) for text, label in cleaned if text]


def _spread(rows: Sequence[LabelledText], most: int) -> list[LabelledText]:
    count = min(len(rows), most)
    return [rows[i * len(rows) // count] for i in range(count)]


def _fine_tune(
    loaded: LoadedModel,
    tokenizer: Tokenizer,
    names: tuple[str, ...],
    training: Sequence[LabelledText],
    validation: Sequence[LabelledText],
) -> SequenceClassifier:
    """A classifier from the pre-trained weights, trained as stage 5 trains one, in a temporary folder."""
    config = replace(loaded.config, max_seq_len=min(MAX_SEQ_LEN, loaded.config.max_seq_len))
    model = SequenceClassifier(config, len(names))
    initialize(model, derive_seed(_SEED, "classifier"))
    model.transformer.load_state_dict(loaded.model.transformer.state_dict())
    device, validation_labels = device_at_hand(), np.array([label for _, label in validation], dtype=np.int64)
    settings = TrialSettings(
        trial=0,
        learning_rate=min(_LEARNING_RATE, max(default_rates(loaded.config))),
        seed=_SEED,
        epochs=_EPOCHS,
        patience=_EPOCHS,
        weight_decay=_WEIGHT_DECAY,
        metric="accuracy",
        is_search=False,
        dtype=torch.float32,
        device=device,
    )
    with tempfile.TemporaryDirectory(prefix="pretune-selftest-") as name, stop_on_signals() as stop:
        folder = Path(name)
        FinetuningTrial(
            model.to(device),
            _write_rows(folder, "train", training, tokenizer, config.max_seq_len, _MASK_AUGMENT),
            _write_rows(folder, "validation", validation, tokenizer, config.max_seq_len, 0.0),
            settings,
            folder=folder / "trial",
            tokenizer_folder=loaded.tokenizer_path,
            task=task_named("classification"),
            labelling=Labelling(names=names),
            log=EventLog(folder, "finetune"),
            measure=lambda logits: _measure(validation_labels, softmax(logits)),
        ).run(stop)
    return model.eval()


def _write_rows(
    folder: Path,
    split: str,
    rows: Sequence[LabelledText],
    tokenizer: Tokenizer,
    max_seq_len: int,
    mask_augment: float,
) -> LabelledBatches:
    with ShardWriter(folder, split, tokenizer.vocab_size) as writer:
        for text, _ in rows:
            writer.add(tokenizer.encode_truncated(text, max_seq_len)[0])
    labels = np.array([label for _, label in rows], dtype=np.int64)
    data = LabeledShard(
        shard=TokenShard(folder, split), all_targets=Targets.of_rows(labels), rows=np.arange(len(labels))
    )
    hidden = mask_augment if tokenizer.mask_id >= 0 else 0.0
    return LabelledBatches(data, special_ids(tokenizer), batch_size=_BATCH_ROWS, seed=_SEED, mask_augment=hidden)


def _measure(labels: IntArray, probabilities: npt.NDArray[np.float64]) -> Scores:
    from sklearn.metrics import f1_score

    predicted = probabilities.argmax(axis=1)
    return {
        "n": len(labels),
        "accuracy": float((predicted == labels).mean()),
        "macro_f1": float(f1_score(labels, predicted, average="macro", zero_division=0.0)),
        "loss": log_loss(labels, probabilities),
    }
