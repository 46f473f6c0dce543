"""Questions about stages 1 and 2: what was dropped, how text becomes tokens, and how tokens become rows."""

from __future__ import annotations

import re
from itertools import pairwise
from random import Random

from pretune.run_trace import formats
from pretune.run_trace.expression import evaluate
from pretune.run_trace.quiz.template import Claim, Draft, Template, WrongNumber, at, excerpt, plain_number
from pretune.text.arrays.scripts import WITHOUT_BLANKS
from pretune.trace_schema import FunnelStep, RunTrace, Stage, TokenView

TOKENS_SHOWN = 40  # a longer text makes a question about counting, not about tokens
SPECIAL = 2  # tokens at the beginning and the end of every text; some tokenizers of bases add one or none
_MARK = re.compile(r"\[[^\]]+\]|<[^>]+>")  # how special tokens are written: [BOS], <s>, <|endoftext|>
MOST_STEPS = 5  # that a reader subtracts; the smallest of more are given as one sum
EXACT = 1_000_000  # below which a count is exact in the six digits that the document keeps
LEAD = 1.2  # how many times the second largest count the largest must be, so that a glance decides
FEWEST_WORDS = 3  # of a text whose tokens are asked for


# ---- tokens


def _has_short_example(trace: RunTrace) -> bool:
    example = trace.example
    if trace.is_redacted or example is None or example.clean_text is None or not example.ids or not example.tokens:
        return False
    # Words are counted by blanks, which Thai, Chinese and other scripts do not have between words.
    if len(example.clean_text.split()) < FEWEST_WORDS or WITHOUT_BLANKS.search(example.clean_text):
        return False
    ends = example.tokens[0], example.tokens[-1]
    counts = {len(example.ids), len(example.clean_text.split()), len(example.ids) - SPECIAL}
    has_marks = all(_MARK.fullmatch(end) and end not in example.clean_text for end in ends)
    return has_marks and len(counts) == 3 and len(example.ids) <= TOKENS_SHOWN


def _tokens(trace: RunTrace, _rng: Random) -> Draft:
    assert trace.example is not None and trace.example.clean_text is not None
    text, ids = trace.example.clean_text, trace.example.ids
    words, special = len(text.split()), f"{trace.example.tokens[0]} and {trace.example.tokens[-1]}"
    counted = ["len", at("example", "ids")]
    wrong = {
        words: ("It has that many words.", "counts words instead of tokens"),
        len(text): ("It has that many characters.", "counts characters instead of tokens"),
        len(ids) - SPECIAL: (f"The two special tokens, {special}, are missing.", "leaves out special tokens"),
        words + SPECIAL: (
            "That is one token for each word and the two special tokens.",
            "takes every word for exactly one token",
        ),
    }
    return Draft(
        prompt=f"{excerpt(text)} has {formats.count(words)} words. As how many tokens does the model read it?",
        right=Claim(
            text=_tokens_in_words(len(ids)),
            why=f"The example has {len(ids)} token ids, {special} among them.",
            holds=["eq", counted, len(ids)],
        ),
        wrong=[
            Claim(text=_tokens_in_words(count), why=why, holds=["eq", counted, count], misconception=misconception)
            for count, (why, misconception) in wrong.items()
        ],
        hints=[
            "A token is a word, a part of a word, or a punctuation mark.",
            f"Punctuation marks are tokens, too; {special} are added to every text.",
            "Section 2 of the page shows the example cut into its tokens.",
        ],
        solution=[
            "The tokens are " + " | ".join(token.strip() for token in trace.example.tokens) + ".",
            f"That makes {len(ids)}, the two special tokens included.",
        ],
    )


def _tokens_in_words(count: int) -> str:
    return f"{formats.count(count)} tokens"


def _has_more_tokens_than_words(trace: RunTrace) -> bool:
    tokenizer, text = trace.tokenizer, None if trace.example is None else trace.example.clean_text
    if text is not None and WITHOUT_BLANKS.search(text):
        return False
    return tokenizer is not None and tokenizer.tokens_per_word is not None and tokenizer.tokens_per_word >= 1.05


def _has_subwords(trace: RunTrace) -> bool:
    """Whether rare words are cut; of a vocabulary of whole words, they are unknown."""
    return _has_more_tokens_than_words(trace) and trace.tokenizer is not None and trace.tokenizer.kind != "words"


