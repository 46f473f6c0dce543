"""The stack is better than its encoder where linear models know more, leaves out what does not help, survives the disk,
and says if it is damaged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, log_softmax

from pretune.errors import CorruptModelError
from pretune.scoring.baselines import TextRows, train_ngram_models
from pretune.scoring.ngram_model import NgramModel, ngrams_of
from pretune.scoring.one_vs_rest import LabelSetRows, train_one_vs_rest
from pretune.scoring.partners import Partner
from pretune.scoring.ridge import ScoredRows, train_ridge
from pretune.scoring.stack import Stack, fit_stack, row_losses
from pretune.scoring.stacked_model import (
    NGRAMS_NAME,
    STACK_NAME,
    StackedModel,
    load_stacked,
    name_delivered,
    save_stacked,
    train_stacked,
)
from pretune.scoring.word_features import PLAIN_WORDS, WORDS_OF_SCRIPTS

WORDS = ("alpha", "beta", "gamma")


def draw_rows(num_rows: int, seed: int) -> TextRows:
    """Texts in which the word of the class is right four times in five."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=num_rows)
    named = np.where(random.random(num_rows) < 0.3, random.integers(3, size=num_rows), labels)
    return TextRows(
        texts=[f"word {random.integers(30)} {WORDS[t]} and {random.integers(30)}" for t in named], labels=labels
    )


def draw_encoder(rows: TextRows, strength: float, seed: int) -> np.ndarray:
    """Log-probabilities of an encoder whose errors have nothing to do with the words."""
    random = np.random.default_rng(seed)
    return log_softmax(np.eye(3)[rows.labels] * strength + random.normal(size=(len(rows.labels), 3)), axis=1)


def partners_of(train: TextRows, validation: TextRows) -> list[Partner]:
    return [
        Partner(kind=kind, model=model, chosen=chosen)
        for kind, model, chosen in train_ngram_models(train, validation, 3)
    ]


def stack_on(train: TextRows, validation: TextRows, encoder: np.ndarray) -> StackedModel:
    return train_stacked(partners_of(train, validation), validation.texts, encoder, validation.labels)[0]


