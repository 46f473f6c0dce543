"""The data flow of a run, from its trace: each stage's input and output, dropped documents, one example."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from pretune.run_trace import formats
from pretune.run_trace.carried_example import TOKENS as MOST_TOKENS
from pretune.run_trace.stages import SYNTHETIC_NOTE
from pretune.terminal import (
    ROOMY,
    Cell,
    Column,
    Lines,
    Page,
    Row,
    around,
    clean,
    heading,
    paragraph,
    place,
    quote,
    shorten,
    table,
)
from pretune.trace_schema import Example, Quantity, RunTrace, Stage, TokenizerReport

MASK = "[MASK]"  # in the place of a masked word
TOKENIZERS = {"bpe": "byte-level BPE", "wordpiece": "WordPiece", "words": "whole words"}
EXAMPLE_LIMIT = 300  # characters of the example
TOKENS_SHOWN = 24
DROPPED_EXAMPLES = 1  # samples of dropped text for each rule of a whole run
DROPPED_EXAMPLES_OF_STAGE = 3  # if a stage is shown alone
NOT_LABELLED = "not among the labelled rows"


def synthetic_note(trace: RunTrace) -> str:
    """The note that every section shows on generated data; empty for other data."""
    return SYNTHETIC_NOTE if trace.run.is_synthetic else ""


def render_flow(trace: RunTrace, page: Page) -> Lines:
    """The five stages in a table (or one stage alone), dropped documents, the tokenizer, the example, the messages."""
    lines = heading("DATA FLOW", synthetic_note(trace), page)
    lines += _stages(trace, page)
    lines += _dropped(trace, page)
    lines += _tokenizer(trace, page)
    lines += render_example(trace, page)
    return lines + _messages(trace, page)


# ---- the stages


def _stages(trace: RunTrace, page: Page) -> Lines:
    columns = [
        Column("stage"),
        Column("in", wraps=True),
        Column("out", wraps=True),
        Column("dropped", "right"),
        Column("time", "right"),
        Column("memory", "right", style="dim"),
    ]
    rows: list[Row] = [_stage_row(stage) for stage in trace.stages]
    if len(trace.stages) > 1:
        total = formats.duration(trace.run.seconds or 0.0)
        rows.append([Cell("  total", "bold"), "", "", "", Cell(total, "bold"), ""])
    if page.width < ROOMY:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return table(columns, rows, page)


def _stage_row(stage: Stage) -> Row:
    name = f"  {stage.name}" if stage.number is None else f"{stage.number} {stage.name}"
    style = "dim" if stage.number is None else ""
    if stage.status == "missing":
        return [Cell(name, "dim"), Cell("not run", "dim"), "", "", "", ""]
    if stage.status == "running":
        return [Cell(name, "bold"), Cell("not finished", "yellow"), "", "", "", ""]
    dropped = sum(entry.count for entry in stage.dropped)
    return [
        Cell(name, style or "bold"),
        Cell(_shape(stage.shape_in), style),
        Cell(_shape(stage.shape_out), style),
        Cell(formats.count(dropped) if dropped else "-", style),
        Cell("-" if stage.seconds is None else formats.duration(stage.seconds), style),
        "" if stage.peak_memory_bytes is None else formats.size(stage.peak_memory_bytes),
    ]


def _shape(entries: list[Quantity]) -> str:
    return "\n".join(_quantity(entry.name, entry.value) for entry in entries) or "-"


def _quantity(name: str, value: Any) -> str:
    """A named value with its unit: 200,000 documents; 12 MB; 10,000 x 50 tokens; language: de."""
    words = clean(name.replace("_", " "), 40)
    if isinstance(value, bool) or not isinstance(value, int | float | list | tuple):
        return f"{words}: {clean(value, 60)}"
    if isinstance(value, list | tuple):
        parts = [formats.count(part) if isinstance(part, int | float) else clean(part, 20) for part in value]
        return f"{' x '.join(parts)} {words}"
    if words.endswith("bytes"):
        return f"{formats.size(value)} {words.removesuffix('bytes').strip()}".strip()
    return f"{formats.count(value)} {formats.unit_of(words, value)}"


# ---- dropped documents and rows


def _dropped(trace: RunTrace, page: Page) -> Lines:
    rows: list[Row] = []
    most = DROPPED_EXAMPLES if len(trace.stages) > 1 else DROPPED_EXAMPLES_OF_STAGE
    for stage in trace.stages:
        for entry in stage.dropped:
            # Input that could not become a document has a place and no text.
            shown = place if stage.name == "collect" else quote
            samples = [shown(text, 48) if clean(text) else "(empty)" for text in entry.examples[:most]]
            rule = clean(entry.rule.replace("_", " "), 32)
            count, reason = formats.count(entry.count), clean(entry.reason, 160)
            rows.append([stage.name, rule, count, reason, Cell("\n".join(samples), "dim")])
    if not rows:
        return [Text(""), Text(" Nothing was dropped.", style="dim")]
    columns = [
        Column("dropped in"),
        Column("rule"),
        Column("count", "right"),
        Column("reason", wraps=True),
        Column("for example", wraps=True),
    ]
    return [Text(""), *table(columns, rows, page)]


def _tokenizer(trace: RunTrace, page: Page) -> Lines:
    report = trace.tokenizer
    if report is None:
        return []
    kind = TOKENIZERS.get(report.kind)
    parts = [*([kind] if kind else []), f"vocabulary of {formats.count(report.vocab_size)} tokens"]
    if report.tokens_per_word is not None:
        parts.append(f"{report.tokens_per_word:.2f} tokens per word")
    if report.characters_per_token is not None:
        parts.append(f"{report.characters_per_token:.1f} characters per token")
    if report.unknown_fraction is not None:
        parts.append(f"{formats.percent(report.unknown_fraction)} unknown")
    if report.round_trip_fraction is not None:
        parts.append(f"{formats.percent(report.round_trip_fraction)} of texts restored exactly")
    longest = ", ".join(quote(token, 24) for token in report.longest_tokens[:4])
    parts += [f"longest tokens {longest}"] if longest else []
    if report.encoders:
        encoders = " and ".join(clean(encoder, 24) for encoder in report.encoders)
        parts.append(f"trained with {clean(report.trainer or '?', 24)}, encoded with {encoders}")
    lines = paragraph(" · ".join(parts), page, indent=1, first="tokenizer  ")
    if report.size_rule:
        lines += paragraph(clean(report.size_rule, 400), page, indent=1, first=" " * 11, style="dim")
    return [Text(""), *lines, *_views(report, page)]


def _views(report: TokenizerReport, page: Page) -> Lines:
    """The training tokens as rows of equal length: their number, and the fraction of padding."""
    names = {"rows": "with one document per row", "packed": "packed"}
    parts = [
        f"{' x '.join(formats.count(size) for size in view.shape)} {names.get(view.name, view.name)}, "
        f"{formats.percent(view.padding_fraction)} padding"
        for view in report.views
    ]
    return paragraph(" · ".join(parts), page, indent=1, first="as rows    ") if parts else []


# ---- one example through all stages


def render_example(trace: RunTrace, page: Page) -> Lines:
    """The same text at each stage: as found, cleaned and tokenized, masked, labelled, classified."""
    example = trace.example
    if example is None:
        return []
    lines = [Text(""), Text("").append("One example through all stages", style="bold")]
    describe = {
        "collect": _collected,
        "preprocess": _preprocessed,
        "pretrain": _pretrained,
        "prepare": _prepared,
        "finetune": _finetuned,
    }
    for stage in trace.stages:
        if stage.status == "missing" or stage.name not in describe:
            continue
        first = f"{stage.number} {stage.name:<12}"
        for sentence in describe[stage.name](example, stage.status == "finished"):
            lines += paragraph(sentence, page, indent=1, first=first)
            first = " " * len(first)
    return lines


def _collected(example: Example, _is_finished: bool) -> list[str]:
    if example.text is None:
        return []
    return [quote(example.text, EXAMPLE_LIMIT), *([f"from {place(example.source, 70)}"] if example.source else [])]


def _preprocessed(example: Example, _is_finished: bool) -> list[str]:
    if example.clean_text is None:
        return []
    is_unchanged = example.text in (None, example.clean_text)
    sentences = ["text unchanged" if is_unchanged else f"cleaned: {quote(example.clean_text, EXAMPLE_LIMIT)}"]
    tokens, ids = example.tokens, example.ids
    if tokens:
        shown = _join_tokens(tokens[:TOKENS_SHOWN])
        more = f" | … {len(tokens) - TOKENS_SHOWN} more" if len(tokens) > TOKENS_SHOWN else ""
        first = "its first " if len(tokens) == MOST_TOKENS else ""  # of a long text, a trace has no more
        sentences.append(f"{first}{len(tokens)} tokens: {shown}{more}")
    if ids:
        sentences.append(f"token ids: {' '.join(map(str, ids[:TOKENS_SHOWN]))}" + " …" * (len(ids) > TOKENS_SHOWN))
    return sentences


def _join_tokens(tokens: list[str]) -> str:
    """Tokens with a bar between words and a dot between the subwords of a word.

    In BPE a word starts with a blank; in WordPiece a subword that continues a word starts with ##.
    """
    has_blanks = any(token.startswith(" ") for token in tokens)
    text = ""
    for index, token in enumerate(tokens):
        is_subword = has_blanks and index > 1 and not token.startswith((" ", "[")) and token[:1].isalnum()
        if not has_blanks and len(token) > 2 and token.startswith("##"):
            is_subword, token = True, token[2:]
        text += ("·" if is_subword else " | " if text else "") + (clean(token, 24) or "␣")
    return text


def _pretrained(example: Example, _is_finished: bool) -> list[str]:
    found = example.masked
    if found is None:
        return []
    sentences = [quote(around(clean(found.masked_text), MASK, EXAMPLE_LIMIT))]
    guesses = [f"{quote(guess.word, 20)} {formats.probability(guess.probability)}" for guess in found.predictions[:3]]
    if guesses:
        masked = f"the masked word is {quote(found.true_word, 30)}"
        if found.probability is not None and found.rank:
            masked += f" ({formats.probability(found.probability)}, rank {formats.count(found.rank)})"
        sentences.append(f"predicted: {', '.join(guesses)}; {masked}")
    return sentences


def _prepared(example: Example, is_finished: bool) -> list[str]:
    parts = []
    if example.label is not None:
        parts.append(f"label {quote(example.label, 40)}")
    if example.split:
        parts.append(f"in the {clean(example.split, 20)} split")
    if example.num_tokens is not None:
        parts.append(f"{formats.count(example.num_tokens)} tokens")
    return [", ".join(parts)] if parts else [NOT_LABELLED] * is_finished


def _finetuned(example: Example, is_finished: bool) -> list[str]:
    if example.predicted is None:
        return [NOT_LABELLED] * is_finished
    sentence = f"predicted {quote(example.predicted, 40)}"
    if example.probability is not None:
        sentence += f" with probability {formats.probability(example.probability)}"
    if example.label is not None:
        is_right = example.label == example.predicted
        sentence += ", which is correct" if is_right else f"; the label is {quote(example.label, 40)}"
    return [sentence]


# ---- messages


def _messages(trace: RunTrace, page: Page) -> Lines:
    lines: Lines = []
    for stage in trace.stages:
        for message in stage.messages:
            is_warning = message.kind == "warning"
            sentence = clean(message.sentence, 400)
            if is_warning and message.count:
                sentence += f" ({formats.count(message.count)})"
            first = f"{shorten(stage.name, 11):<11} {'! ' if is_warning else '· '}"
            lines += paragraph(sentence, page, indent=1, first=first, style="yellow" if is_warning else "")
    return [Text(""), Text("").append("Messages from the stages", style="bold"), *lines] if lines else []