def _subwords(trace: RunTrace, _rng: Random) -> Draft:
    assert trace.tokenizer is not None and trace.tokenizer.tokens_per_word is not None
    ratio = at("tokenizer", "tokens_per_word")
    return Draft(
        prompt=f"The tokenizer makes {trace.tokenizer.tokens_per_word:.2f} tokens of a word on average. What does a "
        "figure above 1 mean?",
        right=Claim(
            text="Some words are cut into several subwords, or have punctuation marks that are tokens of their own.",
            why="A frequent word is one token; a rare word is put together from subwords in the vocabulary.",
            holds=["gt", ratio, 1],
        ),
        wrong=[
            Claim(
                text="Every character is a token.",
                why=f"Then a token would have 1 character; it has {trace.tokenizer.characters_per_token or 0:.1f}.",
                holds=["lt", at("tokenizer", "characters_per_token"), 1.1],
                misconception="takes tokens for characters",
            ),
            Claim(
                text="Every word is exactly one token.",
                why="Then the figure would be 1.",
                holds=["eq", ratio, 1],
                misconception="takes tokens for words",
            ),
            Claim(
                text="Words that are missing from the vocabulary make the rest.",
                why=f"{formats.percent(trace.tokenizer.unknown_fraction or 0)} of the tokens are unknown; subwords "
                "leave hardly any text without a token.",
                holds=["ge", at("tokenizer", "unknown_fraction"), ["sub", 1, ["div", 1, ratio]]],
                misconception="expects a rare word to become an unknown token",
            ),
        ],
        hints=[
            "The vocabulary is limited, so it cannot have an entry for every word.",
            "Look at how a rare word is cut in section 2.",
        ],
        solution=[
            f"On average a word takes {trace.tokenizer.tokens_per_word:.2f} tokens.",
            "The part above 1 comes from words that are cut and from punctuation marks.",
        ],
    )


def _words_to_tokens(trace: RunTrace, rng: Random) -> Draft:
    assert trace.tokenizer is not None and trace.tokenizer.tokens_per_word is not None
    words, ratio = rng.randrange(200, 1000, 50), at("tokenizer", "tokens_per_word")
    shown = trace.tokenizer.tokens_per_word
    return Draft(
        prompt=f"The tokenizer makes {shown:.2f} tokens of a word on average. About how many tokens does a text of "
        f"{words} words have?",
        number=["mul", words, ratio],
        tolerance=max(0.005 * words, 1),
        unit="tokens",
        wrong_numbers=[
            WrongNumber(["div", words, ratio], "That is words divided by the ratio.", "divides instead of multiplying"),
            WrongNumber(words, "That would be one token for each word.", "takes tokens for words"),
            WrongNumber(
                ["mul", words, at("tokenizer", "characters_per_token")],
                "That multiplies by the characters of a token.",
                "mixes up tokens per word and characters per token",
            ),
        ],
        hints=["A word gives at least one token.", f"Multiply: {words} words, {shown:.2f} tokens for each."],
        solution=[f"{words} x {shown:.2f} = {words * shown:,.0f} tokens."],
    )


def _has_vocabulary(trace: RunTrace) -> bool:
    return trace.tokenizer is not None and trace.tokenizer.vocab_size >= 100


def _uniform_loss(trace: RunTrace, _rng: Random) -> Draft:
    assert trace.tokenizer is not None
    size, reads = trace.tokenizer.vocab_size, at("tokenizer", "vocab_size")
    value = evaluate(["ln", size], {})
    return Draft(
        prompt=f"The vocabulary has {formats.count(size)} tokens. Which loss, in nats, does a model have that gives "
        "each "
        "of them the same probability?",
        number=["ln", reads],
        tolerance=0.05,
        unit="nats",
        wrong_numbers=[
            WrongNumber(
                ["div", ["ln", reads], ["ln", 2]],
                "That is the logarithm to base 2: bits, not nats.",
                "mixes up bits and nats",
            ),
            WrongNumber(
                ["div", ["ln", reads], ["ln", 10]],
                "That is the logarithm to base 10.",
                "takes the logarithm to base 10 for the natural one",
            ),
            WrongNumber(
                ["div", 1, reads], "That is the probability of a token, not the loss.", "takes a probability for a loss"
            ),
        ],
        hints=[
            "The loss of a token is minus the natural logarithm of its probability.",
            f"The probability is 1/{size}, so the loss is ln {size}.",
        ],
        solution=[f"-ln(1/{size}) = ln {size} = {value:.2f} nats."],
    )


