"""A description of the rows of a trial goes in; texts, labels, and the rows to train on and to score come out.

`{"task": "sst2", "fold": 0}`: all phrases without those of fold 0; its sentences are scored.
`{"task": "sst2", "draw": 3, "rows": 1000}`: 1,000 phrases at random from those outside folds 0 and 1 (with
`"unit": "sentence"`, whole sentences only); the sentences of these two folds are scored. The same draw gives the same
rows to every arm. `{"task": "imdb", "fold": 0, "rows": 4000}`: labelled reviews by the hash of their text, all of the
other folds or the first `rows` of them in the order of that hash; `"test_rows"` limits the scored ones likewise.
With `"inner": k`, training leaves out an inner fold k of five, by sentence or review, which is scored as well.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sentences import NUM_FOLDS, Phrases, group_phrases

from pretune.runtime.randomness import generator
from pretune.text.clean.normalize import clean_text

IntArray = npt.NDArray[np.int64]
Spec = dict[str, Any]
_DRAW_FOLDS = (0, 1)  # held out for draws of few labels
_SENTENCE_END = re.compile(r"""(?<=[.!?])["')]*\s+(?=["'(]?[A-Z0-9])""")


@dataclass(frozen=True, kw_only=True)
class Task:
    """Texts and labels of a data set, with the rows to train on, to score, and of the inner fold, if any."""

    name: str
    texts: tuple[str, ...]
    labels: IntArray
    train: IntArray
    test: IntArray
    inner: IntArray


def make_task(spec: Spec) -> Task:
    """The rows that a trial's description names."""
    return {"sst2": _sst2, "imdb": _imdb}[spec["task"]](spec)


def _sst2(spec: Spec) -> Task:
    phrases = load_phrases()
    is_draw = "draw" in spec
    held_out = list(_DRAW_FOLDS) if is_draw else [spec["fold"]]
    train = phrases.trainable(held_out)
    if is_draw:
        if spec.get("unit", "phrase") == "sentence":
            train = np.array([row for row in train if int(row) in phrases.fold_of], dtype=np.int64)
        rng = generator(spec["draw"], "recipe draw", spec.get("unit", "phrase"))
        train = np.sort(rng.permutation(train)[: spec["rows"]])
    groups = np.array([phrases.sentences_of[row][0] for row in train], dtype=np.int64)
    train, inner = _leave_out(train, groups, spec.get("inner"))
    return Task(
        name="sst2",
        texts=phrases.texts,
        labels=phrases.labels,
        train=train,
        test=phrases.held_out(held_out),
        inner=inner,
    )


def _imdb(spec: Spec) -> Task:
    texts, labels, hashes = load_reviews()
    folds = hashes % NUM_FOLDS
    order = np.argsort(hashes // NUM_FOLDS, kind="stable")
    train = order[folds[order] != spec["fold"]][: spec.get("rows")]
    test = order[folds[order] == spec["fold"]][: spec.get("test_rows")]
    train, inner = _leave_out(train, train, spec.get("inner"))
    return Task(name="imdb", texts=texts, labels=labels, train=train, test=test, inner=inner)


def _leave_out(rows: IntArray, groups: IntArray, inner: int | None) -> tuple[IntArray, IntArray]:
    """Without and with the rows whose group is in the inner fold."""
    if inner is None:
        return rows, rows[:0]
    is_inner = inner_folds(groups) == inner
    return rows[~is_inner], rows[is_inner]


def inner_folds(groups: IntArray) -> IntArray:
    """The inner fold of every row: the groups, in random order, are dealt out to five folds."""
    distinct = np.unique(groups)
    places = generator(0, "recipe inner folds").permutation(len(distinct)) % NUM_FOLDS
    return places[np.searchsorted(distinct, groups)]


@cache
def load_phrases() -> Phrases:
    """The training phrases of SST-2, grouped by sentence."""
    lines = _decompress("sst2/train.tsv.zst").decode("utf-8").splitlines()[1:]
    rows = [line.split("\t") for line in lines]
    return group_phrases([clean_text(text) for _, text in rows], [int(label) for label, _ in rows])


@cache
def load_reviews() -> tuple[tuple[str, ...], IntArray, IntArray]:
    """The distinct labelled IMDB reviews, their labels, and hashes of their texts."""
    label_of: dict[str, set[int]] = {}
    for line in io.BytesIO(_decompress("imdb/train.jsonl.zst")):
        row = json.loads(line)
        label_of.setdefault(clean_text(row["text"]), set()).add(int(row["label"]))
    texts = tuple(sorted(text for text, given in label_of.items() if len(given) == 1))
    hashes = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1 for text in texts]
    return texts, np.array([min(label_of[text]) for text in texts], dtype=np.int64), np.array(hashes, dtype=np.int64)


@cache
def load_sentences(count: int) -> tuple[tuple[str, ...], IntArray]:
    """The sentences of 4 to 35 words of the first `count` unlabelled IMDB reviews, in lower case as SST-2 is, and the
    number of each one's review."""
    texts: list[str] = []
    reviews: list[int] = []
    for review, line in enumerate(_decompress("imdb/unsup.jsonl.zst").splitlines()[:count]):
        found = [each.strip() for each in _SENTENCE_END.split(clean_text(json.loads(line)["text"]))]
        kept = [each.lower() for each in found if 4 <= len(each.split()) <= 35]
        texts += kept
        reviews += [review] * len(kept)
    return tuple(texts), np.array(reviews, dtype=np.int64)


def _decompress(name: str) -> bytes:
    path = Path(os.environ["PRETUNE_DATA"]) / name
    return subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True).stdout
