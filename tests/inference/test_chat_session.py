"""A conversation with a model: history, cutting, stopping, saving; parity with the template is that of text/chat."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.errors import ModelError, UsageError
from pretune.inference.chat_session import REPLY_FRACTION, ChatSession, answer, load_chat_session
from pretune.inference.generate import TextGenerator
from pretune.settings import Sampling
from pretune.text.chat.conversations import Message, Role
from pretune.text.chat.template import encode_prompt
from pretune.text.chat.tokens import turn_end_id

GREEDY = Sampling(max_tokens=8, temperature=0.0)


class Scripted(TextGenerator):
    """A generator that writes given texts, one after another, and keeps what it was asked."""

    def __init__(self, other: TextGenerator, texts: Sequence[str]) -> None:
        super().__init__(other.model, other.tokenizer)
        self.texts, self.prompts, self.was_closed = iter(texts), list[list[int]](), False

    def continue_ids(
        self, ids: Sequence[int], sampling: Sampling, stop_ids: Any = None, prefix: Any = None
    ) -> Iterator[int]:
        self.prompts.append(list(ids))
        self.sampling, self.stop_ids_given, self.prefix = sampling, stop_ids, prefix
        return self._ids(next(self.texts))

    def _ids(self, text: str) -> Iterator[int]:
        try:
            yield from self.tokenizer.encode_inside([text])[0]
        except GeneratorExit:
            self.was_closed = True
            raise


def test_the_reply_is_what_the_model_continues_greedily(chatty: TextGenerator) -> None:
    session = ChatSession(chatty, "Be brief.")
    shown = "".join(session.reply("The food was cold.", GREEDY))
    prompt = encode_prompt([Message("system", "Be brief."), Message("user", "The food was cold.")], chatty.tokenizer)
    ids = list(chatty.continue_ids(prompt, GREEDY, chatty.stop_ids | {turn_end_id(chatty.tokenizer)}))
    assert shown.strip() == chatty.tokenizer.decode(ids).rstrip("\ufffd").strip() != ""
    assert session.messages[-1] == Message("assistant", shown.strip())


def test_each_message_follows_the_history(chatty: TextGenerator) -> None:
    scripted = Scripted(chatty, ["The sun.", "In the east."])
    session = ChatSession(scripted)
    assert "".join(session.reply("What rises?", GREEDY)) == "The sun."
    assert "".join(session.reply("Where?", GREEDY)) == "In the east."
    assert scripted.prompts[1] == encode_prompt(
        [Message("user", "What rises?"), Message("assistant", "The sun."), Message("user", "Where?")], chatty.tokenizer
    )
    assert turn_end_id(chatty.tokenizer) in scripted.stop_ids_given
    session.reset()
    assert session.messages == []


def test_a_reply_that_is_stopped_is_kept_as_far_as_it_was_written(chatty: TextGenerator) -> None:
    scripted = Scripted(chatty, ["The sun rises in the east.", "Good."])
    session = ChatSession(scripted)
    reply = session.reply("What rises?", GREEDY)
    shown = next(reply) + next(reply)
    reply.close()
    assert scripted.was_closed
    assert session.messages == [Message("user", "What rises?"), Message("assistant", shown.strip())]
    assert "".join(session.reply("Go on.", GREEDY)) == "Good."


def test_without_a_reply_the_message_is_taken_back(chatty: TextGenerator) -> None:
    session = ChatSession(Scripted(chatty, ["", "Good."]))
    assert "".join(session.reply("What rises?", GREEDY)) == ""
    assert session.messages == []
    assert "".join(session.reply("How was it?", GREEDY)) == "Good."
    assert len(session.messages) == 2


def test_the_oldest_turns_are_left_out_and_the_system_stays(chatty: TextGenerator) -> None:
    scripted = Scripted(chatty, ["Cold."] * 8)
    session = ChatSession(scripted, "Be brief.")
    left_out = []
    for _ in range(8):
        list(session.reply("The food?", GREEDY))
        left_out.append(session.num_left_out)
    assert left_out[0] == 0 and left_out[-1] > 0
    assert left_out == sorted(left_out) and all(number % 2 == 0 for number in left_out)
    assert len(session.messages) == 17  # nothing is forgotten, only not read
    every = [Message("user", "The food?"), Message("assistant", "Cold.")] * 8
    for turn, (ids, number) in enumerate(zip(scripted.prompts, left_out, strict=True)):
        assert len(ids) + 8 <= chatty.max_seq_len
        expected = every[number : 2 * turn + 1]
        assert ids == encode_prompt([Message("system", "Be brief."), *expected], chatty.tokenizer)


@pytest.mark.parametrize("has_template", [True, False])
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=41).filter(lambda lengths: len(lengths) % 2 == 1),
    max_tokens=st.integers(1, 20),
    system=st.sampled_from([None, "Be brief."]),
)
@settings(max_examples=40, deadline=None)
def test_as_few_messages_as_possible_are_left_out(
    chatty: TextGenerator,
    generator: TextGenerator,
    has_template: bool,
    lengths: list[int],
    max_tokens: int,
    system: str | None,
) -> None:
    session = ChatSession(Scripted(chatty if has_template else generator, ["Cold."]), system)
    roles: list[Role] = ["user", "assistant"]
    asked = [Message(roles[place % 2], "cold " * length) for place, length in enumerate(lengths)]
    room = min(max_tokens, int(chatty.max_seq_len * REPLY_FRACTION))
    tries = [(place, session._encode(asked[place:])) for place in range(0, len(asked), 2)]
    fitting = [(ids, place) for place, ids in tries if len(ids) + room <= chatty.max_seq_len]
    if fitting:
        assert session._fit(asked, max_tokens) == fitting[0]


def test_a_reply_in_a_long_conversation_does_not_encode_it_for_each_message(
    chatty: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, encoded = ChatSession(Scripted(chatty, ["Cold."])), list[int]()
    session.turns = [Message("user", "The food was cold."), Message("assistant", "It was not.")] * 500
    encode = session._encode

    def count(turns: Sequence[Message]) -> list[int]:
        encoded.append(len(turns))
        return encode(turns)

    monkeypatch.setattr(session, "_encode", count)
    list(session.reply("The food?", GREEDY))
    assert session.num_left_out > 990
    assert sum(encoded) < 3 * 1001


def test_a_message_that_cannot_fit_is_refused_and_forgotten(chatty: TextGenerator) -> None:
    session = ChatSession(Scripted(chatty, ["Good."]))
    with pytest.raises(UsageError, match=r"The message has \d+ tokens .* reads 64, the reply included"):
        session.reply("The food was cold. " * 20, GREEDY)
    crowded = ChatSession(Scripted(chatty, ["Good."]), "The food was cold. " * 20)
    with pytest.raises(UsageError, match="The message of the system leaves no room"):
        crowded.reply("So?", GREEDY)
    with pytest.raises(UsageError, match="message is empty"):
        session.reply(" \n ", GREEDY)
    assert session.messages == []


def test_a_message_of_the_system_with_nothing_in_it_is_none(chatty: TextGenerator) -> None:
    without = encode_prompt([Message("user", "The food?")], chatty.tokenizer)
    for system in (None, "", " \n "):
        session = ChatSession(scripted := Scripted(chatty, ["Cold.", "Cold."]), system)
        list(session.reply("The food?", GREEDY))
        answer(scripted, [Message("system", system or ""), Message("user", "The food?")], GREEDY)
        assert scripted.prompts == [without, without]
        assert session.system is None and session.messages[0].role == "user"
    session.system = "Be  brief."
    assert session.messages[0] == Message("system", "Be brief.")


def test_typed_marks_stay_text(chatty: TextGenerator) -> None:
    scripted = Scripted(chatty, ["No."])
    list(ChatSession(scripted).reply("<|im_end|>", GREEDY))
    assert scripted.prompts[0].count(turn_end_id(chatty.tokenizer)) == 1


def test_a_model_without_the_template_continues_a_transcript(generator: TextGenerator) -> None:
    scripted = Scripted(generator, ["It was cold. User: And the film? Assistant: Funny.", "Us"])
    session = ChatSession(scripted)
    assert not session.has_template
    assert "".join(session.reply("How was the food?", GREEDY)).strip() == "It was cold."
    assert scripted.prompts[0] == begun(generator, "User: How was the food? Assistant:")
    assert "".join(session.reply("And you?", GREEDY)) == "Us"  # the beginning of what ends a reply
    talk = "User: How was the food? Assistant: It was cold. User: And you? Assistant:"
    assert scripted.prompts[1] == begun(generator, talk)


def begun(generator: TextGenerator, text: str) -> list[int]:
    """The ids of a text that the model was trained on, without its end."""
    return generator.tokenizer.encode(text)[:-1]


@pytest.mark.parametrize(("kind", "written"), [("bpe", "it was cold."), ("wordpiece", "it was cold .")])
def test_a_transcript_ends_at_the_next_question_as_the_tokenizer_writes_it(
    generator: TextGenerator, train_tokenizer: Callable[..., Any], kind: str, written: str
) -> None:
    tokenizer = train_tokenizer(["User: How was it? Assistant: It was cold."] * 50, kind, lowercase=True)
    lowercase = TextGenerator(generator.model, tokenizer)
    scripted = Scripted(lowercase, ["It was cold. User: How was it? Assistant: It was cold."])
    assert "".join(ChatSession(scripted).reply("How was it?", GREEDY)).strip() == written


def test_a_saved_conversation_is_one_line_and_nothing_is_overwritten(chatty: TextGenerator, tmp_path: Path) -> None:
    session = ChatSession(Scripted(chatty, ["Cold.", "Funny.", "Good."]), "Be brief.")
    with pytest.raises(UsageError, match="nothing to save yet"):
        session.save(tmp_path / "chat.jsonl")
    list(session.reply("The food?", GREEDY))
    file = session.save(tmp_path / "chat.jsonl")
    list(session.reply("The film?", GREEDY))
    session.save(file)  # again, by the same session
    [line] = file.read_text(encoding="utf-8").splitlines()
    roles = [(each["role"], each["content"]) for each in json.loads(line)["messages"]]
    assert roles[0] == ("system", "Be brief.")
    assert roles[1:] == [("user", "The food?"), ("assistant", "Cold."), ("user", "The film?"), ("assistant", "Funny.")]
    session.reset()
    list(session.reply("And now?", GREEDY))
    with pytest.raises(UsageError, match="nothing is ever overwritten"):
        session.save(file)  # another conversation
    with pytest.raises(UsageError, match="nothing is ever overwritten"):
        other = ChatSession(Scripted(chatty, ["Good."]))
        list(other.reply("So?", GREEDY))
        other.save(file)
    with pytest.raises(UsageError, match="does not exist"):
        session.save(tmp_path / "no" / "chat.jsonl")


def test_a_file_that_cannot_be_written_is_a_sentence(
    chatty: TextGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    session = ChatSession(Scripted(chatty, ["Cold."]))
    list(session.reply("The food?", GREEDY))
    for path in (tmp_path / ("a" * 300), "a\0b"):
        with pytest.raises(UsageError, match=r"cannot be written \(.*give another file"):
            session.save(path)
    with monkeypatch.context() as patch:
        patch.setattr("pretune.inference.chat_session.write_text", refuse)
        with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\); give another file"):
            session.save(tmp_path / "chat.jsonl")
    with pytest.raises(UsageError, match=r"~nobody-has-this-name does not exist; give a file in a folder that does"):
        session.save("~nobody-has-this-name/chat.jsonl")
    file = session.save(tmp_path / "chat.jsonl")
    file.write_text("what somebody else wrote", encoding="utf-8")
    with pytest.raises(UsageError, match="nothing is ever overwritten"):
        session.save(file)
    assert [each.content for each in session.messages] == ["The food?", "Cold."]


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(max_tokens=8, seed=3), Sampling(max_tokens=3, seed=1)])
def test_the_replies_are_those_of_a_model_that_reads_everything_again(
    chatty: TextGenerator, sampling: Sampling
) -> None:
    session, num_left_out = ChatSession(chatty, "Be brief."), []
    for turn in range(8):
        alone = ChatSession(chatty, session.system)
        alone.turns = list(session.turns)
        asked = ["The food?", "The film was", "A"][turn % 3]
        reply, expected = session.reply(asked, sampling), alone.reply(asked, sampling)
        if turn == 3:  # stopped
            assert [next(reply), next(reply)] == [next(expected), next(expected)]
            reply.close()
            expected.close()
        assert "".join(reply) == "".join(expected)
        assert session.turns == alone.turns
        num_left_out.append(session.num_left_out)
        if turn == 5:
            session.reset()
        if turn == 6:
            session.system = "Be kind."
    assert num_left_out[5] > num_left_out[0] == num_left_out[6] == 0


def positions_read(session: ChatSession, monkeypatch: pytest.MonkeyPatch, text: str, sampling: Sampling) -> int:
    """How many positions the model reads for a reply."""
    transformer, counts = session.generator.model.transformer, list[int]()
    read_on = type(transformer).read_on

    def count(ids: torch.Tensor, cache: Any) -> torch.Tensor:
        counts.append(ids.numel())
        return read_on(transformer, ids, cache)

    with monkeypatch.context() as patched:
        patched.setattr(transformer, "read_on", count)
        list(session.reply(text, sampling))
    return sum(counts)


def test_a_turn_reads_only_what_is_new(chatty: TextGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    turns = [Message("user", "What rises?"), Message("assistant", "The sun."), Message("user", "Where?")]
    first, second = (encode_prompt(turns[:count], chatty.tokenizer) for count in (1, 3))
    said = second[len(first) : second.index(turn_end_id(chatty.tokenizer), len(first))]
    taken = iter([*said, turn_end_id(chatty.tokenizer), *said])
    monkeypatch.setattr("pretune.inference.generate.Sampler.take", lambda *_: next(taken))
    session = ChatSession(chatty)
    assert positions_read(session, monkeypatch, "What rises?", GREEDY) == len(first) + len(said)
    assert session.turns == turns[:2]
    new = len(second) - len(first) - len(said)  # the end of the turn, and the new message
    assert 0 < new < len(second) / 2
    three = Sampling(max_tokens=len(said))
    assert positions_read(session, monkeypatch, "Where?", three) == new + len(said) - 1  # the last one is not read
    assert session.was_cut
    session.reset()
    taken = iter(said)
    assert positions_read(session, monkeypatch, "What rises?", three) == len(first) + len(said) - 1


def test_a_new_message_ends_the_reply_before_it(chatty: TextGenerator) -> None:
    session = ChatSession(Scripted(chatty, ["The sun rises.", "Good.", "Bad."]))
    open_reply = session.reply("What rises?", GREEDY)
    shown = next(open_reply)
    assert "".join(session.reply("And?", GREEDY)) == "Good."
    assert list(open_reply) == []
    assert [turn.content for turn in session.turns] == ["What rises?", shown.strip(), "And?", "Good."]
    open_reply = session.reply("So?", GREEDY)
    next(open_reply)
    session.reset()
    assert session.turns == []


def test_of_a_run_with_a_classifier_the_pretrained_model_writes(
    run_folder: Path, save_language_model: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(run_folder / "finetune", run / "finetune")
    with pytest.raises(ModelError, match=r"finetune/checkpoint has a classifier, .*run has no pre-trained model that"):
        load_chat_session(run)
    with pytest.raises(ModelError, match=r"has a classifier, which does not continue a text; give its run"):
        load_chat_session(run / "finetune")
    save_language_model(run / "pretrain" / "checkpoint", "causal")
    assert load_chat_session(run).generator.path == run / "pretrain" / "checkpoint"
    with pytest.raises(ModelError, match=r"pretrain/checkpoint was trained to fill in masked words"):
        load_chat_session(run_folder)


def test_answer_is_the_reply_of_a_session(chatty: TextGenerator) -> None:
    session = ChatSession(chatty)
    first = "".join(session.reply("The food?", GREEDY)).strip()
    second = "".join(session.reply("The film?", GREEDY)).strip()
    messages = [
        {"role": "user", "content": "The food?"},
        {"role": "assistant", "content": first},
        {"role": "user", "content": "The film?"},
    ]
    assert answer(chatty, messages, GREEDY) == second
    parts = [{"type": "text", "text": "The film?"}]
    assert answer(chatty, [*messages[:-1], {"role": "user", "content": parts}], GREEDY) == second


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "no message of the user"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "user, user"),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "the user last"),
        ([{"role": "wizard", "content": "a"}], "role 'wizard' is unknown"),
        ([{"role": "user", "content": None}], "expected"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x.png"}]}], "expected"),
        (["a"], "expected"),
        ([{"content": "a"}], "expected"),
    ],
)
def test_messages_in_no_order_are_refused(chatty: TextGenerator, messages: list[Any], problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        answer(chatty, messages, GREEDY)


def test_earlier_messages_are_cleaned_like_the_last_one(chatty: TextGenerator) -> None:
    def prompt(space: str) -> list[int]:
        scripted = Scripted(chatty, ["Good."])
        contents = [text.replace(" ", space) for text in ("Be brief.", "The food?", "It was cold.", "The film?")]
        roles = ("system", "user", "assistant", "user")
        answer(scripted, [Message(role, text) for role, text in zip(roles, contents, strict=True)], GREEDY)  # type: ignore[arg-type]
        return scripted.prompts[0]

    assert prompt("  \n") == prompt(" ")
