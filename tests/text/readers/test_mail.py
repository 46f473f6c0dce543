import base64
import time

import pytest

from pretune.text.raw.compression import ByteStream
from pretune.text.readers.mail import iter_mbox, read_eml, read_message, without_quotes
from pretune.text.reading_report import Findings


def mail(
    body: bytes, headers: bytes = b"Content-Type: text/plain; charset=utf-8\n", subject: bytes = b"Hello"
) -> bytes:
    return b"From: a@b.c\nSubject: " + subject + b"\n" + headers + b"\n" + body


def mbox(*messages: bytes) -> ByteStream:
    envelope = b"From a@b.c Mon Nov 23 09:00:00 2026\n"
    return ByteStream(iter([b"\n".join(envelope + message for message in messages)]), "a.mbox")


def test_messages_with_their_lines() -> None:
    findings = Findings()
    stream = mbox(mail(b"One.\n>From here.\n"), mail(b"Two.\n", subject=b"Re: Fwd: Again"))
    assert list(iter_mbox(stream, findings)) == [("Hello\n\nOne.\nFrom here.", 1), ("Again\n\nTwo.", 9)]
    assert findings.bytes_read > 100


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [
        (b"Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n", b"caf=E9", "café"),  # noqa: E501
        (b"Content-Transfer-Encoding: base64\nContent-Type: text/plain; charset=utf-8\n", b"Y2Fmw6k=", "café"),
        (b"Content-Type: text/plain; charset=no-such-thing\n", "Über große Brücken gehen".encode("cp1252"), "Über große Brücken gehen"),  # noqa: E501
        (b"Content-Type: text/plain; charset=shift_jis\n", "①㈱髙島屋".encode("cp932"), "①㈱髙島屋"),
        (b"Content-Type: text/plain; charset=gb2312\n", "朱镕基€".encode("gb18030"), "朱镕基€"),
        (b"Content-Type: text/plain; charset=ks_c_5601-1987\n", "똠방각하".encode("cp949"), "똠방각하"),
        (b"Content-Type: text/plain; charset=iso-8859-1\n", "“quoted” – 5 €".encode("cp1252"), "“quoted” – 5 €"),
        (b"Content-Type: text/plain; charset=us-ascii\n", "schöne große Brücke".encode(), "schöne große Brücke"),
        (b"Content-Type: text/plain; charset=us-ascii\n", "schöne große Brücke über".encode("cp1252"), "schöne große Brücke über"),  # noqa: E501
        (b"", b"no type", "no type"),
        (b"Content-Type: text/html\n", b"<p>a &amp; <script>no</script>b", "a & b"),
        (b"Content-Type: multipart/mixed; boundary=x\n", b"--x\n\nplain\n--x\nContent-Type: text/html\n\n<p>rich\n--x--", "plain"),  # noqa: E501
        (b"Content-Type: multipart/mixed; boundary=x\n", b"--x\nContent-Disposition: attachment\n\nno\n--x\n\nyes\n--x--", "yes"),  # noqa: E501
        (b"Content-Type: multipart/mixed; boundary=never\n", b"no boundary\n", ""),
        (b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n", b"JVBERi0=", ""),
        (b"Content-Transfer-Encoding: base64\nContent-Type: text/plain\n", b"not base64 \xff !", "not base64 я !"),
    ],
)  # fmt: skip
def test_parts_are_decoded(headers: bytes, body: bytes, text: str) -> None:
    assert read_message(mail(body, headers))[1] == text


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        (b"=?utf-8?q?caf=C3=A9?=", "café"),
        (b"=?no-such?q?x?= y", "=?no-such?q?x?= y"),
        (b"=?utf-8?b?!!!?= y", "y"),
        (b"raw \xff byte", "raw \ufffd byte"),
        ("roh, für alle".encode(), "roh, für alle"),
        (b"=?utf-8?q?caf=C3?= and =?utf-8?q?caf=C3=A9?=", "caf\ufffd and café"),  # as a broken mailer cuts words
        (b"=?shift_jis?b?" + base64.b64encode("①㈱髙島屋".encode("cp932")) + b"?=", "①㈱髙島屋"),
        (b"=?gb2312?b?" + base64.b64encode("朱镕基".encode("gb18030")) + b"?= \\u0041", "朱镕基 \\u0041"),
        ("für =?utf-8?q?alle?=".encode(), "für alle"),
        (b"=?utf-8?q?a?=\n =?iso-8859-1?q?=E9?= b", "aé b"),
        (b"RE: Re[2]: fwd: all", "all"),
    ],
)
def test_subjects(subject: bytes, text: str) -> None:
    assert read_message(mail(b"x", subject=subject))[0] == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("New.\n\nOn Mon, Bob wrote:\n> old\n> older\n\nMore.", "New.\n\n\nMore."),
        ("Neu.\nAm Montag, 3. Mai um 10:00\nschrieb Bob <b@c.d>:\n>alt", "Neu."),
        ("Text.\n-- \nAnn\nhttp://ann", "Text."),
        ("Text.\n-----Original Message-----\nFrom: b", "Text."),
        ("-----BEGIN PGP SIGNED MESSAGE-----\nText.\n-----BEGIN PGP SIGNATURE-----\nabc", "Text."),
        ("He wrote:\n\nno quote follows", "He wrote:\n\nno quote follows"),
        ("a > b", "a > b"),
    ],
)
def test_what_others_wrote_is_left_out_and_counted(text: str, kept: str) -> None:
    found, num_dropped = without_quotes(text)
    assert found.strip() == kept
    assert num_dropped == len(text.split("\n")) - len(found.split("\n"))


