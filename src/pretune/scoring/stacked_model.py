"""The linear models that are stacked on an encoder: chosen and weighted on validation, and kept as two files beside it.

Shapes: P partners, N rows, C classes, labels, or one number.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pretune.errors import CorruptModelError
from pretune.runtime.atomic import write_json
from pretune.runtime.json_text import parse_json
from pretune.scoring.metrics import macro_f1
from pretune.scoring.ngram_model import NgramModel
from pretune.scoring.pair_model import PairModel
from pretune.scoring.partners import TITLES, LinearScorer, Partner, Tensors, title_in_sentence
from pretune.scoring.stack import Link, Stack, crossfit, fit_stack, row_losses, standard_error, weigh_rare_classes
from pretune.scoring.tagger import Tagger
from pretune.scoring.word_features import PLAIN_WORDS, WORDS_OF_SCRIPTS, WordRule, find_words

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

STACK_NAME, NGRAMS_NAME = "stack.json", "stack.safetensors"
_ENCODER = "encoder"
_PAIR_MODELS = ("pair_tfidf", "pair_ridge")
_GUARDS = {"macro_f1": "macro-F1", "entity_f1": "entity F1"}  # metrics that must not fall


@dataclass(frozen=True, kw_only=True)
class StackedDecision:
    """The combination for one text, or one word: combined scores (C,), what the encoder, each partner and the biases
    add to them, (P + 2, C), and for each partner the named parts of the text or word (G,) with what each adds, (G, C).
    """

    scores: FloatArray
    parts: FloatArray
    evidence: tuple[tuple[list[str], FloatArray], ...]


@dataclass(frozen=True, kw_only=True)
class StackedModel:
    """Linear models with the weights by which they and the encoder are combined.

    `decision` has what the combined scores need instead of the encoder's, such as thresholds. `validation` has the
    figures of both on validation.
    """

    partners: tuple[Partner, ...]
    stack: Stack
    decision: dict[str, Any] = field(default_factory=dict)
    validation: dict[str, Any] = field(default_factory=dict)

    @property
    def is_better(self) -> bool:
        """Whether the cross-fitted loss on validation is lower than that of the encoder, with a weight and biases of
        its own; the macro-F1 of imbalanced classes, and the F1 of entities, must not be lower either.

        A standard error is too much to ask: with a hundred rows, that refuses combinations that gain points on a test
        (docs/experiments.md).
        """
        v = self.validation
        is_lower = bool(v["loss_difference"] < 0)
        is_kept = all(v.get(f"{name}_stack", 1.0) >= v.get(f"{name}_encoder", 0.0) for name in _GUARDS)
        return bool(self.partners) and is_lower and is_kept

    @property
    def is_encoder_needed(self) -> bool:
        """Whether the loss on validation is lower with the encoder than without, by more than a standard error."""
        v = self.validation
        return bool(v["encoder_difference"] < -v["encoder_difference_standard_error"])

    @property
    def words(self) -> WordRule:
        """The rule by which the partners find the words of a text; a tagger is given words."""
        models = [partner.model for partner in self.partners]
        rules = {model.words for model in models if isinstance(model, NgramModel | PairModel)}
        return rules.pop() if len(rules) == 1 else WORDS_OF_SCRIPTS

    @property
    def titles(self) -> list[str]:
        """The names of all parts, the network first."""
        return [TITLES[_ENCODER], *(partner.title for partner in self.partners)]

    def combine(self, scores: FloatArray, texts: Sequence[Any]) -> FloatArray:
        """Combined scores (N, C), of the encoder's and of the cleaned texts, pairs, or rows of N words in all:
        log-probabilities of classes or tags, log-odds of labels, or numbers."""
        return self.stack.combine([scores, *(partner.model.score(texts) for partner in self.partners)])

    def decide(self, scores: FloatArray, text: Any) -> StackedDecision:
        """The combination for one cleaned text, pair, or word (`WordAt`) with these scores (C,) of the encoder."""
        every = [scores[None], *(partner.model.score([text]) for partner in self.partners)]
        evidence = []
        for weight, partner in zip(self.stack.weights[1:], self.partners, strict=True):
            names, added = partner.model.explain(text)
            weighted = weight * added
            if self.stack.link == "softmax" and len(weighted):
                weighted = weighted - weighted.mean(axis=1, keepdims=True)
            evidence.append((names, np.asarray(weighted)))
        return StackedDecision(
            scores=self.stack.combine(every)[0], parts=self.stack.parts(every)[:, 0], evidence=tuple(evidence)
        )

    def describe(self) -> str:
        """Sentences on the figures on validation, and on what follows from them."""
        v = self.validation
        loss = "class-weighted loss" if "macro_f1_stack" in v else "loss"
        counted = f"{v['rows']:,} validation {'words' if 'entity_f1_stack' in v else 'rows'}"
        compared = (
            f"from {v['loss_encoder']:.3g} to {v['loss_stack']:.3g}{' nats' if self.stack.link != 'identity' else ''} "
            f"(standard error of the difference {v['loss_difference_standard_error']:.2g})"
        )
        guards = [name for name in _GUARDS if f"{name}_stack" in v]
        for name in guards:
            compared += f", the {_GUARDS[name]} from {v[f'{name}_encoder']:.3f} to {v[f'{name}_stack']:.3f}"
        if not guards and "accuracy_stack" in v:
            compared += f", the accuracy from {100 * v['accuracy_encoder']:.1f} to {100 * v['accuracy_stack']:.1f} %"
        if not self.is_better:
            named = join_with_and([title_in_sentence(kind) for kind in v["best"]])
            if len(v["best"]) < len(v["tried"]):
                named += f" (the best choice of {join_with_and([title_in_sentence(kind) for kind in v['tried']])})"
            sentence = f"With {named}, the {loss} over {counted} goes {compared}, cross-fitted"
            return f"{sentence}: not better, so predictions use the fine-tuned model alone."
        used = join_with_and([title_in_sentence(partner.kind) for partner in self.partners])
        sentence = f"With {used}, the {loss} over {counted} goes {compared}, cross-fitted"
        both = "both" if len(self.partners) == 1 else f"all {len(self.partners) + 1}"
        found = [f"{sentence}: predictions combine {both}; --no-stack leaves {used} out."]
        idle = [kind for kind in v["tried"] if kind not in [partner.kind for partner in self.partners]]
        if idle:
            left_out = join_with_and([title_in_sentence(kind) for kind in idle])
            left_out = left_out[:1].upper() + left_out[1:]
            found.append(f"{left_out} would add nothing, so it is not part of the combination.")
        if not self.is_encoder_needed:
            found.append(
                f"Without the network, {used} alone would have a {loss} of "
                f"{v['loss_without_encoder']:.3g}: validation cannot tell that the network adds anything."
            )
        return " ".join(found)


def train_stacked(
    partners: Sequence[Partner],
    texts: Sequence[Any],
    scores: FloatArray,
    targets: npt.NDArray[np.generic],
    link: Link = "softmax",
    groups: IntArray | None = None,
    *,
    is_imbalanced: bool = False,
    entity_f1: Callable[[FloatArray], float] | None = None,
) -> tuple[StackedModel, FloatArray]:
    """Fit the weights of the partners and of the encoder on validation rows, or words of rows, for which the encoder
    has these scores (N, C); also returned are the cross-fitted combined scores (N, C).

    `targets` are those of `pretune.scoring.stack.fit_stack`; rows of one of the `groups` (N,) may err together. Of all
    sets of partners, the one with the lowest cross-fitted loss is used, and a partner whose weight is zero is left out.
    The figures of the combination, and of the encoder with a weight and biases alone, are cross-fitted over the rows,
    since weights look better on the rows that they were fitted on. If the classes are `is_imbalanced`, the rows of rare
    ones weigh more in all of it. For tags of words, `entity_f1` computes the F1 of entities from scores (N, C).
    """
    row_weights = weigh_rare_classes(targets) if is_imbalanced else np.ones(len(targets))
    groups = np.arange(len(targets)) if groups is None else groups
    of_partners = {partner.kind: partner.model.score(texts) for partner in partners}

    def judge(*used: FloatArray) -> tuple[FloatArray, FloatArray]:
        combined = crossfit(used, targets, link, groups, row_weights)
        return combined, row_weights * row_losses(combined, targets, link)

    sets = [kinds for count in range(1, len(partners) + 1) for kinds in itertools.combinations(of_partners, count)]
    judged = {kinds: judge(scores, *(of_partners[kind] for kind in kinds)) for kinds in sets}
    best = min(sets, key=lambda kinds: float(judged[kinds][1].mean()))
    stack = fit_stack([scores, *(of_partners[kind] for kind in best)], targets, link, row_weights)
    kept = [kind for kind, weight in zip(best, stack.weights[1:], strict=True) if weight > 0]
    weights = np.array([stack.weights[0], *(weight for weight in stack.weights[1:] if weight > 0)])
    combined, losses = judged[best]
    alone, losses_alone = judge(scores)
    without = judge(*(of_partners[kind] for kind in best))[1]
    figures: dict[str, Any] = {
        "rows": len(targets),
        "tried": list(of_partners),
        "best": list(best),  # the set of partners that all figures below are of
        "loss_encoder": float(losses_alone.mean()),
        "loss_stack": float(losses.mean()),
        "loss_difference": float((losses - losses_alone).mean()),
        "loss_difference_standard_error": standard_error(losses - losses_alone, groups),
        "loss_without_encoder": float(without.mean()),
        "encoder_difference": float((losses - without).mean()),
        "encoder_difference_standard_error": standard_error(losses - without, groups),
        "chosen": {partner.kind: partner.chosen for partner in partners},
    }
    if link == "softmax":
        figures["accuracy_encoder"] = float((alone.argmax(axis=1) == targets).mean())
        figures["accuracy_stack"] = float((combined.argmax(axis=1) == targets).mean())
    for name, each in (("encoder", alone), ("stack", combined)):
        if is_imbalanced:
            figures[f"macro_f1_{name}"] = macro_f1(np.asarray(targets), each.argmax(axis=1), scores.shape[1])
        if entity_f1 is not None:
            figures[f"entity_f1_{name}"] = entity_f1(each)
    model = StackedModel(
        partners=tuple(partner for partner in partners if partner.kind in kept),
        stack=Stack(weights, stack.bias, link),
        validation=figures,
    )
    return model, combined


def join_with_and(names: Sequence[str]) -> str:
    """A list in words: "NB-SVM", "NB-SVM and TF-IDF"."""
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def name_delivered(folder: Path) -> str:
    """The parts of the model in a folder with a stack: "network + NB-SVM"; without the network if its weight is zero.

    Raises CorruptModelError if the file that says so is damaged.
    """
    try:
        fields = parse_json((folder / STACK_NAME).read_text(encoding="utf-8"))
        named = [TITLES[kind] for kind, w in zip(fields["models"], fields["weights"], strict=True) if w > 0]
        return " + ".join(named) + (", no network" if TITLES[_ENCODER] not in named else "")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptModelError(f"{folder} has a damaged {STACK_NAME} ({error}); restore it from a copy.") from error


def save_stacked(folder: Path, stacked: StackedModel) -> None:
    """Write `stack.json` and `stack.safetensors` into a folder, of a model that is being committed."""
    from safetensors.numpy import save_file

    tensors: Tensors = {
        f"{partner.kind}.{name}": array
        for partner in stacked.partners
        for name, array in partner.model.to_tensors().items()
    }
    save_file(tensors, folder / NGRAMS_NAME)
    fields = {
        "models": [_ENCODER, *(partner.kind for partner in stacked.partners)],
        "words": stacked.words,
        "link": stacked.stack.link,
        "weights": stacked.stack.weights.tolist(),
        "bias": stacked.stack.bias.tolist(),
        "decision": stacked.decision,
        "validation": stacked.validation,
    }
    write_json(folder / STACK_NAME, fields)


def load_stacked(folder: Path, num_outputs: int) -> StackedModel | None:
    """The stacked model in a model folder; None if it has none.

    Raises CorruptModelError if one of its files is missing or damaged, or belongs to a model with other outputs.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not (folder / STACK_NAME).is_file() and not (folder / NGRAMS_NAME).is_file():
        return None
    try:
        fields = parse_json((folder / STACK_NAME).read_text(encoding="utf-8"))
        tensors = load_file(folder / NGRAMS_NAME)
        weights, bias = (np.array(fields[name], dtype=np.float64) for name in ("weights", "bias"))
        kinds = fields["models"][1:]
        words = fields.get("words", PLAIN_WORDS)  # earlier versions have one rule, and do not name it
        partners = tuple(_partner_of(kind, tensors, words) for kind in kinds)
        link: Link = fields["link"]
        if link not in ("softmax", "sigmoid", "identity"):
            raise ValueError(f"the link {link!r} is unknown")
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CorruptModelError(
            f"{folder} has a damaged {STACK_NAME} or {NGRAMS_NAME} ({error}); restore both from a copy."
        ) from error
    shapes = [weights.shape, bias.shape, *(partner.model.bias.shape for partner in partners)]
    if shapes != [(1 + len(partners),), *[(num_outputs,)] * (1 + len(partners))]:
        raise CorruptModelError(
            f"{folder / STACK_NAME} belongs to another model: its shapes are {shapes}, but this one has {num_outputs} "
            "outputs; restore it from the same copy."
        )
    return StackedModel(
        partners=partners,
        stack=Stack(weights, bias, link),
        decision=fields.get("decision", {}),
        validation=fields.get("validation", {}),
    )


def _partner_of(kind: str, tensors: Tensors, words: WordRule) -> Partner:
    """The partner with its arrays among those of a file, and its rule for words. Raises KeyError for an unknown kind,
    ValueError for an unknown rule, and either for damaged arrays."""
    if kind not in TITLES:
        raise KeyError(kind)
    own = {name.removeprefix(f"{kind}."): array for name, array in tensors.items() if name.startswith(f"{kind}.")}
    find_words("", words)  # raises for an unknown rule
    model: LinearScorer
    if kind == "tagger":
        model = Tagger.from_tensors(own)
    else:
        model = (PairModel if kind in _PAIR_MODELS else NgramModel).from_tensors(own, words)
    return Partner(kind=kind, model=model)
