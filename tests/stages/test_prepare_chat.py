"""Stage 4 for conversations: a folder with rows, tokens and a tokenizer that transformers loads, or a sentence."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from pretune.data.chat_rows import load_chats
from pretune.errors import FolderInTheWayError, InputDataError, ModelNotFoundError, UsageError
from pretune.runtime.events import Event, read_events
from pretune.runtime.manifest import Manifest, check_hashes
from pretune.settings import PrepareConfig, SplitConfig
from pretune.stages.prepare_chat import prepare_chat
from pretune.text.chat.chat_lines import read_chat_lines
from pretune.text.chat.notice import read_notice, write_notice
from pretune.text.chat.tokens import has_chat_tokens, read_template
from pretune.text.collect.protected_texts import protected_texts
from pretune.text.reading_report import Findings
from pretune.text.seen_texts import PRETRAINING, save_seen
from pretune.text.splits import SPLITS
from pretune.text.tokenizer.tokenizer import load_tokenizer

Pairs = list[tuple[str, str]]


def write(path: Path, pairs: Pairs) -> Path:
    lines = [json.dumps({"question": question, "answer": reply}) + "\n" for question, reply in pairs]
    path.write_text("".join(lines), encoding="utf-8")
    return path


PAIRS = [(f"Was the hotel number {n} cold?", f"It was not, the {n} rooms were warm.") for n in range(120)]


@pytest.fixture
def pairs_file(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", PAIRS)


@pytest.fixture
def foreign_base(tmp_path: Path) -> Path:
    """A byte-level tokenizer without special tokens."""
    backend = tokenizers.Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, show_progress=False))
    (tmp_path / "foreign").mkdir()
    backend.save(str(tmp_path / "foreign" / "tokenizer.json"))
    return tmp_path / "foreign"


def run(file: Path, out: Path, base: Path, test: Path | None = None, **settings: Any) -> Manifest:
    config = PrepareConfig(**{name: settings.pop(name) for name in ("max_seq_len", "long_texts") if name in settings})
    split = SplitConfig(task="chat", **settings)
    return prepare_chat(file, out, config, base=base, test_conversations=test, split=split)


def events_of(out: Path, kind: str) -> list[Event]:
    return [event for event in read_events(out) if event["event"] == kind]


def sentences(out: Path, kind: str) -> str:
    return "\n".join(event["sentence"] for event in events_of(out, kind))


def test_the_folder_has_all_that_fine_tuning_needs(pairs_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = run(pairs_file, out, tokenizer_folder).summary
    assert (summary["task"], summary["files"]) == ("chat", ["pairs.jsonl"])
    assert sum(summary[split] for split in SPLITS) == 120
    tokenizer = load_tokenizer(out)
    assert has_chat_tokens(tokenizer)
    total = supervised = 0
    for split in SPLITS:
        chats, lines = load_chats(out, split), read_chat_lines(out, split)
        assert len(chats) == len(lines) == summary[split]
        total, supervised = total + len(chats.tokens), supervised + chats.num_supervised
        for index, conversation in enumerate(lines.conversations):
            start, end = chats.offsets[index : index + 2]
            learned = chats.tokens[start:end][chats.is_supervised[start:end]]
            assert tokenizer.decode(learned.tolist()) == conversation.last_reply
            assert tokenizer.surfaces(learned.tolist())[-1] == "<|im_end|>"
    assert (summary["tokens"], summary["supervised_tokens"]) == (total, supervised)
    assert summary["example"]["split"] == "test"
    check_hashes(out, run(pairs_file, out, tokenizer_folder))  # finished, so nothing is done again
    [flow] = events_of(out, "flow")  # by this name, the trace of a run knows that it has conversations
    assert "train conversations" in [quantity["name"] for quantity in flow["shape_out"]]


def test_an_adapter_without_a_tokenizer_is_prepared_for_by_that_of_its_base(
    pairs_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    base, adapter = shutil.copytree(tokenizer_folder, tmp_path / "base"), tmp_path / "adapter"
    write_notice(base, "Written by a base.")
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    found = run(pairs_file, tmp_path / "out", adapter)
    assert found.outputs == run(pairs_file, tmp_path / "of-base", base).outputs
    assert read_notice(tmp_path / "out") == "Written by a base."


def test_transformers_gives_the_same_ids(pairs_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    run(pairs_file, tmp_path / "out", tokenizer_folder)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    chats, lines = load_chats(tmp_path / "out", "train"), read_chat_lines(tmp_path / "out", "train")
    for index, conversation in enumerate(lines.conversations[:20]):
        ids = chats.tokens[chats.offsets[index] : chats.offsets[index + 1]].tolist()
        assert reference.apply_chat_template(conversation.to_json())["input_ids"] == ids


def test_lines_are_kept_for_a_foreign_tokenizer_only(
    tokenizer_folder: Path, foreign_base: Path, tmp_path: Path
) -> None:
    file = write(tmp_path / "pairs.jsonl", [(q, "One:\n- warm\n- cold\r\n") for q, _ in PAIRS])
    for name, base, expected in (
        ("for-own", tokenizer_folder, "One: - warm - cold"),
        ("for-foreign", foreign_base, "One:\n- warm\n- cold"),
    ):
        run(file, tmp_path / name, base)
        assert read_chat_lines(tmp_path / name, "train").conversations[0].last_reply == expected


def test_a_test_file_and_its_questions(pairs_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", [*PAIRS[:2], *((f"Other {n}?", "Yes.") for n in range(20))])
    summary = run(pairs_file, tmp_path / "out", tokenizer_folder, test).summary
    assert (summary["test"], summary["train"] + summary["validation"]) == (22, 118)
    assert "2 conversations left out of training" in sentences(tmp_path / "out", "warning")


def test_what_is_cut_is_said(tokenizer_folder: Path, tmp_path: Path) -> None:
    turns = [{"role": role, "content": "cold rooms and warm food " * 3} for role in ("user", "assistant")] * 4
    rows = [{"messages": [{"role": "user", "content": f"{n}?"}, turns[1], *turns]} for n in range(60)]
    rows += [{"messages": [{"role": "user", "content": f"{n}? " * 200}, turns[1]]} for n in range(60, 70)]
    system = {"role": "system", "content": "cold rooms and warm food " * 60}
    rows.append({"messages": [system, {"role": "user", "content": "and 70?"}, turns[1]]})
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = run(file, tmp_path / "out", tokenizer_folder, max_seq_len=128).summary
    assert (summary["turns_cut"], summary["message_cut"], summary["reply_cut_away"]) == (60, 10, 1)
    notices = sentences(tmp_path / "out", "notice")
    assert "60 conversations are longer than 128 tokens; the oldest" in notices
    assert "Of 10 conversations, the last question and its reply alone are longer" in notices
    assert "1 conversation left out, since nothing of the last reply fits" in sentences(tmp_path / "out", "warning")
    assert sum(summary[split] for split in SPLITS) == 70
    lengths = np.concatenate([load_chats(tmp_path / "out", split).lengths for split in SPLITS])
    assert lengths.max() <= 128


def test_a_line_that_is_left_out_is_that_of_its_file(pairs_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    talk = [{"role": "user", "content": "And the film?"}, {"role": "assistant", "content": "It was warm."}]
    crowded = [{"role": "system", "content": "cold rooms " * 200}, {"role": "user", "content": "And?"}, talk[1]]
    test = tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps({"messages": each}) + "\n" for each in (talk, crowded)))
    run(pairs_file, tmp_path / "out", tokenizer_folder, test, max_seq_len=128)
    assert f"(the first: {test}, line 2)" in sentences(tmp_path / "out", "warning")


def test_conversations_without_room_for_any_reply_are_refused(tokenizer_folder: Path, tmp_path: Path) -> None:
    system = {"role": "system", "content": "cold rooms and warm food " * 60}
    rows = [
        {"messages": [system, {"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "Yes."}]}
        for n in range(30)
    ]
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(
        InputDataError, match=r"fits within 64 tokens in any of the train .* \(.*chats.jsonl, line \d+,"
    ):
        run(file, tmp_path / "out", tokenizer_folder, max_seq_len=64)
    assert not (tmp_path / "out").exists()


def test_a_template_of_the_base_is_replaced_and_that_is_said(
    pairs_file: Path, foreign_base: Path, tmp_path: Path
) -> None:
    for number, (template, word) in enumerate((("[INST] {{ x }}", "others"), ("<|im_start|>{{ x }}", "ChatML too"))):
        (foreign_base / "chat_template.jinja").write_text(template)
        out = tmp_path / f"out-{number}"
        run(pairs_file, out, foreign_base)
        assert word in sentences(out, "notice")
        assert "<|im_end|>" in (read_template(out) or "")


def test_the_notice_of_the_base_is_handed_on_unless_it_is_switched_off(
    pairs_file: Path, foreign_base: Path, tmp_path: Path
) -> None:
    """It was handed on all the same, and in the other case it was missing in the manifest."""
    (foreign_base / "tokenizer_config.json").write_text("{}")
    write_notice(foreign_base, "This is no legal advice.")
    for number, (given, expected) in enumerate(((None, "This is no legal advice."), ("", None))):
        out = tmp_path / f"out-{number}"
        summary = prepare_chat(pairs_file, out, PrepareConfig(notice=given), base=foreign_base).summary
        assert (read_notice(out), summary["notice"]) == (expected, expected)


def test_texts_that_the_base_has_seen_are_warned_of(pairs_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((tokenizer_folder / name).read_bytes())
    save_seen(base, PRETRAINING, [reply for _, reply in PAIRS])
    summary = run(pairs_file, tmp_path / "out", base).summary
    held_out = summary["validation"] + summary["test"]
    assert f"on {held_out} of the {2 * held_out} messages" in sentences(tmp_path / "out", "warning")


def test_held_out_messages_can_be_kept_out_of_a_corpus(
    pairs_file: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    run(pairs_file, tmp_path / "out", tokenizer_folder)
    held_out = [
        message.content
        for split in ("validation", "test")
        for conversation in read_chat_lines(tmp_path / "out", split).conversations
        for message in conversation.messages
    ]
    assert sorted(protected_texts([tmp_path / "out" / "held-out.jsonl"], Findings())) == sorted(held_out)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"max_seq_len": 32}, InputDataError, "at least 64 tokens"),
        ({"long_texts": "windows"}, UsageError, "conversations are cut, at turns"),
        ({"text_column": "topic"}, InputDataError, "no column 'topic'"),
        ({"response_column": "topic"}, InputDataError, "no column 'topic'"),
        ({"validation_fraction": 1.5}, UsageError, "leave no room"),
    ],
)
def test_settings_that_cannot_work(
    pairs_file: Path,
    tokenizer_folder: Path,
    tmp_path: Path,
    settings: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        run(pairs_file, tmp_path / "out", tokenizer_folder, **settings)
    assert not (tmp_path / "out").exists()


def test_other_inputs_that_cannot_work(pairs_file: Path, tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="does not exist"):
        run(pairs_file, tmp_path / "out", tmp_path / "nothing")
    with pytest.raises(InputDataError, match="does not exist"):
        run(tmp_path / "nothing.jsonl", tmp_path / "out", tokenizer_folder)
    run(pairs_file, tmp_path / "out", tokenizer_folder)
    with pytest.raises(UsageError, match="is the folder of a stage"):
        run(tmp_path / "out", tmp_path / "other", tokenizer_folder)
    with pytest.raises(FolderInTheWayError, match="differs in"):
        run(pairs_file, tmp_path / "out", tokenizer_folder, test_fraction=0.2)


def test_the_model_reads_no_more_than_it_can(pairs_file: Path, run_folder: Path, tmp_path: Path) -> None:
    base = run_folder / "pretrain" / "checkpoint"
    assert run(pairs_file, tmp_path / "out", base).summary["max_seq_len"] == 512
    with pytest.raises(InputDataError, match="the model reads at most 512 tokens"):
        run(pairs_file, tmp_path / "other", base, max_seq_len=600)


def test_a_notice_of_reading_is_in_the_log(tmp_path: Path, tokenizer_folder: Path) -> None:
    rows = "".join(f'"He said \\"{question}\\" twice","{reply}"\n' for question, reply in PAIRS)
    (tmp_path / "pairs.csv").write_text(f"question,answer\n{rows}", encoding="utf-8")
    run(tmp_path / "pairs.csv", tmp_path / "prepare", tokenizer_folder)
    assert 'pairs.csv: quotes inside cells are escaped as \\".' in sentences(tmp_path / "prepare", "notice")
