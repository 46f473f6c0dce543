"""Tokens: the entities in each text.

N rows, M words of all rows, X types of entities, K = 2 X + 1 tags.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pretune.data.targets import Targets
from pretune.scoring.baseline import Baseline
from pretune.scoring.entities import count_entities, summarize_entities
from pretune.scoring.gazetteer import predict_gazetteer
from pretune.scoring.partners import Partner, most_ngrams
from pretune.scoring.perceptron import predict_tagger, train_tagger
from pretune.scoring.row_statistics import RowStatistics, entity_f1_rows, macro_f1_rows
from pretune.scoring.softmax import log_softmax
from pretune.scoring.stack import Link
from pretune.scoring.tag_decoding import decode_tags, find_entities
from pretune.scoring.tag_entities import OUTSIDE, TagBaseline, TaggedRows, entities_of, first_tag
from pretune.tasks.prediction import EntitiesPrediction, Entity, Prediction
from pretune.tasks.task import Decision, FloatArray, LabelledLines, Line
from pretune.text.clean.normalize import clean_text
from pretune.text.labels.checks import FEW_ROWS, LabeledRow, Lint, sort_labels
from pretune.text.labels.detect_task import TaskName
from pretune.text.labels.match_classes import match_classes
from pretune.text.labels.named_labels import NamedLabels
from pretune.text.labels.span_alignment import restore_spans
from pretune.text.labels.spans import Span, count_unaligned, to_tags
from pretune.text.labels.target_checks import refuse_alike
from pretune.text.labels.word_windows import first_tokens
from pretune.text.labels.words import WordRule, choose_word_rule, find_words
from pretune.text.reading_report import join_names, shorten
from pretune.text.tokenizer.tokenizer import Tokenizer, cut_middle

if TYPE_CHECKING:
    from torch import Tensor

IntArray = npt.NDArray[np.int64]
NO_ENTITY = "no entity"
WORDS = "words"  # in a decision: the rule by which texts are divided into words


class PredictedSpan(NamedTuple):
    """An entity in a clean text: from, to, the number of its type, and its probability if the model gives one."""

    start: int
    end: int
    type: int
    probability: float | None


@dataclass(frozen=True, kw_only=True)
class EntityOutputs:
    """The entities predicted for each of N rows, in their order."""

    rows: Sequence[Sequence[PredictedSpan]]

    def named(self, names: Sequence[str]) -> list[list[tuple[int, int, str]]]:
        """The same with the names of the types, as the figures compare them."""
        return [[(span.start, span.end, names[span.type]) for span in row] for row in self.rows]


@dataclass(frozen=True, kw_only=True)
class TrueEntities:
    """The labelled entities of N rows, and the number of the document (N,) of which each row is all or a part."""

    rows: Sequence[Sequence[tuple[int, int, str]]]
    documents: IntArray


class Tokens(NamedLabels):
    """A label is a tuple of spans of the clean text; words get tags (IOB2), and the most probable valid ones count."""

    name: TaskName = "tokens"
    word, none = "entity type", NO_ENTITY
    counted_as = "entity types"
    is_token_level = True
    has_class_weights = True
    link: Link = "softmax"
    usual_metric = "entity_f1"
    compared = ("precision", "recall", "macro_f1")
    prediction: type[Prediction] = EntitiesPrediction

    # -- labels --

    def check(self, path: str, rows: Sequence[LabeledRow], lint: Lint, *, is_named: bool = False) -> None:
        refuse_alike(path, [row.label for row in rows], self.name)
        counts = Counter(name for row in rows for name in {span.type for span in row.label})
        few = [name for name in sort_labels(counts) if counts[name] < FEW_ROWS]
        named = join_names(f"{shorten(name, 40)} {counts[name]}" for name in few)
        lint.warn("few_rows", len(few), f"{self.count(len(few))} in fewer than {FEW_ROWS} rows: {named}.")

    def to_json(self, label: Any, labels: Sequence[str]) -> Any:
        return [[span.start, span.end, labels.index(span.type)] for span in label]

    def from_json(self, value: Any, labels: Sequence[str]) -> Any:
        return tuple(Span(int(start), int(end), labels[number]) for start, end, number in value)

    def match_labels(
        self,
        labels: Sequence[Any],
        places: Sequence[str],
        names: Sequence[str],
        renaming: Sequence[str] = (),
        *,
        originals: Sequence[str] = (),
        notes: list[str] | None = None,
    ) -> list[Any]:
        labels = [[Span(*span) for span in row] for row in labels]
        types = [span.type for row in labels for span in row]
        where = [place for row, place in zip(labels, places, strict=True) for _ in row]
        matched = iter(match_classes(types, where, names, renaming, originals=originals, notes=notes))
        return [[[span.start, span.end, next(matched)] for span in row] for row in labels]

    def describe(self, label: Any, text: str, names: Sequence[str], labels: Sequence[str]) -> str:
        return _in_words((text[span.start : span.end], names[labels.index(span.type)]) for span in label)

    # -- training --

    def output_names(self, names: Sequence[str]) -> list[str]:
        return ["O", *(f"{letter}-{name}" for name in names for letter in "BI")]

    def word_rule(self, decision: Decision) -> WordRule | None:
        rule: WordRule = decision.get(WORDS, "blanks")
        return rule

    def choose_metric(self, rows: Sequence[LabeledRow], lint: Lint) -> tuple[str, dict[str, float]]:
        rule = choose_word_rule((row.text, row.label) for row in rows)
        inside = sum(count_unaligned(row.label, find_words(row.text, rule)) for row in rows if row.label)
        total = sum(len(row.label) for row in rows)
        begin = "1 entity begins or ends" if inside == 1 else f"{inside:,} of {total:,} entities begin or end"
        sentence = f"{begin} inside a word. The model labels whole words, so it cannot find these exactly."
        lint.warn("inside_words", inside, sentence)
        return "entity_f1", {"entities_per_row": total / len(rows)}

    def targets(
        self, lines: Sequence[Line], num_labels: int, decision: Decision, tokenizer: Tokenizer, max_seq_len: int
    ) -> Targets:
        found = _read_places(lines, decision, tokenizer, max_seq_len)
        tags = [_tags_of(line, words, num_labels) for line, (_, words) in zip(lines, found, strict=True)]
        return _to_targets(found, np.array([tag for row in tags for tag in row], dtype=np.int64))

    def places(self, lines: Sequence[Line], decision: Decision, tokenizer: Tokenizer, max_seq_len: int) -> Targets:
        return _to_targets(_read_places(lines, decision, tokenizer, max_seq_len))

    def prepare_decision(self, lines: Sequence[Line]) -> Decision:
        """The rule for words: the training rows show whether entities end inside words."""
        rows = ((line["text"], [Span(start, end, str(n)) for start, end, n in line["label"]]) for line in lines)
        return {WORDS: choose_word_rule(rows)}

    def label_weights(self, train: Targets, targets: Targets, num_outputs: int) -> npt.NDArray[np.float32]:
        counts = np.maximum(np.bincount(train.values, minlength=num_outputs), 1)
        weights = (len(train.values) / (len(counts) * counts)).astype(np.float32)
        return weights[targets.values]

    def losses(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        import torch.nn.functional as F

        return F.cross_entropy(logits, labels, reduction="none"), logits.argmax(-1) == labels

    # -- results --

    def score_targets(self, logits: FloatArray, targets: Targets) -> tuple[FloatArray, IntArray]:
        labels = targets.values
        losses = -log_softmax(logits)[np.arange(len(labels)), labels]
        return losses, (logits.argmax(axis=1) == labels).astype(np.int64)

    def decide(self, logits: FloatArray, targets: Targets, decision: Decision) -> Decision:
        return decision

    def decode(self, logits: FloatArray, targets: Targets, decision: Decision) -> EntityOutputs:
        """The entities of the most probable tags that are valid: I-x follows only B-x or I-x."""
        assert targets.words is not None
        log_probabilities = log_softmax(logits)
        tags = decode_tags(log_probabilities, targets.offsets)
        rows = []
        for begin, found in zip(
            targets.offsets[:-1].tolist(), find_entities(log_probabilities, tags, targets.offsets), strict=True
        ):
            words = targets.words[begin:]
            rows.append(
                [
                    PredictedSpan(int(words[first, 0]), int(words[last - 1, 1]), kind, probability)
                    for first, last, kind, probability in found
                ]
            )
        return EntityOutputs(rows=rows)

    def true_values(self, lines: Sequence[Line], names: Sequence[str]) -> TrueEntities:
        """`prepare` cuts long rows into parts, which keep the number of their row; other lines have none."""
        rows = [[(start, end, names[number]) for start, end, number in line["label"]] for line in lines]
        documents = [line.get("row", place) for place, line in enumerate(lines)]
        return TrueEntities(rows=rows, documents=np.array(documents, dtype=np.int64))

    def figures(
        self, true: TrueEntities, outputs: EntityOutputs, names: Sequence[str], groups: IntArray | None = None
    ) -> dict[str, Any]:
        groups = true.documents if groups is None else groups
        return summarize_entities(true.rows, outputs.named(names), names, groups)

    def statistics(
        self, metric: str, true: TrueEntities, outputs: EntityOutputs, names: Sequence[str]
    ) -> RowStatistics:
        counts = count_entities(true.rows, outputs.named(names), names)
        found = macro_f1_rows(counts) if metric == "macro_f1" else entity_f1_rows(counts)
        return found.over(true.documents)

    def to_fields(self, outputs: EntityOutputs, index: int) -> dict[str, Any]:
        row = outputs.rows[index]
        fields: dict[str, Any] = {"predicted": [[span.start, span.end, span.type] for span in row]}
        probabilities = [span.probability for span in row]
        return fields if None in probabilities else {**fields, "entity_probabilities": probabilities}

    def from_lines(self, lines: Sequence[Line]) -> EntityOutputs:
        rows = []
        for line in lines:
            probabilities = line.get("entity_probabilities") or [None] * len(line["predicted"])
            spans = zip(line["predicted"], probabilities, strict=True)
            rows.append([PredictedSpan(start, end, number, p) for (start, end, number), p in spans])
        return EntityOutputs(rows=rows)

    def to_prediction(
        self, outputs: EntityOutputs, index: int, names: Sequence[str], text: str, text_pair: str | None = None
    ) -> EntitiesPrediction:
        found = outputs.rows[index]
        spans = [Span(span.start, span.end, names[span.type]) for span in found]
        entities = tuple(
            Entity(start=start, end=end, type=kind, text=text[start:end], probability=span.probability or 0.0)
            for (start, end, kind), span in zip(restore_spans(text, clean_text(text), spans), found, strict=True)
        )
        label = _in_words((entity.text, entity.type) for entity in entities)
        return EntitiesPrediction(text=text, label=label, probability=None, probabilities={}, entities=entities)

    def empty_prediction(self, text: str, text_pair: str | None = None) -> EntitiesPrediction:
        return EntitiesPrediction(text=text, label=None, probability=None, probabilities={}, entities=())

    def references(self, train: Targets, validation: Targets, num_outputs: int) -> dict[str, float]:
        prior = np.bincount(train.values, minlength=num_outputs) / max(len(train.values), 1)
        labels = validation.values
        return {
            "uniform_nats": float(np.log(num_outputs)),
            "prior_nats": float(-np.log(np.maximum(prior, 1e-12))[labels].mean()),
            "majority_share": float((labels == prior.argmax()).mean()),
        }

    def baselines(self, data: LabelledLines) -> Iterator[Baseline]:
        train, validation, rule = self._tagged_rows(data)
        offsets = [find_words(line["text"], rule) for line in data.test]
        words = [[line["text"][start:end] for start, end in own] for line, own in zip(data.test, offsets, strict=True)]
        yield _to_baseline(predict_gazetteer(train, words), offsets)
        yield _to_baseline(predict_tagger(train, validation, words, len(data.names)), offsets)

    def partners(self, data: LabelledLines) -> list[Partner]:
        train, validation, _ = self._tagged_rows(data)
        tagger, chosen = train_tagger(train, validation, len(data.names))
        return [Partner(kind="tagger", model=tagger.keep_largest(most_ngrams(len(tagger.bias))), chosen=chosen)]

    def _tagged_rows(self, data: LabelledLines) -> tuple[TaggedRows, TaggedRows, WordRule]:
        """The training and validation rows as words with tags, and the rule for words."""
        rule: WordRule = self.prepare_decision(data.train)[WORDS]
        train, validation = (_tag_rows(lines, rule, len(data.names)) for lines in (data.train, data.validation))
        return train, validation, rule


def _in_words(entities: Iterable[tuple[str, str]]) -> str:
    """Entities, as text and type, in words; white space in a text is one blank."""
    return "; ".join(f"{' '.join(text.split())} ({kind})" for text, kind in entities) or NO_ENTITY


_Places = tuple[IntArray, list[tuple[int, int]]]  # the first token of each word in its row, and its characters


def _read_places(lines: Sequence[Line], decision: Decision, tokenizer: Tokenizer, max_seq_len: int) -> list[_Places]:
    """The words of each line that are read: of a row that is cut, not those in the middle."""
    texts, found = [line["text"] for line in lines], []
    rule: WordRule = decision.get(WORDS, "blanks")
    for text, encoded in zip(texts, tokenizer.encode_batch_with_offsets(texts), strict=True):
        words = find_words(text, rule)
        kept = np.full(len(encoded.ids), -1)
        read = cut_middle(list(range(len(encoded.ids))), max_seq_len)
        kept[read] = np.arange(len(read))
        places = kept[first_tokens(text, encoded, words, tokenizer.num_around)]
        found.append((places[places >= 0], [word for word, place in zip(words, places, strict=True) if place >= 0]))
    return found


def _to_targets(found: Sequence[_Places], values: IntArray | None = None) -> Targets:
    positions = np.concatenate([places for places, _ in found]) if found else np.empty(0, dtype=np.int64)
    return Targets.of_words([words for _, words in found], values, positions)


def _tags_of(line: Line, words: Sequence[tuple[int, int]], num_types: int) -> list[int]:
    """The number of the tag of each word."""
    numbers = {"O": OUTSIDE} | {f"B-{t}": first_tag(t) for t in range(num_types)}
    numbers |= {f"I-{t}": first_tag(t) + 1 for t in range(num_types)}
    return [numbers[tag] for tag in to_tags([Span(start, end, str(t)) for start, end, t in line["label"]], words)]


def _tag_rows(lines: Sequence[Line], rule: WordRule, num_types: int) -> TaggedRows:
    words, tags = [], []
    for line in lines:
        own = find_words(line["text"], rule)
        words.append([line["text"][start:end] for start, end in own])
        tags.append(_tags_of(line, own, num_types))
    return TaggedRows(words=words, tags=tags)


def _to_baseline(found: TagBaseline, offsets: Sequence[Sequence[tuple[int, int]]]) -> Baseline:
    rows = [
        [PredictedSpan(own[first][0], own[last - 1][1], kind, None) for first, last, kind in entities_of(tags.tolist())]
        for tags, own in zip(found.tags, offsets, strict=True)
    ]
    return Baseline(name=found.name, kind=found.kind, outputs=EntityOutputs(rows=rows), chosen=found.chosen)
