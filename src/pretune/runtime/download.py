"""Download a file: resume after an interruption, check the sha256, and put the file in place once it is complete."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError

ATTEMPTS = 5  # in a row that bring no bytes
TIMEOUT_SECONDS = 30.0
_BLOCK_BYTES = 1 << 16
_FIRST_PAUSE_SECONDS = 0.5
_MAX_BYTES = 4_000_000_000  # for a file of unknown size
_LOCK_NAME = ".lock"


def download(
    url: str,
    target: Path,
    *,
    size_bytes: int | None,
    sha256: str | None,
    on_progress: Callable[[int], None] = lambda _done: None,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Download `url` to `target` and return its sha256.

    Received bytes are kept in `target.part`; if the sha256 is known, a later call resumes from there. `on_progress`
    receives the number of bytes so far. If the size is unknown, only a complete response of up to 4 GB is accepted.
    Raises InputDataError if the server does not respond, or sends another file than expected.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if sha256 is None:
        part.unlink(missing_ok=True)  # it cannot be checked to be the start of the same file
    _fetch(url, part, size_bytes, on_progress, pause)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    if sha256 is not None and found != sha256:
        part.unlink()
        raise InputDataError(
            f"{url} has changed: its sha256 is {found}, expected {sha256}; nothing was kept. Get the file from "
            "elsewhere and give its path."
        )
    part.replace(target)
    return found


@contextlib.contextmanager
def only_download(folder: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Within this block, no other process downloads to `folder`: two would write to the same part of a file.

    `on_wait` is called if another one is at it; what it downloads is there once the block is entered. On a file system
    without locks, nobody waits.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass
        yield


def _fetch(
    url: str, part: Path, size_bytes: int | None, on_progress: Callable[[int], None], pause: Callable[[float], None]
) -> None:
    """Fill the part until it has all bytes. Each attempt resumes where the last one stopped, or starts over if the size
    is unknown, because then a change of the file would go unnoticed."""
    failures, problem = 0, "the response ended early"
    while size_bytes is None or _size(part) < size_bytes:
        have = 0 if size_bytes is None else _size(part)
        try:
            is_whole = _fetch_once(url, part, have, size_bytes or _MAX_BYTES, on_progress)
            if size_bytes is None and is_whole:
                return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise InputDataError(
                    f"{url} returned {error.code} ({error.reason}), so the file is gone or not public; get it from "
                    "elsewhere and give its path."
                ) from error
            problem = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 0 if size_bytes is not None and _size(part) > have else failures + 1
        if failures == ATTEMPTS:
            raise InputDataError(
                f"{url} could not be downloaded ({problem}): got {_size(part):,} of "
                f"{'an unknown number of' if size_bytes is None else f'{size_bytes:,}'} bytes; "
                "run the same command to resume, or get the file from elsewhere and give its path."
            )
        if size_bytes is None or _size(part) < size_bytes:
            pause(_FIRST_PAUSE_SECONDS * 2**failures)


def _fetch_once(url: str, part: Path, have: int, max_bytes: int, on_progress: Callable[[int], None]) -> bool:
    """Append one response to the part; returns whether it was complete, if the response gives its length."""
    headers = {"User-Agent": "pretune", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(_checked(url), headers=headers)
    with urllib.request.build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_SECONDS) as response:
        sent_range = str(response.headers.get("Content-Range", ""))
        is_resumed = response.status == 206 and sent_range.startswith(f"bytes {have}-")
        done = have if is_resumed else 0
        with part.open("ab" if is_resumed else "wb") as file:
            while block := response.read(_BLOCK_BYTES):
                done += len(block)
                if done > max_bytes:
                    file.close()
                    part.unlink()
                    raise InputDataError(
                        f"{url} has changed: it has more than the expected {max_bytes:,} bytes; nothing was kept. Get "
                        "the file from elsewhere and give its path."
                    )
                file.write(block)
                on_progress(done)
        length = str(response.headers.get("Content-Length", ""))
        return not length.isdigit() or done - (have if is_resumed else 0) == int(length)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _checked(url: str) -> str:
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise InputDataError(f"{url} is not a web address; expected one that begins with https://.")
    return url


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https URLs only, and never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if _checked(newurl).startswith("http:") and req.full_url.startswith("https:"):
            raise InputDataError(f"{req.full_url} redirects to {newurl}, which is not encrypted; not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
