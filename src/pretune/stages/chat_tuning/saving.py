"""A tuned model in; its folder with a card, its adapter, and the record of what it was trained on out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pretune.model.adapter_folder import save_adapter_folder
from pretune.model.base_folder import CHECKPOINT_NAME
from pretune.model.folder import GENERATION_CONFIG_NAME, read_stop_ids, save_model_folder
from pretune.model.lora import lora_layers, merged
from pretune.model.native_config import generation_fields
from pretune.model.transformer import LanguageModel
from pretune.runtime.atomic import write_json, write_text
from pretune.runtime.manifest import Manifest
from pretune.settings import ChatTuningConfig
from pretune.stages.chat_tuning.conversations import PreparedChat
from pretune.stages.chat_tuning.model_card import TuningSummary, write_card
from pretune.stages.chat_tuning.starting_model import StartingModel
from pretune.text.seen_texts import PRETRAINING, TRAINING, hand_on_seen, load_seen, save_seen

ADAPTER = "adapter"


def save_tuned(
    out: Path,
    model: LanguageModel,
    start: StartingModel,
    chat: PreparedChat,
    source: Manifest,
    config: ChatTuningConfig,
    summary: TuningSummary,
    figures: dict[str, Any],
) -> None:
    """Save a tuned model in `out/checkpoint`, with its corrections merged, and the corrections alone in `out/adapter`.

    `source` is the manifest of the prepared conversations, `figures` are those of the held-out replies.
    """
    notice = source.summary.get("notice")
    facts = {"task": "chat"} | ({} if notice is None else {"notice": notice})
    card = write_card(
        start.describe_start(config),
        summary,
        figures,
        num_conversations=len(chat.train),
        files=source.summary.get("files", []),  # which an older folder lacks
        notice=notice,
    )

    def write_more(partial: Path) -> None:
        write_text(partial / "README.md", card)
        # A reply ends with its mark, or with what ended a text of the base.
        of_base = {start.config.eos_token_id} | read_stop_ids(start.folder.path)
        ends = dict.fromkeys((chat.turn_end_id, *sorted(of_base)))
        write_json(partial / GENERATION_CONFIG_NAME, generation_fields(start.config, ends))

    plain = merged(model) if lora_layers(model) else model
    save_model_folder(out / CHECKPOINT_NAME, plain, chat.folder, write_more=write_more, **facts)
    if start.lora is not None:
        save_adapter_folder(
            out / ADAPTER,
            model,
            chat.folder,
            start.lora,
            base=start.folder.path.resolve(),
            base_hash=start.weights_hash,
            added=start.added,
        )


def save_trained_texts(out: Path, start: StartingModel, chat: PreparedChat, config: ChatTuningConfig) -> None:
    """Record the messages that the new model was trained on, and the texts of its base."""
    if config.from_scratch:
        save_seen(out, PRETRAINING)
        save_seen(out, TRAINING, chat.training_texts())
        return
    hand_on_seen(start.folder.path, out, PRETRAINING)
    before = load_seen(start.folder.path, TRAINING)
    save_seen(
        out,
        TRAINING,
        chat.training_texts(),
        [] if before is None else [before.hashes],
        # A public model may well have learned from conversations.
        is_complete=start.folder.is_recorded if before is None else before.is_complete,
    )
