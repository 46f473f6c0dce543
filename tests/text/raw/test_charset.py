import pytest

from pretune.errors import UsageError
from pretune.text.raw.charset import check_encoding, declared_encoding, detect_encoding, superset_of

GERMAN = "Über die große Brücke gehen wir, schön langsam, nach Hause; dort gibt es Äpfel und Käse für alle.\n" * 5
RUSSIAN = "Сегодня утром мы пошли в магазин и купили хлеб, молоко и немного сыра для всей семьи.\n" * 5
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。\n" * 9


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"),
        (GERMAN, "mac_roman"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32-le"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8_r"),
        (RUSSIAN, "cp866"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        ("English with “curly quotes” — and dashes… it’s all.\n" * 20, "cp1252"),
    ],
)
def test_what_is_no_utf8_is_recognised(text: str, encoding: str) -> None:
    found = detect_encoding(text.encode(encoding))
    assert found.is_guess
    assert text.encode(encoding).decode(found.name) == text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_mark_is_believed_before_everything_else(encoding: str) -> None:
    data = GERMAN.encode(encoding)
    found = detect_encoding(data, given="cp1252")
    assert not found.is_guess
    assert data[found.bom_bytes :].decode(found.name) == GERMAN


def test_what_is_given_or_valid_is_no_guess() -> None:
    assert detect_encoding(GERMAN.encode()) == detect_encoding(b"ASCII only")
    assert detect_encoding(GERMAN.encode("cp1252"), given="latin-1").name == "latin-1"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (GERMAN.encode()[:99] + b"\xff\xfe broken \xff " + GERMAN.encode()[:99], "utf-8"),  # damaged UTF-8
        (b"a good line\n" * 100 + b"caf\xe9", "utf-8"),  # one byte is too little to guess from
        (b"caf\xe9 " * 500, "cp1252"),  # Greek letters do not stand in English words
        (GERMAN.encode()[:-3][:150], "utf-8"),
    ],
)
def test_broken_bytes_do_not_make_another_encoding(data: bytes, name: str) -> None:
    assert detect_encoding(data).name == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b'<meta charset="ISO-8859-1">', "cp1252"),
        (b"<?xml version='1.0' encoding='koi8-r'?>", "koi8-r"),
        (b"<meta http-equiv=x content='text/html; charset=euc-kr'>", "cp949"),
        (b"<meta charset=Shift_JIS>", "cp932"),
        (b"<meta charset=euc-jp>", "euc_jis_2004"),
        (b"<meta charset=gb_2312-80>", "gb18030"),
        (b"<meta charset=x-sjis>", "cp932"),
        (b"<meta charset=Windows-31J>", "cp932"),
        (b"<meta charset=Big5>", "big5hkscs"),
        (b"<meta charset=iso-8859-9>", "cp1254"),
        (b"<meta charset=tis-620>", "cp874"),
        (b"<meta charset=utf-16>", None),  # it could not have been read so far
        (b"<meta charset=base64>", None),
        (b"<meta charset=nonsense>", None),
        (b"<meta charset=idna>", None),  # it cannot be repaired
        (b"<p>", None),
    ],
)
def test_what_a_page_declares(head: bytes, name: str | None) -> None:
    assert declared_encoding(head) == name


@pytest.mark.parametrize("declared", ["Shift_JIS", "GB2312", "EUC-KR", "EUC-JP", "Big5", "latin1", "us-ascii", "utf-8"])
def test_a_superset_reads_what_windows_writes(declared: str) -> None:
    text = {"Shift_JIS": "①㈱髙", "GB2312": "镕€", "EUC-KR": "똠", "EUC-JP": "①㈱", "Big5": "①碁"}.get(declared, "a")
    name = superset_of(declared)
    assert name is not None
    assert text.encode(name).decode(name) == text
    assert superset_of("klingon") is None


@pytest.mark.parametrize("name", ["base64", "rot13", "idna", "klingon", "", "\0"])
def test_an_encoding_that_there_is_not(name: str) -> None:
    with pytest.raises(UsageError, match="There is no encoding"):
        check_encoding(name)
    assert check_encoding("latin1") == "iso8859-1"