def test_a_subject_of_endless_words_takes_no_longer_than_another() -> None:
    """A quarter of a megabyte took 17 seconds, and four times as long for twice as much."""
    begun = time.process_time()
    assert read_message(mail(b"text", subject=b"=?utf-8?q?" * 100_000))[1].strip() == "text"
    assert time.process_time() - begun < 10


def test_replaced_bytes_are_counted() -> None:
    broken, findings = mail(b"One \xff\xfe.\n" + b"fine " * 99), Findings()
    found = [text for text, _ in iter_mbox(mbox(broken, mail(b"ok\n"), broken), findings)]
    assert found[0].startswith("Hello\n\nOne \ufffd.")
    assert findings.broken_bytes == 4
    assert findings.files_with_broken_bytes == ["a.mbox"]


def test_quotes_can_be_kept() -> None:
    body = b"New.\n> old\n"
    findings = Findings()
    assert list(read_eml(ByteStream(iter([mail(body)]), "a.eml"), findings, "keep")) == [("Hello\n\nNew.\n> old", 1)]
    assert findings.num_quoted_lines == 0
    assert list(read_eml(ByteStream(iter([mail(body)]), "a.eml"), findings)) == [("Hello\n\nNew.", 1)]
    assert findings.num_quoted_lines == 1


def test_a_message_inside_a_message_inside_a_message_is_counted_or_read() -> None:
    deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000))
    findings = Findings()
    found = list(iter_mbox(mbox(deep, mail(b"fine")), findings))
    assert found[-1][0] == "Hello\n\nfine"
    assert len(found) + findings.dropped.total == 2


def test_a_long_message_is_cut_and_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.text.readers.mail.LONGEST_MESSAGE", 1000)
    findings = Findings()
    found = list(iter_mbox(mbox(mail(b"Text.\n" + b"attachment\n" * 1000), mail(b"Short.\n")), findings))
    assert len(found[0][0]) < 2000
    assert found[1][0] == "Hello\n\nShort."
    assert "1 messages are longer than" in findings.warnings[0]


def test_parts_that_are_not_read_are_counted() -> None:
    parts = [
        b"Content-Type: text/plain\n\nRead.",
        b"Content-Type: text/html\n\n<p>Read.</p>",
        b"Content-Type: text/plain\nContent-Disposition: attachment; filename=a.txt\n\nAttached.",
        b"Content-Type: image/png\nContent-Transfer-Encoding: base64\n\niVBORw==",
        b"Content-Type: application/pgp-signature\n\nxyz",
    ]
    body = b"".join(b"--x\n" + part + b"\n" for part in parts) + b"--x--\n"
    message = b'Subject: s\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="x"\n\n' + body
    assert read_message(message) == ("s", "Read.", 2, 0)
    findings = Findings()
    assert [text for text, _ in read_eml(ByteStream(iter([message]), "a.eml"), findings)] == ["s\n\nRead."]
    assert findings.num_attachments == 2
