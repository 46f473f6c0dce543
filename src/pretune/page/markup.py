"""The HTML around the page: a head with the policy, and a body that the script fills."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

from pretune.page.assets import SCRIPT_NAME, STYLE_NAME, Assets
from pretune.page.escaped import escaped
from pretune.page.policy import policy_of_file
from pretune.version import VERSION

GENERATOR = '<meta name="generator" content="pretune '  # how a report is recognized as one of ours
_NEEDS_SCRIPT = "This page is drawn by a script that it contains; allow scripts, or open it in another browser."


def html_of_file(content: dict[str, Any], assets: Assets, model: bytes | None = None) -> str:
    """A report that needs nothing but a browser. `content` is a run's trace as JSON values, `model` what `pack_model`
    returns. The same arguments give the same text."""
    run = content["run"]
    note = "This run is on synthetic text. " if run["is_synthetic"] else ""
    payload = [f'<script id="trace" type="application/json">{pack_json(content)}</script>']
    if model is not None:
        payload.append(f'<script id="model" type="application/octet-stream">{_base64(model)}</script>')
    return _html(
        mode="file",
        title=f"{run['name']} - pretune",
        head=[
            f'<meta http-equiv="Content-Security-Policy" content="{policy_of_file(assets.script, assets.style)}">',
            f'{GENERATOR}{VERSION}">',
        ],
        style=f"<style>{assets.style}</style>",
        without_script=f"<h1>{escaped(run['headline'])}</h1><p>{escaped(run['detail'])} {note}{_NEEDS_SCRIPT}</p>",
        end=[*payload, f"<script>{assets.script}</script>"],
    )


def html_of_server() -> str:
    """The live page. It holds nothing of the run: the script asks for that with the token."""
    return _html(
        mode="live",
        title="pretune",
        head=[f'{GENERATOR}{VERSION}">'],
        style=f'<link rel="stylesheet" href="{STYLE_NAME}">',
        without_script=f"<p>{_NEEDS_SCRIPT}</p>",
        end=[f'<script src="{SCRIPT_NAME}"></script>'],
    )


def pack_json(value: Any) -> str:
    """JSON as base64 of gzip: no text in it can end the element that holds it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # A lone surrogate, from a byte that was not valid UTF-8, becomes an escape of JSON.
    return _base64(gzip.compress(text.encode("utf-8", "backslashreplace"), 9, mtime=0))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _html(*, mode: str, title: str, head: list[str], style: str, without_script: str, end: list[str]) -> str:
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        *head,
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escaped(title)}</title>",
        '<link rel="icon" href="data:,">',
        style,
        "</head>",
        f'<body data-mode="{mode}">',
        f"<noscript>{without_script}</noscript>",
        '<div id="page"></div>',
        *end,
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"
