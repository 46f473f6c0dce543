"""Only a page of this machine with the token of this start is answered."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from pretune.live.safety import new_token, refusal

Client = Callable[..., TestClient]


@pytest.mark.parametrize("host", ["127.0.0.1:8650", "localhost:8650", "[::1]:8650", "localhost:9000", "127.0.0.1"])
def test_this_machine_is_answered(client: Client, host: str) -> None:
    assert client(Host=host).get("/").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8650", "127.0.0.1.evil.example", "localhost.evil.example", "127.0.0.2", "", "["],
)
@pytest.mark.parametrize("path", ["/", "/page.js", "/api/trace"])
def test_another_name_is_refused(client: Client, host: str, path: str) -> None:
    answer = client(Host=host).get(path)
    assert answer.status_code == 403
    assert "only to 127.0.0.1 and localhost" in answer.json()["error"]


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:1", "https://127.0.0.1", "http://["]
)
def test_another_origin_is_refused(client: Client, origin: str) -> None:
    assert client(Origin=origin).get("/api/trace").status_code == 403


def test_the_own_origin_is_answered(client: Client) -> None:
    assert client(Origin="http://127.0.0.1:8650").get("/api/trace").status_code == 200


@pytest.mark.parametrize("token", ["", "the-toke", "the-token ä", "the-token2", "THE-TOKEN"])
@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/api/trace"), ("GET", "/api/events"), ("POST", "/api/predict"), ("POST", "/api/fill")],
)
def test_without_the_token_there_is_nothing(client: Client, token: str, method: str, path: str) -> None:
    answer = client().request(method, path, headers={"X-Pretune-Token": token.encode()}, json={"text": "a"})
    assert answer.status_code == 401
    assert "open the address" in answer.json()["error"]


def test_a_token_in_the_query_does_not_count(client: Client) -> None:
    assert client(X_Pretune_Token="").get("/api/trace?token=the-token").status_code == 401


def test_a_refusal_may_name_a_file_that_is_not_utf8() -> None:
    answer = refusal("The run caf\udce9 cannot be read.", 503)
    assert answer.status_code == 503
    assert json.loads(answer.body) == {"error": "The run caf\udce9 cannot be read."}


@pytest.mark.parametrize(("path", "token"), [("/", ""), ("/page.js", ""), ("/api/trace", "the-token"), ("/api/x", "")])
def test_every_answer_has_the_headers_of_safety(client: Client, path: str, token: str) -> None:
    headers = client(X_Pretune_Token=token).get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert not [name for name in headers if name.startswith("access-control-")]


def test_no_other_site_may_send_the_header(client: Client) -> None:
    """A browser asks first whether another site may send the header; there is no answer that allows it."""
    asked = client(X_Pretune_Token="", Origin="http://evil.example").options("/api/predict")
    assert asked.status_code == 403
    assert "access-control-allow-origin" not in asked.headers


def test_no_two_tokens_are_equal() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert len(new_token()) >= 32
