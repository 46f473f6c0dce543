"""A file from the network: resumed where it was cut off, checked against its sha256, in place only when it is whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pretune.errors import InputDataError

ATTEMPTS = 5  # in a row without a byte
TIMEOUT_SECONDS = 30.0
_BLOCK_BYTES = 1 << 16
_FIRST_PAUSE_SECONDS = 0.5
_MOST_BYTES = 4_000_000_000  # of a file whose size nobody knows


def download(
    address: str,
    target: Path,
    *,
    size_bytes: int | None,
    sha256: str | None,
    on_progress: Callable[[int], None] = lambda _done: None,
    pause: Callable[[float], None] = time.sleep,
) -> str:
    """Download `address` to `target` and return its sha256.

    What arrives is kept in `target.part`; with a known sha256 a later call goes on from there. `on_progress` is given
    the bytes that are there. Without a known size an answer is taken whole or not at all, and up to 4 GB. Raises
    InputDataError where the address does not answer, or answers with something else.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    if sha256 is None:
        part.unlink(missing_ok=True)  # of which nobody could tell whether it is the beginning of the same file
    _fetch(address, part, size_bytes, on_progress, pause)
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    if sha256 is not None and found != sha256:
        part.unlink()
        raise InputDataError(
            f"{address} is not the file it was: its sha256 is {found}, expected {sha256}; nothing of it was kept. Get "
            "the file from elsewhere and give its path."
        )
    part.replace(target)
    return found


def _fetch(
    address: str, part: Path, size_bytes: int | None, on_progress: Callable[[int], None], pause: Callable[[float], None]
) -> None:
    """Fill the part until it has all bytes; each attempt goes on where the one before broke off, or begins again where
    the size is not known, since then nothing tells whether it is still the same file."""
    failures, problem = 0, "it ends early"
    while size_bytes is None or _size(part) < size_bytes:
        have = 0 if size_bytes is None else _size(part)
        try:
            is_whole = _fetch_once(address, part, have, size_bytes or _MOST_BYTES, on_progress)
            if size_bytes is None and is_whole:
                return
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code not in (408, 429):
                raise InputDataError(
                    f"{address} answers with {error.code} ({error.reason}), so the file is no longer there or not for "
                    "everyone; get it from elsewhere and give its path."
                ) from error
            problem = f"{error.code} {error.reason}"
        except (OSError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        failures = 0 if size_bytes is not None and _size(part) > have else failures + 1
        if failures == ATTEMPTS:
            raise InputDataError(
                f"{address} could not be downloaded ({problem}): {_size(part):,} of "
                f"{'an unknown number of' if size_bytes is None else f'{size_bytes:,}'} bytes are there; "
                "give the same command again to go on, or get the file from elsewhere and give its path."
            )
        if size_bytes is None or _size(part) < size_bytes:
            pause(_FIRST_PAUSE_SECONDS * 2**failures)


def _fetch_once(address: str, part: Path, have: int, most_bytes: int, on_progress: Callable[[int], None]) -> bool:
    """Add one answer to the part. Whether that has come to its end, where the answer says how long it is."""
    headers = {"User-Agent": "pretune", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(_checked(address), headers=headers)
    with urllib.request.build_opener(_SafeRedirects).open(request, timeout=TIMEOUT_SECONDS) as answer:
        goes_on = answer.status == 206 and str(answer.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
        done = have if goes_on else 0
        with part.open("ab" if goes_on else "wb") as file:
            while block := answer.read(_BLOCK_BYTES):
                done += len(block)
                if done > most_bytes:
                    file.close()
                    part.unlink()
                    raise InputDataError(
                        f"{address} is not the file it was: it has more than the {most_bytes:,} bytes that are "
                        "expected of it; nothing was kept. Get the file from elsewhere and give its path."
                    )
                file.write(block)
                on_progress(done)
        length = str(answer.headers.get("Content-Length", ""))
        return not length.isdigit() or done - (have if goes_on else 0) == int(length)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _checked(address: str) -> str:
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise InputDataError(f"{address} is no address on the web; expected one that begins with https://.")
    return address


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Redirects to the web only, and never from an encrypted connection to an open one."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if _checked(newurl).startswith("http:") and req.full_url.startswith("https:"):
            raise InputDataError(f"{req.full_url} leads to {newurl}, which is not encrypted, and is not followed.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
