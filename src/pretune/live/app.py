"""The answers of the live server: the page, the trace of the run, its changes as they come, and typed texts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from pretune.errors import ModelError, PretuneError
from pretune.live.background import BackgroundThread
from pretune.live.follow import RunFollower
from pretune.live.models import ModelsOfRun
from pretune.live.safety import OnlyThisMachine, has_token, refusal
from pretune.page.assets import SCRIPT_NAME, STYLE_NAME, read_assets
from pretune.page.markup import html_of_server
from pretune.run_trace.codec import to_json
from pretune.runtime.json_text import parse_json

MOST_BYTES = 64 * 1024  # of a request
MOST_WAITING = 8  # texts that wait for the model
POLL_SECONDS, HEARTBEAT_SECONDS = 0.5, 15.0
_OTHER_TOKEN = "This page is of an earlier start of the server; open the address that pretune printed last."


class LivePage:
    """The state of the server: the run it follows, its models, and whether it is about to stop."""

    def __init__(self, follower: RunFollower, models: ModelsOfRun, token: str) -> None:
        self.follower = follower
        self.models = models
        self.token = token
        self.stopping = asyncio.Event()
        self.thread = BackgroundThread("models")  # one text at a time
        self._num_waiting = 0

    def app(self) -> ASGIApp:
        """The application."""
        routes = [
            Route("/", self.page),
            Route(f"/{SCRIPT_NAME}", self.script),
            Route(f"/{STYLE_NAME}", self.style),
            Route("/api/trace", self.trace),
            Route("/api/events", self.events),
            Route("/api/predict", self.predict, methods=["POST"]),
            Route("/api/fill", self.fill, methods=["POST"]),
        ]
        return OnlyThisMachine(
            Starlette(
                routes=routes,
                exception_handlers={HTTPException: _explain_http, PretuneError: _explain, Exception: _explain_bug},
            )
        )

    async def page(self, _request: Request) -> Response:
        return HTMLResponse(html_of_server())

    async def script(self, _request: Request) -> Response:
        return Response(read_assets().script, media_type="text/javascript")

    async def style(self, _request: Request) -> Response:
        return Response(read_assets().style, media_type="text/css")

    async def trace(self, request: Request) -> Response:
        """The whole trace, and the name of its version."""
        if not has_token(request, self.token):
            return refusal(_OTHER_TOKEN, 401)
        version = await self.follower.refresh()
        if version is None:
            return refusal(self.follower.problem or "There is nothing to show yet.", 503)
        return Response(version.as_json(), media_type="application/json", headers={"X-Pretune-Version": version.name})

    async def events(self, request: Request) -> Response:
        """The changes of the trace as server-sent events, from the version that the browser has."""
        if not has_token(request, self.token):
            return refusal(_OTHER_TOKEN, 401)
        return StreamingResponse(self._changes(request.headers.get("Last-Event-ID")), media_type="text/event-stream")

    async def _changes(self, sent: str | None) -> AsyncIterator[bytes]:
        problem, quiet_seconds = None, HEARTBEAT_SECONDS  # the first line goes out at once: the browser is connected
        while not self.stopping.is_set():
            version = await self.follower.refresh()
            message = b""
            is_back = problem is not None and self.follower.problem is None  # nothing else takes the sentence away
            if version is not None and (version.name != sent or is_back):
                message = _event("trace", self.follower.versions.changes_since(sent, self.follower.age), version.name)
                sent = version.name
            if self.follower.problem != problem and self.follower.problem is not None:
                message += _event("problem", json.dumps({"error": self.follower.problem}).encode())
            problem = self.follower.problem
            if not message and quiet_seconds >= HEARTBEAT_SECONDS:
                message = b": connected\n\n"
            if message:
                yield message
                quiet_seconds = 0.0
            try:
                await asyncio.wait_for(self.stopping.wait(), POLL_SECONDS)
            except TimeoutError:
                quiet_seconds += POLL_SECONDS

    async def predict(self, request: Request) -> Response:
        """The trace of the decision about a typed text."""
        return await self._answer(request, lambda texts: self.models.predict(*texts))

    async def fill(self, request: Request) -> Response:
        """The trace of the word that is filled in at [MASK]."""
        return await self._answer(request, lambda texts: self.models.fill(texts[0]))

    async def _answer(self, request: Request, compute: Callable[[tuple[str, ...]], Any]) -> Response:
        if not has_token(request, self.token):
            return refusal(_OTHER_TOKEN, 401)
        texts = await _read_texts(request)
        if isinstance(texts, Response):
            return texts
        if self._num_waiting >= MOST_WAITING:
            return refusal(f"{MOST_WAITING} texts are waiting already; try again in a moment.", 429)
        self._num_waiting += 1
        try:
            found = await self.thread.do(lambda: to_json(compute(texts)))
        finally:
            self._num_waiting -= 1
        content = json.dumps(found, ensure_ascii=False, allow_nan=False).encode("utf-8", "backslashreplace")
        return Response(content, media_type="application/json")


async def _read_texts(request: Request) -> tuple[str, ...] | Response:
    """The text in the body of a request, or both of a pair, or the answer that says what is wrong with the body."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        return refusal("The request has another content type than application/json.", 415)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            return refusal(f"The text is too long: the page takes up to {MOST_BYTES // 1024} KB at once.", 413)
    try:
        found = parse_json(body)
    except ValueError:
        found = None
    text = found.get("text") if isinstance(found, dict) else None
    if not isinstance(text, str):
        return refusal('The request has no text; expected JSON such as {"text": "A wonderful film."}.', 400)
    pair = found.get("text_pair") if isinstance(found, dict) else None
    return (text, pair) if isinstance(pair, str) else (text,)


def _event(kind: str, data: bytes, name: str | None = None) -> bytes:
    """A server-sent event; `data` is on one line, as JSON without indentation is."""
    head = f"event: {kind}\n" if name is None else f"id: {name}\nevent: {kind}\n"
    return head.encode() + b"data: " + data + b"\n\n"


def _explain(_request: Request, error: Exception) -> Response:
    return refusal(str(error), 409 if isinstance(error, ModelError) else 400)


def _explain_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(f"{error.detail}.", error.status_code)


def _explain_bug(_request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)
    return refusal(f"This is a bug in pretune ({type(error).__name__}); the traceback is in its terminal.", 500)
