"""What a folder of the prepare stage has: conversations, or labelled rows. A stage that needs one refuses the other."""

from __future__ import annotations

from pathlib import Path

from pretune.errors import UsageError
from pretune.runtime.manifest import Manifest

CHAT = "chat"  # the task of conversations, in the manifest's summary


def has_conversations(prepared: Manifest) -> bool:
    """Whether the folder with this manifest was prepared from conversations."""
    return prepared.summary.get("task") == CHAT


def refuse_conversations(folder: Path, prepared: Manifest, advice: str) -> None:
    """Raise UsageError, with advice on what to do, if the folder has conversations, which have no labels."""
    if has_conversations(prepared):
        raise UsageError(f"{folder} has conversations; expected labelled examples. {advice}")


def refuse_labelled_rows(folder: Path, prepared: Manifest, advice: str) -> None:
    """Raise UsageError, with advice on what to do, if the folder has no conversations."""
    if not has_conversations(prepared):
        raise UsageError(f"{folder} has labelled examples; expected conversations. {advice}")
