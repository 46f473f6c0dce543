from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len

from pretune.reporting.sections.prediction import render_prediction
from pretune.run_trace.codec import as_written
from pretune.run_trace.prediction_checks import softmax
from pretune.terminal import Page, to_text
from pretune.trace_schema import (
    Contribution,
    Decision,
    Embedding,
    Flip,
    Head,
    LayerProbe,
    NgramShare,
    PredictionTrace,
    Readout,
    Reasons,
    StackedDecision,
    Token,
    WordLabel,
)


def rendered(trace: PredictionTrace, width: int = 100) -> str:
    page = Page(width)
    return to_text(render_prediction(trace, page), page)


def test_five_layers_in_order(trace: PredictionTrace) -> None:
    text = rendered(trace)
    titles = ["1 Tokenization", "2 Embedding", "3 Transformer layers", "4 Head", "5 Decision"]
    assert [text.index(title) for title in titles] == sorted(text.index(title) for title in titles)
    assert "  [BOS]  The  soup  was  not  bad  ·.  [EOS]" in text
    assert "→ positive with probability 98.8 %, 97.7 points ahead of the next" in text


def test_sums_are_computed_again_and_agree(trace: PredictionTrace) -> None:
    text = rendered(trace)
    assert text.count("✓") == 3
    assert "does not add up" not in text
    assert "  sum                   +2.220    -2.220" in text


@pytest.mark.parametrize("where", ["contributions", "probabilities", "weight"])
def test_a_trace_that_does_not_add_up_is_reported(trace: PredictionTrace, where: str) -> None:
    broken = copy.deepcopy(trace)
    if where == "contributions":
        broken.contributions[0].logits[1] += 0.01
    elif where == "probabilities":
        broken.decision.probabilities[1] -= 0.01
    else:
        broken.head.weight[1][0] += 0.01
    assert rendered(broken).count("does not add up") == 1


