import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.text.raw.compression import ByteStream, open_bytes
from pretune.text.readers.pdf import pdf_lines
from pretune.text.reading_report import Findings

pypdf = pytest.importorskip("pypdf")


def pdf(*pages: str, fonts: str = "/F1 3 0 R") -> bytes:
    """A PDF with one line of text on each page, written by hand; a page with an empty text shows nothing."""
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Count {len(pages)} /Kids [{kids}] >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1") if text else b""
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << %s >> >> /Contents %d 0 R >>"
            % (fonts.encode(), 5 + 2 * number)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content))
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + trailer


def encrypted(data: bytes, password: str, algorithm: str = "RC4-128") -> bytes:
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(data))
    writer.encrypt(password, "owner", algorithm=algorithm)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def lines(data: bytes, findings: Findings | None = None) -> Iterator[str]:
    return pdf_lines(ByteStream(iter([data]), "a.pdf"), findings or Findings())


def test_pages_follow_one_another(tmp_path: Path) -> None:
    assert list(lines(pdf("One page.", "", "Another page."))) == ["One page.", "", "Another page."]
    (tmp_path / "a.pdf").write_bytes(pdf("From a file."))
    assert list(pdf_lines(open_bytes(tmp_path / "a.pdf"), Findings())) == ["From a file."]


def test_pages_without_text_may_be_images() -> None:
    with pytest.raises(
        InputDataError, match=r"a\.pdf contains no text in its 2 pages, which may be images; run text recognition"
    ):
        list(lines(pdf("", "")))


def test_a_password() -> None:
    assert list(lines(encrypted(pdf("Open to all."), ""))) == ["Open to all."]
    with pytest.raises(InputDataError, match=r"a\.pdf is protected by a password; save it without one"):
        list(lines(encrypted(pdf("Secret."), "secret")))


@pytest.mark.parametrize("data", [pdf("Text.")[:60], b"%PDF-1.4\n", b"%PDF-1.4\n" + bytes(range(256)) * 9])
def test_a_damaged_pdf(data: bytes) -> None:
    with pytest.raises(InputDataError, match=r"a\.pdf (is a damaged PDF|contains no text)"):
        list(lines(data))


def test_a_page_that_cannot_be_read_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    extract = pypdf.PageObject.extract_text
    monkeypatch.setattr(
        pypdf.PageObject,
        "extract_text",
        lambda page: 1 / 0 if page.page_number == 1 else extract(page),
    )
    findings = Findings()
    assert list(lines(pdf("One.", "Two.", "Three."), findings)) == ["One.", "Three."]
    rule = findings.dropped.rules["unreadable_page"]
    assert (rule.count, rule.examples) == (1, ["a.pdf, page 2: division by zero"])


def test_without_pypdf_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdf", None)
    with pytest.raises(InputDataError, match=r"pip install 'pretune\[pdf\]'"):
        list(lines(pdf("Text.")))