class Fixed:
    """A linear model with known scores, whatever the texts."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores, self.bias = scores, np.zeros(scores.shape[1])

    def score(self, texts: Sequence[str]) -> np.ndarray:
        return self.scores[: len(texts)]

    def explain(self, _text: str) -> tuple[list[str], np.ndarray]:
        return [], np.zeros((0, self.scores.shape[1]))

    def to_tensors(self) -> dict[str, np.ndarray]:
        return {}


def test_rare_classes_weigh_more_if_macro_f1_decides() -> None:
    random = np.random.default_rng(0)
    labels = random.choice(2, size=1000, p=[0.93, 0.07])
    scores = [log_softmax(np.eye(2)[labels] + random.normal(size=(1000, 2)), axis=1) for _ in range(2)]
    partners = [Partner(kind="nbsvm", model=Fixed(scores[0]))]
    plain, balanced = (
        train_stacked(partners, [""] * 1000, scores[1], labels, is_imbalanced=is_imbalanced)[0]
        for is_imbalanced in (False, True)
    )
    found = [int(model.combine(scores[1], [""] * 1000).argmax(axis=1).sum()) for model in (plain, balanced)]
    assert 1.3 * found[0] < found[1]  # how often the rare class is predicted
    assert balanced.is_better
    assert "macro-F1 from" in balanced.describe()
    assert "macro_f1_stack" not in plain.validation


def test_a_stack_with_a_lower_macro_f1_is_not_better() -> None:
    figures = {"loss_difference": -0.2, "loss_difference_standard_error": 0.1, "macro_f1_encoder": 0.6}
    partner = Partner(kind="nbsvm", model=Fixed(np.zeros((1, 2))))
    model = StackedModel(partners=(partner,), stack=Stack(np.ones(2), np.zeros(2)))
    for macro_f1, is_better in ((0.59, False), (0.61, True)):
        assert replace(model, validation={**figures, "macro_f1_stack": macro_f1}).is_better is is_better


def test_a_stack_uses_what_ngrams_know() -> None:
    train, validation, test = (draw_rows(n, seed) for seed, n in enumerate((800, 300, 600)))
    stacked = stack_on(train, validation, draw_encoder(validation, 1.5, seed=9))
    assert stacked.is_better
    assert stacked.is_encoder_needed
    alone = draw_encoder(test, 1.5, seed=10)
    combined = stacked.combine(alone, test.texts)
    assert (combined.argmax(axis=1) == test.labels).mean() > (alone.argmax(axis=1) == test.labels).mean() + 0.05
    assert np.exp(combined).sum(axis=1) == pytest.approx(1.0)


def test_words_that_tell_nothing_do_no_harm() -> None:
    """Such a stack may be kept by chance, and then has hardly any weight."""
    random, harm = np.random.default_rng(3), []
    for seed in range(8):
        train, validation, test = (draw_rows(n, seed + place) for n, place in ((300, 0), (300, 50), (2000, 90)))
        train = TextRows(texts=train.texts, labels=random.permutation(train.labels))
        known, alone = draw_encoder(validation, 2.0, seed), draw_encoder(test, 2.0, seed + 500)
        stacked = stack_on(train, validation, known)
        if stacked.is_better:
            recalibrated = fit_stack([known], validation.labels).combine([alone])
            both = stacked.combine(alone, test.texts)
            harm.append((row_losses(both, test.labels) - row_losses(recalibrated, test.labels)).mean())
    assert len(harm) <= 4
    assert max(harm, default=0.0) < 0.01


def test_partners_whose_rows_are_shuffled_give_no_gain() -> None:
    """Also as the best of several sets of partners, each judged on the same rows: half of them would be better if
    weights were judged on the rows that they were fitted on."""
    better = 0
    for seed in range(8):
        validation = draw_rows(300, seed)
        random = np.random.default_rng(seed)
        shuffled = [
            Partner(kind=kind, model=Fixed(random.permutation(draw_encoder(validation, 2.0, seed + offset))))
            for kind, offset in (("nbsvm", 20), ("tfidf", 40))
        ]
        encoder = draw_encoder(validation, 1.5, seed + 60)
        better += train_stacked(shuffled, validation.texts, encoder, validation.labels)[0].is_better
    assert better <= 2


def test_a_third_part_is_used_if_it_knows_something_else() -> None:
    validation = draw_rows(600, seed=1)
    first, second, wrong = (draw_encoder(validation, strength, seed) for strength, seed in ((1.2, 2), (1.2, 3), (0, 4)))
    encoder = draw_encoder(validation, 1.2, seed=5)
    both = [Partner(kind="nbsvm", model=Fixed(first)), Partner(kind="tfidf", model=Fixed(second))]
    stacked = train_stacked(both, validation.texts, encoder, validation.labels)[0]
    assert stacked.titles == ["network", "NB-SVM", "TF-IDF"]
    assert "predictions combine all 3" in stacked.describe()
    idle = [both[0], Partner(kind="tfidf", model=Fixed(-np.abs(wrong)))]
    stacked = train_stacked(idle, validation.texts, encoder, validation.labels)[0]
    assert stacked.titles == ["network", "NB-SVM"]
    assert len(stacked.stack.weights) == 2
    assert "TF-IDF would add nothing" in stacked.describe()
    assert stacked.validation["best"] == ["nbsvm"]


def test_the_message_names_the_set_of_models_that_its_figures_are_of() -> None:
    """It named all that were tried, and gave the loss of the best set."""
    figures = {
        "rows": 300, "tried": ["nbsvm", "tfidf"], "best": ["tfidf"], "loss_encoder": 0.52, "loss_stack": 0.53,
        "loss_difference": 0.01, "loss_difference_standard_error": 0.02,
        "accuracy_encoder": 0.8, "accuracy_stack": 0.79,
    }  # fmt: skip
    partner = Partner(kind="tfidf", model=Fixed(np.zeros((1, 2))))
    model = StackedModel(partners=(partner,), stack=Stack(np.ones(2), np.zeros(2)), validation=figures)
    goes = "loss over 300 validation rows goes from 0.52 to 0.53 nats"
    assert model.describe().startswith(f"With TF-IDF (the best choice of NB-SVM and TF-IDF), the {goes}")
    assert replace(model, validation={**figures, "tried": ["tfidf"]}).describe().startswith(f"With TF-IDF, the {goes}")
    weighted = {**figures, "macro_f1_encoder": 0.6, "macro_f1_stack": 0.59}
    assert f"the class-weighted {goes}" in replace(model, validation=weighted).describe()


def test_a_network_that_adds_nothing_is_called_so() -> None:
    train, validation = draw_rows(800, seed=1), draw_rows(300, seed=2)
    stacked = stack_on(train, validation, draw_encoder(validation, 0.0, seed=3))
    assert stacked.is_better
    assert not stacked.is_encoder_needed
    assert "validation cannot tell that the network adds anything" in stacked.describe()


def test_rows_that_err_together_must_gain_more() -> None:
    """Twenty copies of each row are twenty times as many rows, but no more evidence."""
    validation = draw_rows(60, seed=4)
    encoder, partner = draw_encoder(validation, 1.0, seed=6), draw_encoder(validation, 0.5, seed=8)
    copies = np.repeat(np.arange(60), 20)
    texts, labels = [validation.texts[i] for i in copies.tolist()], validation.labels[copies]
    fixed = [Partner(kind="nbsvm", model=Fixed(partner[copies]))]
    apart, together = (
        train_stacked(fixed, texts, encoder[copies], labels, groups=groups)[0].validation for groups in (None, copies)
    )
    assert together["loss_difference_standard_error"] > 4 * apart["loss_difference_standard_error"]


def test_labels_and_numbers_are_combined_too() -> None:
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, size=2)) for _ in range(900)]
    labels = np.array([[word in text for word in WORDS] for text in texts])
    noise = random.normal(size=(900, 3))
    rows = [LabelSetRows(texts=texts[i : i + 300], labels=labels[i : i + 300]) for i in (0, 300)]
    model, chosen = train_one_vs_rest(*rows)
    weak, partner = 0.5 * (2.0 * labels - 1.0) + noise, Partner(kind="tfidf", model=model, chosen=chosen)
    stacked, _ = train_stacked([partner], texts[300:600], weak[300:600], labels[300:600], "sigmoid")
    assert stacked.is_better
    assert ((expit(stacked.combine(weak[600:], texts[600:])) > 0.5) == labels[600:]).mean() > 0.95

    numbers = labels @ np.array([1.0, -2.0, 3.0])
    numbers = (numbers - numbers.mean()) / numbers.std()
    ridge, chosen = train_ridge(*(ScoredRows(texts=texts[i : i + 300], scores=numbers[i : i + 300]) for i in (0, 300)))
    encoder = 0.5 * numbers[:, None] + noise[:, :1]
    partner = Partner(kind="ridge", model=ridge, chosen=chosen)
    stacked, _ = train_stacked([partner], texts[300:600], encoder[300:600], numbers[300:600], "identity")
    assert stacked.is_better
    error = np.square(stacked.combine(encoder[600:], texts[600:])[:, 0] - numbers[600:]).mean()
    assert error < 0.1 * np.square(encoder[600:, 0] - numbers[600:]).mean()


def test_files_keep_the_model(tmp_path: Path) -> None:
    train, validation = draw_rows(400, seed=1), draw_rows(200, seed=2)
    encoder = draw_encoder(validation, 1.0, seed=3)
    stacked = stack_on(train, validation, encoder)
    save_stacked(tmp_path, stacked)
    loaded = load_stacked(tmp_path, 3)
    assert loaded is not None
    assert np.array_equal(loaded.combine(encoder, validation.texts), stacked.combine(encoder, validation.texts))
    assert loaded.validation == stacked.validation
    assert name_delivered(tmp_path) == " + ".join(stacked.titles)
    weightless = replace(
        stacked, stack=replace(stacked.stack, weights=stacked.stack.weights * [0.0, 1.0, 1.0][: len(stacked.titles)])
    )
    save_stacked(tmp_path, weightless)
    assert name_delivered(tmp_path) == " + ".join(stacked.titles[1:]) + ", no network"


def test_a_stack_of_an_earlier_version_reads_the_words_that_it_was_trained_on(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ngrams = tuple(sorted({*ngrams_of("नमस्ते 你好", PLAIN_WORDS), *ngrams_of("नमस्ते 你好")}))
    weights, bias = random.normal(size=(len(ngrams), 3)).astype(np.float32), random.normal(size=3)
    for words in (PLAIN_WORDS, WORDS_OF_SCRIPTS):
        partner = Partner(kind="nbsvm", model=NgramModel(ngrams, weights, bias, words=words))
        stacked = StackedModel(partners=(partner,), stack=Stack(np.ones(2), np.zeros(3)))
        save_stacked(tmp_path, stacked)
        fields = json.loads((tmp_path / STACK_NAME).read_text(encoding="utf-8"))
        assert fields["words"] == words
        if words == PLAIN_WORDS:  # as such files are
            del fields["words"]
            (tmp_path / STACK_NAME).write_text(json.dumps(fields), encoding="utf-8")
        loaded = load_stacked(tmp_path, 3)
        assert loaded is not None
        assert loaded.words == words
        scores = random.normal(size=(2, 3))
        texts = ["नमस्ते 你好", "你 好 नमस"]
        assert np.array_equal(loaded.combine(scores, texts), stacked.combine(scores, texts))
    (tmp_path / STACK_NAME).write_text(json.dumps({**fields, "words": "other"}), encoding="utf-8")
    with pytest.raises(CorruptModelError, match="the rule 'other' for words is unknown"):
        load_stacked(tmp_path, 3)


def test_damage_is_named(tmp_path: Path) -> None:
    assert load_stacked(tmp_path, 3) is None
    train, validation = draw_rows(200, seed=1), draw_rows(100, seed=2)
    save_stacked(tmp_path, stack_on(train, validation, draw_encoder(validation, 1.0, seed=3)))
    with pytest.raises(CorruptModelError, match="another model"):
        load_stacked(tmp_path, 2)
    content = (tmp_path / NGRAMS_NAME).read_bytes()
    (tmp_path / NGRAMS_NAME).write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptModelError, match="damaged"):
        load_stacked(tmp_path, 3)
    (tmp_path / NGRAMS_NAME).write_bytes(content)
    (tmp_path / STACK_NAME).unlink()
    with pytest.raises(CorruptModelError, match="damaged"):
        load_stacked(tmp_path, 3)
    with pytest.raises(CorruptModelError, match="damaged"):
        name_delivered(tmp_path)


def test_files_of_parts_that_are_not_there_are_damaged(tmp_path: Path) -> None:
    train, validation = draw_rows(200, seed=1), draw_rows(100, seed=2)
    save_stacked(tmp_path, stack_on(train, validation, draw_encoder(validation, 1.0, seed=3)))
    text = (tmp_path / STACK_NAME).read_text(encoding="utf-8")
    for changed in (text.replace("softmax", "probit"), text.replace('encoder"', 'encoder","pair_tfidf"')):
        (tmp_path / STACK_NAME).write_text(changed, encoding="utf-8")
        with pytest.raises(CorruptModelError, match="damaged"):
            load_stacked(tmp_path, 3)