@pytest.mark.parametrize("width", [60, 80, 100])
def test_many_classes_and_a_long_text_stay_on_the_page(trace: PredictionTrace, width: int) -> None:
    logits = [k / 10 for k in range(77)]
    name, odds = "x" * 200, softmax(logits)
    token = Token(position=0, id=5, surface="Wort" * 20, start=0, end=80, is_special=False, word=None, count=None)
    trace = replace(
        trace,
        label_names=[f"a rather long label {k}" for k in range(77)],
        head=Head(logits=logits, bias=[0.0] * 77, pooled=[0.1], weight=[[k] for k in range(77)]),
        decision=Decision(probabilities=odds, label=name, index=76, probability=0.1, margin=0.01, flip=None),
        readouts=[Readout(layer=0, logits=logits, probabilities=odds, label=name, probe=None)],
        contributions=[Contribution(name="embedding", logits=logits)],
        tokens=[token] * 512,
        was_cut=True,
        embedding=Embedding(norms=[1.0] * 512, neighbours=[], pca=None),
    )
    text = rendered(trace, width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "512 tokens, the first 40 shown" in text
    assert "its middle was cut" in text
    assert "and 74 less probable classes" in text


def test_labels_that_are_not_shown_are_not_called_less_probable(trace: PredictionTrace) -> None:
    """Several labels are in the order of the distance to their thresholds."""
    odds = [0.3, 0.35, 0.1, 0.4, 0.02]
    logits = [math.log(p / (1 - p)) for p in odds]
    several = replace(
        trace,
        task="multilabel",
        label_names=list("abcde"),
        head=Head(logits=logits, bias=logits, pooled=[0.0], weight=[[0.0]] * 5),
        decision=replace(
            trace.decision, probabilities=odds, thresholds=[0.2, 0.3, 0.2, 0.6, 0.2], index=0, label="a, b"
        ),
        readouts=[Readout(layer=0, logits=logits, probabilities=odds, label="a, b", probe=None)],
        contributions=[Contribution(name="embedding", logits=logits)],
    )
    text = rendered(several)
    assert "and 2 more labels" in text  # one of them, d, has the highest probability of all
    assert "less probable" not in text


def test_the_windows_of_a_long_text_are_counted(trace: PredictionTrace) -> None:
    tokens = [replace(token, position=place) for place, token in enumerate(trace.tokens * 3)]
    text = " ".join(rendered(replace(trace, tokens=tokens)).split())
    assert f"{len(tokens)} tokens" in text
    assert "read in 3 windows" in text
    assert "windows" not in rendered(trace)
    assert "some of it was left out" in " ".join(rendered(replace(trace, tokens=tokens, was_cut=True)).split())


@pytest.mark.parametrize(("first", "last"), [(True, True), (True, False), (False, True)])
def test_windows_are_counted_whatever_special_tokens_are_at_their_ends(
    trace: PredictionTrace, first: bool, last: bool
) -> None:
    """Tokenizers of bases may add one special token to a text."""
    inside = [token for token in trace.tokens if not token.is_special]
    tokens = trace.tokens[:1] * first + inside + trace.tokens[-1:] * last
    assert "windows" not in rendered(replace(trace, tokens=tokens))
    assert "read in 4 windows" in " ".join(rendered(replace(trace, tokens=tokens * 4)).split())
    mark = replace(trace.tokens[0], surface="<s>")
    text = trace.text.replace(" was", "<s>was")
    marked = [*tokens[: first + 2], mark, *tokens[first + 2 :]]
    assert "windows" not in rendered(replace(trace, text=text, tokens=marked))  # it is part of the text


def test_the_part_of_a_long_text_around_a_word_is_said_to_be_one(trace: PredictionTrace) -> None:
    word = WordLabel(start=4, end=8, position=2, label="positive")
    shown = replace(trace, task="tokens", word=word, read_position=2, was_cut=True)
    said = " ".join(rendered(shown).split())
    assert "the text was too long to be read at once, so only the part around this word is shown" in said
    assert "middle" not in said


def test_hostile_text_stays_text(trace: PredictionTrace) -> None:
    tokens = [replace(token, surface="\x1b]0;owned\x07\n") for token in trace.tokens]
    names = ["neg\x1b[31m", "pos\r"]
    text = rendered(replace(trace, text="\x1b[2J[red]x[/red]", tokens=tokens, label_names=names))
    assert "\x1b" not in text and "\r" not in text and "\x07" not in text
    assert '"[red]x[/red]"' in text


def test_softmax_of_large_logits_does_not_overflow() -> None:
    assert softmax([1000.0, 1000.0]) == [0.5, 0.5]


@pytest.mark.parametrize("text", ["x", "The sun rises in the east. 🙂", "A film. " * 40, "👩‍👩‍👧 لا\t\n[MASK]"])
def test_the_traces_that_are_written_can_be_shown(run_folder: Path, text: str) -> None:
    from pretune.tracing.prediction import trace as trace_text

    shown = rendered(as_written(trace_text(run_folder, text)))
    assert shown.count("✓") == 4  # with the sum of the attributions
    assert "does not add up" not in shown


def test_a_character_of_several_tokens_is_drawn_once(trace: PredictionTrace) -> None:
    spans = [(0, 1), (1, 2), (1, 2), (2, 3)]
    tokens = [
        Token(position=i, id=i, surface="a🙂b"[a:b], start=a, end=b, is_special=False, word=None, count=None)
        for i, (a, b) in enumerate(spans)
    ]
    assert "  a  ·🙂  ··  ·b" in rendered(replace(trace, tokens=tokens))


REASONS = Reasons(
    label="positive",
    runner_up="negative",
    score=4.44,
    masked_score=0.4,
    words=["The", "soup", "was", "not", "bad."],
    integrated_gradients=[0.04, 0.1, -0.1, 3.0, 1.0],
    steps=64,
    completeness_error=0.003,
    is_converged=True,
    occlusion=[0.1, 0.2, 0.0, 4.0, -2.0],
    rank_correlation=0.6,
    is_top_word_equal=True,
    deletion=[4.44, 0.44, 0.5, 0.5, 0.4, 0.4],
    random_deletion=[4.44, 3.5, 2.5, 1.5, 1.0, 0.4],
    random_orders=20,
)


def test_reasons_stand_side_by_side_with_their_agreement_and_control(trace: PredictionTrace) -> None:
    text = rendered(replace(trace, reasons=REASONS))
    assert "what each word adds to the lead of positive over negative, in logits" in text
    row = next(line for line in text.splitlines() if line.startswith("  bad."))
    assert row.split()[:2] == ["bad.", "+1.00"] and "-2.00" in row
    assert row.index("│") < row.index("█") < row.index("-2.00") < row.rindex("█") < row.rindex("│")
    assert "The two methods agree (rank correlation 0.60, the same word first)." in text
    said = " ".join(text.split())
    assert "the 3 words with the largest gradients changes the lead from +4.44 to +0.50; masking 3 random words" in said
    assert "changes it to +1.50 (mean of 20 orders)." in said
    assert "no more than chance" not in said
    assert "Masking any one word leaves the label as it is" in said


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"rank_correlation": 0.49},
            "The two methods disagree (rank correlation 0.49, the same word first): do not read",
        ),
        ({"rank_correlation": 0.49, "is_top_word_equal": False}, "rank correlation 0.49, different words first"),
        ({"rank_correlation": None}, "too few different values to say whether the two methods agree"),
        ({"is_converged": False, "completeness_error": 0.9, "steps": 512}, "miss the sum by 0.9 after 512 steps"),
        ({"random_deletion": [4.44, 0.1, 0.2, 0.3, 0.4, 0.4]}, "Here, the gradients find no more than chance does."),
    ],
)
def test_reasons_that_cannot_be_read_are_marked(
    trace: PredictionTrace, changed: dict[str, object], sentence: str
) -> None:
    assert sentence in " ".join(rendered(replace(trace, reasons=replace(REASONS, **changed))).split())  # type: ignore[arg-type]


