"""Versions of a run's trace while the run goes on: each has a name, and a page is sent only what it does not have."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_REMEMBERED = 512  # versions; a page that comes back with an older one gets everything


@dataclass(frozen=True, kw_only=True)
class Version:
    """One state of the trace. `parts` has the JSON of every top-level key, `hashes` what it hashes to.

    The name follows from the content, so that it outlives the server: a page that has this version from an earlier
    server is sent nothing again.
    """

    name: str
    parts: Mapping[str, bytes]
    hashes: Mapping[str, str]

    def as_json(self) -> bytes:
        """The whole trace."""
        return _as_object(self.parts)


class Versions:
    """The latest version, and what earlier ones consisted of."""

    def __init__(self) -> None:
        self.latest: Version | None = None
        self._hashes: OrderedDict[str, Mapping[str, str]] = OrderedDict()

    def add(self, content: Mapping[str, Any]) -> Version:
        """Make the JSON values of a trace the latest version."""
        parts = {key: _as_json(value) for key, value in content.items()}
        hashes = {key: hashlib.sha256(part).hexdigest()[:16] for key, part in parts.items()}
        name = hashlib.sha256(_as_json(hashes)).hexdigest()[:16]
        self.latest = Version(name=name, parts=parts, hashes=hashes)
        self._hashes[name] = hashes
        self._hashes.move_to_end(name)
        while len(self._hashes) > _REMEMBERED:
            self._hashes.popitem(last=False)
        return self.latest

    def changes_since(self, name: str | None, age: float | None = None) -> bytes:
        """`{"changed": {...}, "age": ...}` with the top-level keys of the latest version that differ from those of
        version `name`, all of them if that is not known; `age` is how many seconds ago the run logged something."""
        if self.latest is None:
            raise RuntimeError("there is no version yet")
        known = self._hashes.get(name or "", {})
        changed = {key: part for key, part in self.latest.parts.items() if known.get(key) != self.latest.hashes[key]}
        return b'{"changed":' + _as_object(changed) + b',"age":' + _as_json(age) + b"}"


def _as_object(parts: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(_as_json(key) + b":" + part for key, part in parts.items()) + b"}"


def _as_json(value: Any) -> bytes:
    """JSON on one line; a lone surrogate becomes an escape."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")
