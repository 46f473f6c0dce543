"""The built-in world keeps its promises: the rule, the ceiling, and no way around the polar words."""

from __future__ import annotations

import hashlib
import re
from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from pretune.builtin_world import world
from pretune.builtin_world.words import DOMAINS, FAMILIES, KINDS, SLOTS
from pretune.text.splits import normalise_for_hash

SIGN = {word: sign for family in FAMILIES for sign in (-1, 1) for word in family.side(sign)}
SPLITS = (world.DEFAULT_SPLIT, world.FamilySplit(seed=1))


@pytest.fixture(scope="module")
def documents() -> list[str]:
    return list(world.iter_documents(6_000))


@pytest.fixture(scope="module")
def train() -> list[world.WorldRow]:
    return world.labeled_rows(4_000)


@pytest.fixture(scope="module")
def test() -> list[world.WorldRow]:
    return world.test_rows(4_000)


def sentences_of(text: str) -> list[str]:
    return re.split(r"(?<=[.!?]) ", text)


def words_of(text: str) -> list[str]:
    return re.findall(r"[\w-]+", text.lower())


def hidden(text: str) -> str:
    """The text with every polar word replaced by one and the same word."""
    return re.sub(r"[\w-]+", lambda match: "polar" if match[0].lower() in SIGN else match[0], text)


# --- the rule, by a reader that knows nothing of the grammar --------------------------------------------------------

TURNED = re.compile(r"\b(not|hardly|never|far from|anything but|by no means|neither|less)\b")
STRONG = re.compile(r"\b(very|really|truly|extremely|especially|particularly)\b")
WEAK = re.compile(r"\b(slightly|somewhat|a little|a bit|mildly)\b")


def counted_half(sentence: str) -> str:
    """The sentence without its conceded clause."""
    if match := re.match(r"(?:although|even though) [^,]+, (.+)", sentence):
        return match[1]
    if match := re.match(r"(.+), (?:although|even though) ", sentence):
        return match[1]
    return re.split(r", (?:but|yet) ", sentence)[-1]


def score(text: str) -> float:
    total = 0.0
    for sentence in sentences_of(text.lower()):
        for clause in re.split(r", and |; ", counted_half(sentence)):
            turn = -1 if TURNED.search(clause) else 1
            strength = 2.0 if STRONG.search(clause) else 0.5 if WEAK.search(clause) else 1.0
            total += turn * strength * sum(SIGN.get(word, 0) for word in words_of(clause))
    return total


@pytest.mark.parametrize("split", SPLITS)
def test_the_documented_rule_gives_every_label_and_never_a_tie(split: world.FamilySplit) -> None:
    rows = world.labeled_rows(2_000, split=split) + world.test_rows(1_000, split=split)
    for row in rows:
        assert abs(score(row.text)) >= 1, row
        assert (score(row.text) > 0) == (row.label == "positive"), row


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The plot was dull.", -1),
        ("The plot was far from dull; the acting was very witty.", 3),
        ("Although I found the plot really dull, the acting was slightly witty.", 0.5),
        ("The plot was neither dull nor trite, but the acting was less witty than before.", -1),
    ],
)
def test_the_reader_of_these_tests_reads_as_documented(text: str, expected: float) -> None:
    assert score(text) == expected


# --- determinism ----------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_text_and_another_seed_another() -> None:
    first = list(world.iter_documents(50, seed=3))
    assert first == list(world.iter_documents(80, seed=3))[:50]
    assert not set(first) & set(world.iter_documents(50, seed=4))
    assert world.labeled_rows(30, seed=3) == world.labeled_rows(60, seed=3)[:30]


def test_the_text_is_the_same_on_every_machine() -> None:
    texts = [*world.iter_documents(200), *(row.text for row in world.labeled_rows(100) + world.test_rows(100))]
    assert hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16] == "cb7e38908fc9f981"


# --- three parts without a common sentence --------------------------------------------------------------------------


def test_unlabelled_training_and_test_text_share_no_sentence(
    documents: list[str], train: list[world.WorldRow], test: list[world.WorldRow]
) -> None:
    parts = [
        {re.sub(r"\W+", " ", normalise_for_hash(sentence)).strip() for text in texts for sentence in sentences_of(text)}
        for texts in (documents, [row.text for row in train], [row.text for row in test])
    ]
    assert all(len(part) > 3_000 for part in parts)
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_no_text_occurs_twice_in_the_labelled_rows(train: list[world.WorldRow], test: list[world.WorldRow]) -> None:
    assert len({row.text for row in train + test}) == len(train) + len(test)


def test_held_out_facts_occur_but_never_in_the_held_out_words(documents: list[str]) -> None:
    """Neither as a sentence nor inside a longer one: a model that finds the hidden word has not recalled a sentence."""
    assert world.SUNRISE == world.HELD_OUT_SENTENCES[0] == "The sun rises in the east."
    padded = [f" {' '.join(words_of(document))} " for document in documents]
    for sentence in world.HELD_OUT_SENTENCES:
        assert not [text for text in padded if f" {' '.join(words_of(sentence))} " in text]
    sunrise = re.compile("sun (\\w+ )?rises (\\w+ )?in the east|in the east that the sun rises")
    assert sum(sunrise.search(text) is not None for text in padded) > 20
    assert any("summer follows spring" in text or "spring comes before summer" in text for text in padded)


# --- the split of the polar words -----------------------------------------------------------------------------------


