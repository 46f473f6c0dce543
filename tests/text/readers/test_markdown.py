import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pretune.text.readers.markdown import plain_lines


def plain(text: str) -> str:
    lines = [line.strip() for line in plain_lines(text.split("\n"))]
    return "\n".join(line for line in lines if line)


@pytest.mark.parametrize(
    ("markdown", "text"),
    [
        ("# A heading #", "A heading"),
        ("Under\n=====\nlined\n---", "Under\nlined"),
        ("**bold**, *slanted*, __bold__, _slanted_, ~~struck~~, ***both***", "bold, slanted, bold, slanted, struck, both"),  # noqa: E501
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        ("A [link](http://a.b/c_(d) \"title\"), ![an image](x.png) and [one][ref].", "A link, an image and one."),
        ("[![badge](x.svg)](http://a.b)", "badge"),
        ("[ref]: http://a.b 'title'", ""),
        ("A note[^1].\n\n[^1]: It is here.", "A note.\nIt is here."),
        ("> quoted\n> > twice", "quoted\ntwice"),
        ("- one\n* two\n+ [x] done\n1. first", "one\ntwo\ndone\n1. first"),
        ("| a | b |\n|---|:-:|\n| 1 | *2* |", "a b\n1 2"),
        ("```python\nx = '*not bold*'\n```\nafter", "x = '*not bold*'\nafter"),
        ("~~~\n```\n~~~\n*after*", "```\nafter"),
        ("`*code*` and ``a ` b``", "*code* and a ` b"),
        ("a <!-- hidden --> b <!-- over\nlines --> c", "a  b\nc"),
        ("It begins with `<!--` in one.\nThe rest is read.", "It begins with <!-- in one.\nThe rest is read."),
        ("a <!-- ` --> b `<!--` c <!-- d --> e", "a  b <!-- c  e"),
        ("one ` alone <!-- hidden --> after", "one ` alone  after"),
        ("<b>bold</b> <br/> <http://a.b> 1 < 2 > 0", "bold  http://a.b 1 < 2 > 0"),
        ("\\*stars\\* &amp; more", "*stars* & more"),
        ("***\n- - -\n___", ""),
        ("---\ntitle: No\ntags: [a]\n---\nText.", "Text."),
        ("+++\ntitle = 'No'\n+++\nText.", "Text."),
        ("---\n\nA break, and text.\n\n---\nmore", "A break, and text.\nmore"),
        ("---\nkey: never closed", "key: never closed"),
        ("", ""),
    ],
)  # fmt: skip
def test_what_a_reader_sees(markdown: str, text: str) -> None:
    assert plain(markdown) == text


words = st.text("abcdefgäö", min_size=1, max_size=8)
sentence = st.lists(words, min_size=1, max_size=6).map(" ".join)
inline = st.one_of(
    sentence,
    sentence.map(lambda s: f"**{s}**"),
    sentence.map(lambda s: f"*{s}*"),
    words.map(lambda s: f"`{s}`"),
    sentence.map(lambda s: f"[{s}](http://a.b/c)"),
    sentence.map(lambda s: f"![{s}](a.png)"),
)
paragraph = st.lists(inline, min_size=1, max_size=4).map(" ".join)
block = st.one_of(
    paragraph,
    paragraph.map(lambda s: f"## {s}"),
    st.lists(paragraph, min_size=1, max_size=3).map(lambda items: "\n".join(f"- {item}" for item in items)),
    paragraph.map(lambda s: f"> {s}"),
    sentence.map(lambda s: f"```\n{s}\n```"),
    st.just("***"),
)


@settings(max_examples=100)
@given(st.lists(block, max_size=6).map("\n\n".join))
def test_the_words_are_those_of_a_commonmark_parser(markdown: str) -> None:
    """The reference is markdown-it-py, a dependency of rich."""
    parser = pytest.importorskip("markdown_it").MarkdownIt()
    found = []
    for token in parser.parse(markdown):
        if token.type in ("fence", "code_block"):
            found.append(token.content)
        for child in token.children or []:
            found.append(child.content if child.type != "softbreak" else " ")
    assert (
        plain(markdown).split() == " ".join(found).split()
        or plain(markdown).split()
        == "".join(f"{piece}\n" if piece.endswith("\n") else f"{piece} " for piece in found).split()
    )


@settings(max_examples=100)
@given(st.text("*_`[]()<>!-#|~\\ ab\n&;:^'\"", max_size=400))
def test_any_signs_come_through(text: str) -> None:
    lines = text.split("\n")
    assert len(list(plain_lines(lines))) <= len(lines)


@pytest.mark.parametrize("sign", ["*", "_", "`", "[", "![", "[](", "<a ", "<!--", "|", "> ", "**a", "&", "\\"])
def test_a_long_line_of_signs_takes_no_time(sign: str) -> None:
    """Patterns are bounded; unbounded ones would take minutes and exceed the time limit of tests."""
    list(plain_lines([sign * (100_000 // len(sign))]))
