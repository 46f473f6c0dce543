"""Who may talk to the live server: a browser on this machine, with the token of the address that was printed.

Being bound to loopback is not enough. A page of another site can send requests to 127.0.0.1, and with a name of its own
that resolves to 127.0.0.1 (DNS rebinding) its browser even lets it read the answers. So a request must name this
machine as its host, and must carry the token in a header, which no other site can know or send.
"""

from __future__ import annotations

import json
import secrets
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pretune.page.policy import policy_of_server

TOKEN_HEADER = "X-Pretune-Token"
# The port is not compared: behind `ssh -L 9000:localhost:8650` the browser names 9000.
_HOSTS = ("127.0.0.1", "localhost", "::1")
_HEADERS = {
    "Content-Security-Policy": policy_of_server(),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def new_token() -> str:
    """A token that cannot be guessed."""
    return secrets.token_urlsafe(24)


def has_token(request: Request, token: str) -> bool:
    """Whether a request carries the token, compared in a time that does not depend on where it differs."""
    sent = request.headers.get(TOKEN_HEADER, "")
    return secrets.compare_digest(sent.encode("utf-8", "replace"), token.encode())


def refusal(sentence: str, status: int) -> Response:
    """An answer that says why there is none. The name of a file in it may have bytes that are not UTF-8."""
    return Response(json.dumps({"error": sentence}), status_code=status, media_type="application/json")


class OnlyThisMachine:
    """Refuses requests for another host or from another origin, and adds the headers of safety to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # there are no web sockets here

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _HEADERS.items():
                    headers[name] = value
                message = {**message, "headers": headers.raw}
            await send(message)

        headers = Headers(scope=scope)
        app: Any = self._app
        if not _is_this_machine(f"//{headers.get('host', '')}"):
            app = refusal("This server answers only to 127.0.0.1 and localhost; use the address it printed.", 403)
        elif "origin" in headers and _place_of(headers["origin"]) != headers["host"]:
            app = refusal("This server answers only to its own page; open the address that pretune printed.", 403)
        await app(scope, receive, send_with_headers)


def _place_of(origin: str) -> str | None:
    """The host and port of an origin; None for one that is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_this_machine(address: str) -> bool:
    try:
        return urlsplit(address).hostname in _HOSTS
    except ValueError:
        return False