def test_polar_words_are_unique_and_plenty() -> None:
    counts = Counter(word for family in FAMILIES for word in family.positive + family.negative)
    assert len(FAMILIES) == 40
    assert len(counts) == 240
    assert set(counts.values()) == {1}


@pytest.mark.parametrize("split", SPLITS)
def test_a_split_halves_the_families_of_every_kind(split: world.FamilySplit) -> None:
    assert set(split.seen) | set(split.unseen) == set(FAMILIES)
    assert not set(split.seen) & set(split.unseen)
    for kind in KINDS:
        assert sum(f.kind == kind for f in split.seen) == sum(f.kind == kind for f in split.unseen)


def test_another_seed_splits_the_families_otherwise() -> None:
    assert set(SPLITS[0].seen) != set(SPLITS[1].seen)


def test_training_rows_and_the_unseen_slice_have_no_polar_word_in_common(
    documents: list[str], train: list[world.WorldRow], test: list[world.WorldRow]
) -> None:
    def polar(texts: list[str]) -> set[str]:
        return {word for text in texts for word in words_of(text) if word in SIGN}

    unseen = polar([row.text for row in test if row.slice == "unseen"])
    seen = polar([row.text for row in train])
    assert not unseen & seen
    assert len(unseen) == len(seen) == 120
    assert polar([row.text for row in test if row.slice == "seen"]) == seen
    assert polar(documents) == seen | unseen
    assert {row.slice for row in train} == {"seen"}


def test_polar_words_occur_only_where_something_is_judged() -> None:
    neutral = [
        *(text for d in DOMAINS for text in (*d.openings, *d.aspects.values())),
        *(t for s in SLOTS.values() for t in s),
    ]
    outcomes = [text for d in DOMAINS for text in (*d.happy, *d.unhappy)]
    assert not {word for text in neutral + outcomes for word in words_of(text)} & set(SIGN)


# --- only polar words carry information about the label -------------------------------------------------------------


def chance_level(texts: list[str], is_first: list[bool]) -> float:
    """Cross-validated accuracy of a bag of words, pairs and triples in distinguishing two groups, balanced."""
    model = make_pipeline(
        CountVectorizer(ngram_range=(1, 3), min_df=3), LogisticRegression(C=0.01, class_weight="balanced")
    )
    return float(np.mean(cross_val_score(model, texts, is_first, cv=3, scoring="balanced_accuracy")))


def test_labels_are_balanced(train: list[world.WorldRow], test: list[world.WorldRow]) -> None:
    for rows in (train, test, [row for row in test if row.slice == "unseen"]):
        share = np.mean([row.label == "positive" for row in rows])
        assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(len(rows))


def test_without_the_polar_words_the_label_cannot_be_predicted(train: list[world.WorldRow]) -> None:
    assert (
        abs(chance_level([hidden(row.text) for row in train], [row.label == "positive" for row in train]) - 0.5) < 0.03
    )


def test_without_the_polar_words_the_slices_cannot_be_distinguished(test: list[world.WorldRow]) -> None:
    assert abs(chance_level([hidden(row.text) for row in test], [row.slice == "unseen" for row in test]) - 0.5) < 0.03


@pytest.mark.parametrize(
    "count_of",
    [
        lambda text: len(words_of(text)),
        lambda text: len(sentences_of(text)),
        lambda text: hidden(text).count("polar"),
        lambda text: len(TURNED.findall(text)),
        lambda text: len(STRONG.findall(text)) - len(WEAK.findall(text)),
        lambda text: len(re.findall(r"(?i)\bbut\b|\byet\b|though\b", text)),
    ],
    ids=["words", "sentences", "polar words", "negations", "intensity", "contrasts"],
)
def test_the_slices_have_equal_means(count_of, test: list[world.WorldRow]) -> None:  # type: ignore[no-untyped-def]
    seen, unseen = (np.array([count_of(row.text) for row in test if row.slice == name]) for name in ("seen", "unseen"))
    error = np.sqrt(seen.var() / len(seen) + unseen.var() / len(unseen))
    assert abs(seen.mean() - unseen.mean()) < 4 * error


def test_a_quarter_of_the_test_is_unseen(test: list[world.WorldRow]) -> None:
    assert abs(np.mean([row.slice == "unseen" for row in test]) - world.UNSEEN_FRACTION) < 0.03


def test_a_linear_model_reads_seen_words_and_guesses_at_unseen_ones(
    train: list[world.WorldRow], test: list[world.WorldRow]
) -> None:
    model = make_pipeline(CountVectorizer(ngram_range=(1, 2), binary=True), LogisticRegression(max_iter=300))
    model.fit([row.text for row in train], [row.label for row in train])
    right = model.predict([row.text for row in test]) == np.array([row.label for row in test])
    is_unseen = np.array([row.slice == "unseen" for row in test])
    assert right[~is_unseen].mean() > 0.8
    assert abs(right[is_unseen].mean() - 0.5) < 0.07


# --- the text itself ------------------------------------------------------------------------------------------------


def test_texts_are_short_and_made_of_whole_sentences(documents: list[str]) -> None:
    lengths = [len(document.split()) for document in documents]
    assert np.quantile(lengths, 0.25) >= 12
    assert np.quantile(lengths, 0.9) <= 60
    for document in documents[:1_000]:
        assert "{" not in document
        assert "  " not in document
        assert all(re.fullmatch(r"[A-Z].*[^.]\.", sentence) for sentence in sentences_of(document)), document


def test_few_documents_are_alike(documents: list[str]) -> None:
    assert len(set(documents)) > 0.995 * len(documents)
