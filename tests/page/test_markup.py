"""The HTML around the page: the trace comes back from it unchanged, and no text in it is markup."""

from __future__ import annotations

import base64
import gzip
import json
from html.parser import HTMLParser
from typing import Any

from pretune.page.assets import Assets
from pretune.page.markup import html_of_file, html_of_server, pack_json

ASSETS = Assets(script='document.title = "ä";', style="p { color: black }")
NASTY = ["</script><script>alert(1)</script>", "<!--", "\u2028\u2029", "\x00", "\ud800", "\u202e", "&lt;", "__proto__"]


class Elements(HTMLParser):
    """The elements of a page in their order, with the attributes and the content of each."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.content: list[str] = []
        self._is_open = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self.content.append("")
        self._is_open = True

    def handle_endtag(self, _tag: str) -> None:
        self._is_open = False

    def handle_data(self, data: str) -> None:
        if self._is_open:
            self.content[-1] += data

    def of(self, tag: str) -> list[tuple[dict[str, str | None], str]]:
        pairs = zip(self.found, self.content, strict=True)
        return [(attributes, text) for (name, attributes), text in pairs if name == tag]


def content(**run: Any) -> dict[str, Any]:
    card = {"name": "reviews", "headline": "It helped.", "detail": "30 rows.", "is_synthetic": False}
    return {"schema": "trace/1.0", "run": {**card, **run}, "texts": NASTY}


def unpacked(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def test_the_trace_comes_back() -> None:
    page = Elements(html_of_file(content(), ASSETS))
    [trace] = [text for attributes, text in page.of("script") if attributes.get("id") == "trace"]
    assert unpacked(trace) == content()


def test_the_payload_cannot_end_its_element() -> None:
    assert set(pack_json(NASTY)).isdisjoint("<>&\"'\n")


def test_script_and_style_are_inline_and_unchanged() -> None:
    page = Elements(html_of_file(content(), ASSETS))
    assert page.of("script")[-1] == ({}, ASSETS.script)
    assert page.of("style") == [({}, ASSETS.style)]
    assert not [attributes for _, attributes in page.found if "src" in attributes]


def test_the_model_is_there_only_if_it_is_given() -> None:
    assert 'id="model"' not in html_of_file(content(), ASSETS)
    page = Elements(html_of_file(content(), ASSETS, model=b"\x00\xff"))
    [model] = [text for attributes, text in page.of("script") if attributes.get("id") == "model"]
    assert base64.b64decode(model) == b"\x00\xff"


def test_without_script_there_is_the_headline_and_a_sentence() -> None:
    html = html_of_file(content(headline="<b>Better</b>\u202e", is_synthetic=True), ASSETS)
    [without] = [html.partition("<noscript>")[2].partition("</noscript>")[0]]
    assert "&lt;b&gt;Better&lt;/b&gt;&lt;U+202E&gt;" in without
    assert "synthetic" in without
    assert "allow scripts" in without


def test_a_name_is_text() -> None:
    page = Elements(html_of_file(content(name="</title><script>alert(1)</script>"), ASSETS))
    assert len(page.of("script")) == 2
    assert page.of("title")[0][1].startswith("</title><script>")


def test_the_same_content_gives_the_same_text() -> None:
    assert html_of_file(content(), ASSETS) == html_of_file(content(), ASSETS)


def test_the_live_page_holds_nothing_of_the_run() -> None:
    page = Elements(html_of_server())
    assert page.of("body")[0][0] == {"data-mode": "live"}
    assert [attributes for attributes, _ in page.of("script")] == [{"src": "page.js"}]
    assert Elements(html_of_file(content(), ASSETS)).of("body")[0][0] == {"data-mode": "file"}
