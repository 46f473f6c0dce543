"""The data flow of a run, from its events: each stage's input and output, dropped documents, one example."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from pretune.run_trace import formats
from pretune.reporting.sections.phases import MASK, last_of, of_stage, synthetic_note
from pretune.reporting.terminal import (
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
from pretune.runtime.events import Event

STAGES = ("collect", "preprocess", "pretrain", "prepare", "finetune")
SPLIT = "split"  # comes before stage 2
CONTROLS = ("scratch", "compare")
TOKENIZERS = {"bpe": "byte-level BPE", "wordpiece": "WordPiece", "words": "whole words"}
EXAMPLE_LIMIT = 300  # characters of the example
TOKENS_SHOWN = 24
DROPPED_EXAMPLES = 1  # samples of dropped text for each rule of a whole run
DROPPED_EXAMPLES_OF_STAGE = 3  # if a stage is shown alone


def render_flow(events: list[Event], page: Page) -> Lines:
    """The five stages in a table (or one stage alone), dropped documents, the tokenizer, the example, the messages."""
    lines = heading("DATA FLOW", synthetic_note(events), page)
    lines += _stages(events, page)
    lines += _dropped(events, page)
    lines += _tokenizer(events, page)
    lines += render_example(events, page)
    return lines + _messages(events, page)


# ---- the stages


def _stages(events: list[Event], page: Page) -> Lines:
    columns = [
        Column("stage"),
        Column("in", wraps=True),
        Column("out", wraps=True),
        Column("dropped", "right"),
        Column("time", "right"),
        Column("memory", "right", style="dim"),
    ]
    is_whole_run = len({event["stage"] for event in events}) > 1
    shown = [(number, s) for number, s in enumerate(STAGES, start=1) if is_whole_run or of_stage(events, s)]
    rows: list[Row] = [_stage_row(events, stage, f"{number} {stage}") for number, stage in shown]
    if of_stage(events, SPLIT):
        rows.insert(1 if is_whole_run else 0, _stage_row(events, SPLIT, f"  {SPLIT}", "dim"))
    rows += [_stage_row(events, stage, f"  {stage}", "dim") for stage in CONTROLS if of_stage(events, stage)]
    if is_whole_run:
        seconds = sum(event["seconds"] for event in events if event["event"] == "stage_finished")
        rows.append([Cell("  total", "bold"), "", "", "", Cell(formats.duration(seconds), "bold"), ""])
    if page.width < ROOMY:
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    return table(columns, rows, page)


def _stage_row(events: list[Event], stage: str, name: str, style: str = "") -> Row:
    flow, finished = last_of(events, stage, "flow"), last_of(events, stage, "stage_finished")
    if not of_stage(events, stage):
        return [Cell(name, "dim"), Cell("not run", "dim"), "", "", "", ""]
    if not finished:
        return [Cell(name, "bold"), Cell("not finished", "yellow"), "", "", "", ""]
    dropped = sum(entry["count"] for entry in flow.get("dropped", []))
    seconds = finished.get("seconds", flow.get("seconds"))
    memory = finished.get("peak_memory_bytes", flow.get("peak_memory_bytes"))
    return [
        Cell(name, style or "bold"),
        Cell(_shape(flow.get("shape_in", [])), style),
        Cell(_shape(flow.get("shape_out", [])), style),
        Cell(formats.count(dropped) if dropped else "-", style),
        Cell("-" if seconds is None else formats.duration(seconds), style),
        "" if memory is None else formats.size(memory),
    ]


def _shape(entries: list[dict[str, Any]]) -> str:
    return "\n".join(_quantity(str(entry["name"]), entry["value"]) for entry in entries) or "-"


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
    if words.endswith(("share", "fraction")):
        return f"{formats.percent(value)} {words}"
    return f"{formats.count(value) if float(value).is_integer() else formats.nats(value)} {words}"


# ---- dropped documents and rows


def _dropped(events: list[Event], page: Page) -> Lines:
    rows: list[Row] = []
    is_whole_run = len({event["stage"] for event in events}) > 1
    most = DROPPED_EXAMPLES if is_whole_run else DROPPED_EXAMPLES_OF_STAGE
    for stage in (STAGES[0], SPLIT, *STAGES[1:], *CONTROLS):
        for entry in last_of(events, stage, "flow").get("dropped", []):
            # Input that could not become a document has a place and no text.
            shown = place if stage == "collect" else quote
            samples = [shown(text, 48) if clean(text) else "(empty)" for text in entry.get("examples", [])[:most]]
            reason = clean(entry.get("reason", ""), 160)
            rule = clean(str(entry["rule"]).replace("_", " "), 32)
            rows.append([stage, rule, formats.count(entry["count"]), reason, Cell("\n".join(samples), "dim")])
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


def _tokenizer(events: list[Event], page: Page) -> Lines:
    report = last_of(events, "preprocess", "tokenizer_report")
    if not report:
        return []
    kind = TOKENIZERS.get(str(report.get("kind")))
    parts = [*([kind] if kind else []), f"vocabulary of {formats.count(report['vocab_size'])} tokens"]
    if "fertility" in report:
        parts.append(f"{report['fertility']:.2f} tokens per word")
    if "characters_per_token" in report:
        parts.append(f"{report['characters_per_token']:.1f} characters per token")
    if "unknown_share" in report:
        parts.append(f"{formats.percent(report['unknown_share'])} unknown")
    if "round_trip_share" in report:
        parts.append(f"{formats.percent(report['round_trip_share'])} of texts restored exactly")
    longest = ", ".join(quote(token, 24) for token in report.get("longest_tokens", [])[:4])
    parts += [f"longest tokens {longest}"] if longest else []
    if report.get("encoders"):
        encoders = " and ".join(clean(encoder, 24) for encoder in report["encoders"])
        parts.append(f"trained with {clean(report.get('trainer', '?'), 24)}, encoded with {encoders}")
    lines = paragraph(" · ".join(parts), page, indent=1, first="tokenizer  ")
    if report.get("size_rule"):
        lines += paragraph(clean(report["size_rule"], 400), page, indent=1, first=" " * 11, style="dim")
    return [Text(""), *lines, *_views(events, page)]


def _views(events: list[Event], page: Page) -> Lines:
    """The training tokens as rows of equal length: their number, and the fraction of padding."""
    views = last_of(events, "preprocess", "views")
    names = {"rows": "with one document per row", "packed": "packed"}
    parts = [
        f"{' x '.join(formats.count(size) for size in views[view]['shape'])} {name}, "
        f"{formats.percent(views[view]['padding_share'])} padding"
        for view, name in names.items()
        if view in views
    ]
    return paragraph(" · ".join(parts), page, indent=1, first="as rows    ") if parts else []


# ---- one example through all stages


def render_example(events: list[Event], page: Page) -> Lines:
    """The same text at each stage: as found, cleaned and tokenized, masked, labelled, classified."""
    examples = {stage: last_of(events, stage, "example") for stage in STAGES}
    if not any(examples.values()):
        return []
    lines = [Text(""), Text("").append("One example through all stages", style="bold")]
    describe = {
        "collect": _collected,
        "preprocess": _preprocessed,
        "pretrain": _pretrained,
        "prepare": _prepared,
        "finetune": _finetuned,
    }
    for number, stage in enumerate(STAGES, start=1):
        if examples[stage]:
            first = f"{number} {stage:<12}"
            for sentence in describe[stage](examples[stage]):
                lines += paragraph(sentence, page, indent=1, first=first)
                first = " " * len(first)
    return lines


def _collected(example: Event) -> list[str]:
    source = example.get("source")
    return [quote(example.get("text", ""), EXAMPLE_LIMIT), *([f"from {place(source, 70)}"] if source else [])]


def _preprocessed(example: Event) -> list[str]:
    before, after = example.get("text_before"), example.get("text", "")
    sentences = ["text unchanged" if before in (None, after) else f"cleaned: {quote(after, EXAMPLE_LIMIT)}"]
    tokens, ids = example.get("tokens") or [], example.get("ids") or []
    if tokens:
        shown = _join_tokens(tokens[:TOKENS_SHOWN])
        more = f" | … {len(tokens) - TOKENS_SHOWN} more" if len(tokens) > TOKENS_SHOWN else ""
        sentences.append(f"{len(tokens)} tokens: {shown}{more}")
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


def _pretrained(example: Event) -> list[str]:
    text = clean(example.get("masked_text", example.get("text", "")))
    sentences = [quote(around(text, MASK, EXAMPLE_LIMIT))]
    guesses = [
        f"{quote(p['word'], 20)} {formats.percent(p['probability'])}" for p in example.get("predictions", [])[:3]
    ]
    if guesses:
        masked = f"the masked word is {quote(example.get('true_word', '?'), 30)}"
        if example.get("probability") is not None and example.get("rank"):
            masked += f" ({formats.percent(example['probability'])}, rank {formats.count(example['rank'])})"
        sentences.append(f"predicted: {', '.join(guesses)}; {masked}")
    return sentences


def _prepared(example: Event) -> list[str]:
    parts = []
    if example.get("label") is not None:
        parts.append(f"label {quote(example['label'], 40)}")
    if example.get("split"):
        parts.append(f"in the {clean(example['split'], 20)} split")
    if example.get("num_tokens") is not None:
        parts.append(f"{formats.count(example['num_tokens'])} tokens")
    return [", ".join(parts) or "not among the labelled rows"]


def _finetuned(example: Event) -> list[str]:
    if example.get("predicted") is None:
        return ["not among the labelled rows"]
    sentence = f"predicted {quote(example['predicted'], 40)}"
    if example.get("probability") is not None:
        sentence += f" with probability {formats.percent(example['probability'])}"
    if example.get("label") is not None:
        is_right = example["label"] == example["predicted"]
        sentence += ", which is correct" if is_right else f"; the label is {quote(example['label'], 40)}"
    return [sentence]


# ---- messages


def _messages(events: list[Event], page: Page) -> Lines:
    lines: Lines = []
    for event in events:
        if event["event"] not in ("detected", "warning", "notice"):
            continue
        is_warning = event["event"] == "warning"
        sentence = clean(event.get("sentence", ""), 400)
        if is_warning and event.get("count"):
            sentence += f" ({formats.count(event['count'])})"
        first = f"{shorten(str(event['stage']), 11):<11} {'! ' if is_warning else '· '}"
        lines += paragraph(sentence, page, indent=1, first=first, style="yellow" if is_warning else "")
    return [Text(""), Text("").append("Messages from the stages", style="bold"), *lines] if lines else []
