import io
import zipfile

import pytest

from pretune.errors import InputDataError
from pretune.text.raw import compression
from pretune.text.raw.compression import ByteStream
from pretune.text.readers.docx import docx_lines

XML = (
    '<?xml version="1.0"?>{doctype}<w:document xmlns:w="{space}" '
    'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:body>{body}</w:body></w:document>'
)
TRANSITIONAL = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
STRICT = "http://purl.oclc.org/ooxml/wordprocessingml/main"


def docx(body: str, *, doctype: str = "", space: str = TRANSITIONAL, **parts: str) -> ByteStream:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", XML.format(body=body, doctype=doctype, space=space))
        for name, content in parts.items():
            archive.writestr(f"word/{name}.xml", XML.format(body=content, doctype="", space=space))
    return ByteStream(iter([out.getvalue()]), "a.docx")


def p(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def lines(stream: ByteStream) -> list[str]:
    return [line for line in docx_lines(stream) if line]


@pytest.mark.parametrize("space", [TRANSITIONAL, STRICT])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (p("One &amp; two") + p("three"), ["One & two", "three"]),
        ("<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r></w:p>", ["a\tb", "c"]),
        (f"<w:tbl><w:tr><w:tc>{p('1')}</w:tc><w:tc>{p('2')}{p('3')}</w:tc></w:tr></w:tbl>", ["1 2 3"]),
        ("<w:p><w:r><w:delText>gone</w:delText><w:instrText>PAGE</w:instrText><w:t>kept</w:t></w:r></w:p>", ["kept"]),
        (f"<mc:AlternateContent>{p('once')}<mc:Fallback>{p('again')}</mc:Fallback></mc:AlternateContent>", ["once"]),
        ("", []),
    ],
)
def test_what_the_document_says(body: str, text: list[str], space: str) -> None:
    assert lines(docx(body, space=space)) == text


def test_notes_come_behind_the_text() -> None:
    assert lines(docx(p("text"), footnotes=p("a note"), endnotes=p("another"), header1=p("no"))) == [
        "text", "a note", "another",
    ]  # fmt: skip


def test_a_large_document_is_read_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.text.raw.archives.BLOCK_BYTES", 1000)
    found = docx_lines(docx("".join(p(f"line {n}") for n in range(2000))))
    assert next(found) == "line 0"
    assert sum(1 for line in found if line) == 1999


@pytest.mark.parametrize(
    "doctype",
    [
        '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x SYSTEM "http://example.org/x.dtd">',
    ],
)
def test_entities_cannot_be_declared(doctype: str) -> None:
    with pytest.raises(InputDataError, match=r"a\.docx is not a valid docx"):
        lines(docx(p("&b;"), doctype=doctype))


def test_a_damaged_document() -> None:
    with pytest.raises(InputDataError, match=r"a\.docx is a damaged Word document \(mismatched tag"):
        lines(docx("<w:p>"))
    with pytest.raises(InputDataError, match="is a damaged Word document"):
        lines(ByteStream(iter([b"PK\x03\x04 no zip"]), "a.docx"))


def test_a_bomb_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 20)
    monkeypatch.setattr(compression, "MAX_EXPANSION", 100)
    with pytest.raises(InputDataError, match="unpacks to more than"):
        lines(docx(p(" " * 5_000_000)))
