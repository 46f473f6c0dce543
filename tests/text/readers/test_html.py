import time
from html.parser import HTMLParser

import pytest

from pretune.text.readers import html
from pretune.text.readers.html import visible_text

PAGE = """<!doctype html><html><head><title>Not seen</title><style>p {color: red}</style></head>
<body><h1>A   heading</h1><script>if (a < b) { alert("no") }</script>
<p>First <b>para</b>graph &amp; more,
on two lines.</p><ul><li>one<li>two</ul><table><tr><td>a</td><td>b</td></tr></table>
<select><option>no</option></select><noscript>no</noscript><br/>last &lt;word&gt;</body></html>"""


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_what_a_reader_sees(size: int) -> None:
    blocks = [PAGE[i : i + size] for i in range(0, len(PAGE), size)]
    assert visible_text(blocks).split("\n") == [
        "A heading",
        "First paragraph & more, on two lines.",
        "one",
        "two",
        "a b",
        "last <word>",
    ]


def test_broken_pages() -> None:
    assert visible_text(["<head><title>t</title><body>text"]) == "text"
    assert visible_text(["<p>a<p>b</div></b><i>c"]) == "a\nb\nc"
    assert visible_text([""]) == ""
    assert visible_text(["<svg/>after"]) == "after"


@pytest.mark.parametrize("section", ["<![foo[..]]>", "<![foo>", "<![ x]]>", "<![[>", "<![if !IE]>", "<![CDATA[x]]>"])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_marked_sections_are_comments(section: str, size: int) -> None:
    """One that the standard library does not know ended the whole stage as a bug."""
    page = f"<p>before{section}after</p>"
    assert visible_text(page[i : i + size] for i in range(0, len(page), size)) == "beforeafter"


def test_a_marked_section_that_never_ends() -> None:
    assert visible_text(["<p>before</p><![foo[.."]).startswith("before")


@pytest.mark.parametrize(
    "rest",
    [
        "<!-- a comment " + "<p>with <b>markup</b> &amp; more</p>\n" * 30,
        "<!-- one <!-- two <p>" * 5 + "<p>text</p>" * 30,
        "<a href='x" + "<p>text</p>" * 30,
        "<script>" + "if (a < b) c();" * 30,
        "a < b" * 30,
        "x &amp",
    ],
)
def test_what_never_ends_is_read_as_the_library_reads_it(monkeypatch: pytest.MonkeyPatch, rest: str) -> None:
    page = f"<p>before</p>{rest}"
    found = visible_text([page])
    monkeypatch.setattr(html, "_MOST_UNFINISHED", 10_000)
    assert found == visible_text([page])
    assert found.startswith("before")


def test_what_a_newer_library_leaves_out_does_not_depend_on_how_much_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond ten signs `<`, a comment that never ends was text, even where the library itself leaves it out."""

    def close(parser: HTMLParser) -> None:
        if parser.rawdata.startswith("<!--"):  # as in Python 3.14
            parser.rawdata = ""
        parser.goahead(True)  # type: ignore[attr-defined]

    monkeypatch.setattr(HTMLParser, "close", close)
    html._library_leaves_out_the_unfinished.cache_clear()
    try:
        assert {visible_text([f"<p>before</p><!-- x {'<p>y</p>' * number}"]) for number in (1, 30)} == {"before"}
    finally:
        html._library_leaves_out_the_unfinished.cache_clear()


@pytest.mark.parametrize("piece", ["<!--", "<a ", "<a b='", '<a x="<', "<?", "</a", "<a" + " " * 50, "<!x [", "&a"])
def test_a_page_of_openings_takes_no_longer_than_another(piece: str) -> None:
    """Half a megabyte of `<!--` took minutes."""
    page, begun = piece * (500_000 // len(piece)), time.process_time()
    visible_text(page[start : start + (1 << 18)] for start in range(0, len(page), 1 << 18))
    assert time.process_time() - begun < 20