# ---- what was dropped


def _dropping_steps(trace: RunTrace) -> list[tuple[FunnelStep, int]]:
    steps = [] if trace.funnel is None else trace.funnel.steps
    pairs = [(step, before.documents - step.documents) for before, step in pairwise(steps)]
    return [(step, dropped) for step, dropped in pairs if dropped > 0]


def _has_dropping_steps(trace: RunTrace) -> bool:
    return len(_dropping_steps(trace)) >= 2


def _funnel(trace: RunTrace, _rng: Random) -> Draft:
    assert trace.funnel is not None
    steps, dropped = trace.funnel.steps, _dropping_steps(trace)
    documents = ["map", at("funnel", "steps"), "documents"]
    lost = ["sub", ["first", documents], ["last", documents]]
    named = [(f"the step “{step.step.replace('_', ' ')}”", count) for step, count in dropped]
    if len(named) > MOST_STEPS:
        by_count = sorted(range(len(named)), key=lambda place: -named[place][1])
        kept = sorted(by_count[: MOST_STEPS - 1])
        others = [named[place][1] for place in by_count[MOST_STEPS - 1 :]]
        named = [named[place] for place in kept]
        named.append((f"{len(others)} other steps together", sum(others)))
    rules = ", ".join(f"{formats.count(count)} by {name}" for name, count in named)
    counts = " - ".join(formats.count(count) for _, count in named)
    return Draft(
        prompt=f"Of {formats.count(steps[0].documents)} documents, these were dropped: {rules}. How many are left?",
        number=["last", documents],
        tolerance=0.0 if steps[0].documents < EXACT else steps[0].documents / 10_000,
        unit="documents",
        wrong_numbers=[
            WrongNumber(lost, "That many were dropped.", "answers with what was dropped instead of what is left"),
            WrongNumber(
                ["add", ["last", documents], named[-1][1]],
                "The last count is left out.",
                "does not subtract every step",
            ),
        ],
        hints=["Each step takes what the step before it left.", "Subtract every count from the first."],
        solution=[f"{formats.count(steps[0].documents)} - {counts} = {formats.count(steps[-1].documents)} documents."],
    )


def _stage_with_rules(trace: RunTrace) -> tuple[int, Stage] | None:
    """The stage that drops documents, if one of its rules leads. Others drop labelled rows or unreadable input."""
    for position, stage in enumerate(trace.stages):
        if stage.name != "preprocess":
            continue
        counts = sorted((each.count for each in stage.dropped), reverse=True)
        if len(counts) >= 3 and counts[0] >= LEAD * counts[1]:
            return position, stage
    return None


def _has_rules(trace: RunTrace) -> bool:
    return _stage_with_rules(trace) is not None


def _rule(trace: RunTrace, _rng: Random) -> Draft:
    found = _stage_with_rules(trace)
    assert found is not None
    position, stage = found
    counts = ["map", at("stages", position, "dropped"), "count"]
    ranked = sorted(enumerate(stage.dropped), key=lambda pair: -pair[1].count)[:4]
    claims = [
        Claim(
            text=f"{each.rule.replace('_', ' ').capitalize()}: {each.reason}.",
            why=f"This rule dropped {formats.count(each.count)} documents.",
            holds=["eq", ["argmax", counts], index],
            misconception="guesses the rule instead of reading its count",
        )
        for index, each in ranked
    ]
    return Draft(
        prompt=f"In {stage.name}, which rule dropped the most documents of this run?",
        right=claims[0],
        wrong=claims[1:],
        hints=[
            "Every dropped document is counted under the rule that dropped it.",
            "Section 2 lists rules and counts.",
        ],
        solution=[f"{each.rule.replace('_', ' ').capitalize()}: {formats.count(each.count)}." for _, each in ranked],
    )


# ---- rows


def _view(trace: RunTrace, name: str) -> tuple[int, TokenView] | None:
    views = [] if trace.tokenizer is None else trace.tokenizer.views
    return next(((i, view) for i, view in enumerate(views) if view.name == name and len(view.shape) == 2), None)


