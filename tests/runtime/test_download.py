import errno
import fcntl
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from pretune.errors import InputDataError
from pretune.runtime import download as module
from pretune.runtime.download import download, only_download

DATA = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(DATA).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """/file has ranges, /whole has none, /cut stops halfway, /long is too long, /to redirects, /busy is busy once."""

    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        requested = self.headers.get("Range")
        self.asked.append(requested)
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested and self.path != "/whole" else 0
        if self.path == "/busy" and len(self.asked) == 1:
            self.send_error(503)
        elif self.path in ("/gone", "/dead"):
            self.send_error(404 if self.path == "/gone" else 500)
        elif self.path in ("/to", "/to-file"):
            self.send_response(302)
            self.send_header("Location", "/file" if self.path == "/to" else "file:///etc/passwd")
            self.end_headers()
        else:
            body = DATA[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(DATA) - 1}/{len(DATA)}")
            self.send_header("Content-Length", str(len(body) + (10 if self.path == "/long" else 0)))
            self.end_headers()
            self.wfile.write(body[: len(DATA) // 2] if self.path == "/cut" else body)
            if self.path == "/long":
                self.wfile.write(bytes(10))

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.asked = []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()
    thread.join()


def fetch(address: str, target: Path, sha256: str | None = SHA256, size_bytes: int = len(DATA)) -> str:
    return download(address, target, size_bytes=size_bytes, sha256=sha256, pause=lambda _seconds: None)


@pytest.mark.parametrize("path", ["/file", "/whole", "/to", "/busy", "/cut"])
def test_the_whole_file_arrives(path: str, server: str, tmp_path: Path) -> None:
    """Also through a redirect, after a busy response, and over a connection that is cut repeatedly."""
    seen: list[int] = []
    target = tmp_path / "folder" / "a"
    digest = download(
        server + path, target, size_bytes=len(DATA), sha256=SHA256, on_progress=seen.append, pause=lambda _: None
    )
    assert (digest, target.read_bytes()) == (SHA256, DATA)
    assert seen[-1] == len(DATA)
    assert [entry.name for entry in target.parent.iterdir()] == ["a"]
    if path == "/cut":
        assert Handler.asked == [None, f"bytes={len(DATA) // 2}-"]


@pytest.mark.parametrize("path", ["/file", "/whole"])
def test_a_later_call_resumes(path: str, server: str, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(DATA[:1000])
    fetch(server + path, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == DATA
    assert Handler.asked == ["bytes=1000-"]


def test_without_a_known_sha256_a_part_is_not_trusted(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"of something else")
    assert fetch(server + "/file", tmp_path / "a", sha256=None) == SHA256
    assert Handler.asked == [None]


@pytest.mark.parametrize(
    ("path", "sha256", "sentence"),
    [
        ("/file", "0" * 64, "has changed: its sha256 is .*, expected 0000.*; nothing was kept"),
        ("/long", SHA256, "has changed: it has more than the expected 256,000 bytes"),
        ("/gone", SHA256, r"returned 404 \(Not Found\), so the file is gone"),
        ("/to-file", SHA256, "file:///etc/passwd"),
    ],
)
def test_a_changed_or_missing_file_is_refused(
    path: str, sha256: str, sentence: str, server: str, tmp_path: Path
) -> None:
    with pytest.raises(InputDataError, match=sentence):
        fetch(server + path, tmp_path / "a", sha256)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_server_is_given_up_on(server: str, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(DATA[:1000])
    with pytest.raises(InputDataError, match=r"could not be downloaded .500 .*: got 1,000 of 256,000 bytes; run"):
        fetch(server + "/dead", tmp_path / "a")
    assert len(Handler.asked) == module.ATTEMPTS
    assert (tmp_path / "a.part").read_bytes() == DATA[:1000]
    with pytest.raises(InputDataError, match="Connection refused"):
        fetch("http://127.0.0.1:9/a", tmp_path / "b")


def test_other_addresses_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="is not a web address"):
        fetch("file:///etc/passwd", tmp_path / "a")


def test_redirects_from_https_to_http_are_refused() -> None:
    request = module.urllib.request.Request("https://example.org/a")
    with pytest.raises(InputDataError, match=r"redirects to http://example.org/b, which is not encrypted"):
        module._SafeRedirects().redirect_request(request, None, 302, "", {}, "http://example.org/b")


@pytest.mark.parametrize("path", ["/file", "/to", "/busy"])
def test_a_file_of_unknown_size_is_accepted(path: str, server: str, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(b"of something else")
    digest = download(server + path, tmp_path / "a", size_bytes=None, sha256=None, pause=lambda _: None)
    assert (digest, (tmp_path / "a").read_bytes()) == (SHA256, DATA)


def test_a_file_of_unknown_size_is_complete_or_absent(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputDataError, match=r"of an unknown number of bytes; run"):
        download(server + "/cut", tmp_path / "a", size_bytes=None, sha256=None, pause=lambda _: None)
    assert Handler.asked == [None] * module.ATTEMPTS  # never from the middle: the file may have changed
    monkeypatch.setattr(module, "_MAX_BYTES", 1000)
    with pytest.raises(InputDataError, match="more than the expected 1,000 bytes"):
        download(server + "/file", tmp_path / "a", size_bytes=None, sha256=None, pause=lambda _: None)
    assert not (tmp_path / "a").exists()


def test_a_file_system_without_locks_is_downloaded_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with only_download(tmp_path / "new", lambda: pytest.fail("waited")):
        assert (tmp_path / "new").is_dir()