def test_gradients_that_did_not_converge_are_not_said_to_agree(trace: PredictionTrace) -> None:
    """The next line compared them with masking."""
    missed = replace(REASONS, is_converged=False, completeness_error=0.9, steps=512)
    text = " ".join(rendered(replace(trace, reasons=missed)).split())
    assert "miss the sum by 0.9 after 512 steps: do not read them" in text
    assert "The two methods" not in text


def test_a_flip_names_its_words(trace: PredictionTrace) -> None:
    flip = Flip(words=[3, 4], label="negative", probability=0.75)
    text = rendered(replace(trace, reasons=REASONS, decision=replace(trace.decision, flip=flip)))
    assert 'Masking "not", "bad." changes the label to negative (75.0 %).' in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_reasons_and_probes_stay_on_the_page(trace: PredictionTrace, width: int) -> None:
    probe = LayerProbe(
        probabilities=[0.2, 0.8],
        validation_accuracy=0.9,
        shuffled_accuracy=0.5,
        random_weights_accuracy=0.6,
        n=999,
    )
    reasons = replace(
        REASONS,
        words=["Donaudampfschiff" * 20] * 40,
        integrated_gradients=[float(k) for k in range(40)],
        occlusion=[float(-k) for k in range(40)],
    )
    readouts = [replace(readout, probe=probe) for readout in trace.readouts]
    text = rendered(replace(trace, reasons=reasons, readouts=readouts), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    said = " ".join(text.split())
    assert "The 16 of 40 words with the largest values are shown." in said
    assert "accuracies on 999 validation rows" in said


def test_hostile_words_stay_text(trace: PredictionTrace) -> None:
    names = ["\x1b[31mThe", "soup\r", "[red]was[/red]", "\u202enot", "bad."]
    text = rendered(replace(trace, reasons=replace(REASONS, words=names, label="pos\x1b[31m")))
    assert not {"\x1b", "\r", "\u202e"} & set(text)
    assert "[red]was[/red]" in text


def test_what_is_added_to_a_small_number_is_not_rounded_away(trace: PredictionTrace) -> None:
    number = Decision(
        probabilities=[], label="0.0031", index=0, probability=0.0, margin=0.0, flip=None, score=0.0031, mean=0.002,
        deviation=0.001,
    )  # fmt: skip
    head = Head(pooled=[1.0], weight=[[1.1]], bias=[0.0], logits=[1.1])
    reasons = replace(
        REASONS, runner_up=None, score=0.0031, masked_score=0.0011, integrated_gradients=[0.00123, 0.0, 0.0, 0.0, 0.0],
        deletion=[0.0031] * 6, random_deletion=[0.0031] * 6,
    )  # fmt: skip
    stack = StackedDecision(
        probabilities=[], label="0.0042", index=0, probability=0.0, ngrams=[],
        parts=[Contribution(name="network", logits=[0.00111]), Contribution(name="bias", logits=[0.00309])],
    )  # fmt: skip
    contributions = [Contribution(name="embedding", logits=[1.1])]
    text = rendered(
        replace(
            trace, task="regression", label_names=["score"], decision=number, head=head, reasons=reasons, stack=stack,
            contributions=contributions, readouts=[],
        )
    )  # fmt: skip
    assert all(written in text for written in ("+0.00123", "from +0.0031 to", "+0.00111", "+0.0011"))
    assert "+0.00 " not in text


@pytest.mark.parametrize("width", [60, 100])
def test_the_parts_of_a_stack_are_shown_with_the_words_behind_them(trace: PredictionTrace, width: int) -> None:
    parts = {"encoder": [1.0, -1.0], "NB-SVM": [-2.0, 2.0], "bias": [0.25, -0.25]}
    odds = softmax([sum(logits) for logits in zip(*parts.values(), strict=True)])
    stack = StackedDecision(
        probabilities=odds,
        label=trace.label_names[1],
        index=1,
        probability=odds[1],
        parts=[Contribution(name=name, logits=logits) for name, logits in parts.items()],
        ngrams=[NgramShare(ngram="not bad", logits=[-0.75, 0.75])],
    )
    text = rendered(replace(trace, stack=stack), width)
    assert max(cell_len(line) for line in text.splitlines()) <= width
    assert "6 With NB-SVM" in text
    assert "-2.00" in text  # the encoder's lead of the label, which NB-SVM outweighs
    assert "+4.00" in text
    assert '"not bad" +1.50' in text
    assert f"→ {trace.label_names[1]} with probability 81.8 %" in text
    assert "6 With NB-SVM" not in rendered(trace, width)
    stack.parts[0].logits[0] += 1.0
    assert rendered(replace(trace, stack=stack), width).count("does not add up") == 1


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_trace_without_contributions_says_why(trace: PredictionTrace, task: str) -> None:
    trace = replace(trace, contributions=[], contributions_note="This encoder normalizes between its parts.")
    if task == "regression":
        number = Decision(
            probabilities=[], label="3.6", index=0, probability=0.0, margin=0.0, flip=None,
            score=3.6, mean=3.5, deviation=0.25,
        )  # fmt: skip
        head = Head(logits=[0.4], bias=[0.4], pooled=[0.0], weight=[[1.0]])
        readouts = [Readout(layer=0, logits=[0.4], probabilities=[], label="3.6", probe=None)]
        trace = replace(trace, task=task, decision=number, head=head, readouts=readouts, label_names=["score"])
    said = " ".join(rendered(trace).split())
    assert "This encoder normalizes between its parts." in said
    assert "Each layer's mean vector goes through the head as if it were the last: this is what can be" in said
    assert "final norm" not in said
