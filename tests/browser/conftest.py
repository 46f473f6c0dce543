"""A real browser: Debian's chromium, named by CHROMIUM or found on the path; skipped where there is none.

With PRETUNE_BROWSER=required, as in .ci/run, a missing browser fails instead. `open_page` watches every page for what a
page must never do: send a request that was not allowed, run what a text says, break its own policy, or raise an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# Runs before every script of a page. Chromium reports a violation of the policy as an event.
_WATCH = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.__violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
});
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser. It lives for one module: while it does, this thread cannot run an event loop of its own."""
    executable = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if executable is None:
        sentence = "There is no chromium here: set CHROMIUM, or, on Debian and Ubuntu, apt-get install chromium."
        (pytest.fail if os.environ.get("PRETUNE_BROWSER") == "required" else pytest.skip)(sentence)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page, and everything that it did and must not do."""

    page: Any
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def complaints(self) -> list[str]:
        """What the page has done wrong so far."""
        found = [f"request: {url}" for url in self.requests]
        found += [f"dialog: {message}" for message in self.dialogs]
        found += [f"error: {message}" for message in self.errors]
        found += [f"violation: {sentence}" for sentence in self.page.evaluate("window.__violations")]
        if (attack := self.page.evaluate("window.__xss")) is not None:
            found.append(f"a text ran as script: {attack}")
        handlers = """[...document.querySelectorAll("*")].filter((element) =>
            [...element.attributes].some(({name}) => name.startsWith("on"))).map((element) => element.outerHTML)"""
        found += [f"handler: {html}" for html in self.page.evaluate(handlers)]
        strange = "document.querySelectorAll('img, iframe, object, embed, base, form[action], plaintext').length"
        if self.page.evaluate(strange):
            found.append("a text became an element")
        return found


OpenPage = Callable[..., Watched]


@pytest.fixture
def open_page(chromium: Any) -> Iterator[OpenPage]:
    """Open a file or an address. `allowed` is the beginning of every address that may be asked for."""
    contexts = []

    def opened(target: Path | str, *, allowed: str = "file://", errors: bool = True, **settings: Any) -> Watched:
        address = target.as_uri() if isinstance(target, Path) else target
        context = chromium.new_context(**settings)
        contexts.append(context)
        context.set_offline(isinstance(target, Path))
        context.add_init_script(_WATCH)
        watched = Watched(context.new_page())
        page = watched.page
        page.on("dialog", lambda dialog: (watched.dialogs.append(dialog.message), dialog.dismiss()))
        if errors:
            page.on("pageerror", lambda error: watched.errors.append(str(error)))

        def decide(route: Any) -> None:
            url = route.request.url
            is_first = url.split("#")[0] == address.split("#")[0]
            if is_first or (allowed != "file://" and url.startswith(allowed)) or url.startswith(("data:", "blob:")):
                route.continue_()
            else:
                watched.requests.append(url)
                route.abort()

        context.route("**/*", decide)
        page.goto(address)
        return watched

    yield opened
    for context in contexts:
        context.close()