def _has_padding(trace: RunTrace) -> bool:
    found = _view(trace, "rows")
    return found is not None and 0.05 <= found[1].padding_fraction <= 0.95 and found[1].shape[1] >= 8


def _padding(trace: RunTrace, _rng: Random) -> Draft:
    found = _view(trace, "rows")
    assert found is not None
    index, view = found
    rows, length = view.shape
    fraction = at("tokenizer", "views", index, "padding_fraction")
    reads_length = at("tokenizer", "views", index, "shape", 1)
    kept = length * (1 - view.padding_fraction)
    return Draft(
        prompt=f"With one document per row, the text makes {formats.count(rows)} rows of {length} positions, and "
        f"{formats.percent(view.padding_fraction)} of all positions are padding. How many positions of a row hold a "
        "token, "
        "on average?",
        number=["mul", reads_length, ["sub", 1, fraction]],
        tolerance=max(0.01 * length, 0.1),
        unit="positions",
        wrong_numbers=[
            WrongNumber(["mul", reads_length, fraction], "That many are padding.", "takes padding for text"),
            WrongNumber(reads_length, "That is the length of a row, with its padding.", "leaves out padding"),
        ],
        hints=[
            "Rows of a batch have one length, so shorter texts are filled up with padding.",
            f"{formats.percent(1 - view.padding_fraction)} of the {length} positions hold a token.",
        ],
        solution=[f"{length} x (1 - {view.padding_fraction:.3f}) = {kept:.1f} positions."],
    )


def _has_two_views(trace: RunTrace) -> bool:
    rows, packed = _view(trace, "rows"), _view(trace, "packed")
    if rows is None or packed is None:
        return False
    return _positions(rows[1]) >= 1.1 * _positions(packed[1])


def _positions(view: TokenView) -> int:
    return view.shape[0] * view.shape[1]


def _packing(trace: RunTrace, _rng: Random) -> Draft:
    rows, packed = _view(trace, "rows"), _view(trace, "packed")
    assert rows is not None and packed is not None
    count = [
        ["mul", at("tokenizer", "views", index, "shape", 0), at("tokenizer", "views", index, "shape", 1)]
        for index in (rows[0], packed[0])
    ]
    saved = _positions(rows[1]) - _positions(packed[1])
    shapes = [f"{formats.count(view.shape[0])} x {view.shape[1]}" for _, view in (rows, packed)]
    return Draft(
        prompt=f"With one document per row, the tokens have the shape {shapes[0]}; with several documents in a row, "
        f"{shapes[1]}. By how many per cent does packing lower the number of positions to compute?",
        number=["mul", 100, ["sub", 1, ["div", count[1], count[0]]]],
        tolerance=0.5,
        unit="%",
        wrong_numbers=[
            WrongNumber(
                ["mul", 100, ["div", count[1], count[0]]],
                "That fraction is left.",
                "answers with what is left, not what is saved",
            ),
            WrongNumber(
                ["mul", 100, ["sub", ["div", count[0], count[1]], 1]],
                "That is relative to the packed rows.",
                "divides by the smaller number",
            ),
        ],
        hints=["Positions are rows times length.", "Divide the positions of both shapes, and subtract from 1."],
        solution=[
            f"{formats.count(_positions(rows[1]))} positions become {formats.count(_positions(packed[1]))}.",
            f"{formats.count(saved)} fewer are {plain_number(round(100 * saved / _positions(rows[1]), 1))} %.",
        ],
    )


TEMPLATES = (
    Template("Q-TOKENS", "easy", "tokens", "flow", _has_short_example, _tokens),
    Template("Q-SUBWORDS", "easy", "subwords", "flow", _has_subwords, _subwords),
    Template("Q-PER-WORD", "easy", "tokens per word", "flow", _has_more_tokens_than_words, _words_to_tokens),
    Template("Q-FUNNEL", "easy", "cleaning", "flow", _has_dropping_steps, _funnel),
    Template("Q-RULE", "easy", "cleaning", "flow", _has_rules, _rule),
    Template("Q-LNV", "medium", "loss of a uniform guess", "flow", _has_vocabulary, _uniform_loss),
    Template("Q-PADDING", "medium", "padding", "flow", _has_padding, _padding),
    Template("Q-PACKING", "medium", "packing", "flow", _has_two_views, _packing),
)
