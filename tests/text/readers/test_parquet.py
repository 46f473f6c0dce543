import gzip
import io
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from pretune.errors import InputDataError
from pretune.text.raw import compression
from pretune.text.raw.compression import ByteStream, open_bytes
from pretune.text.readers.parquet import iter_parquet
from pretune.text.reading_report import Findings

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def table(columns: dict[str, list[object]], **options: object) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), out, **options)
    return out.getvalue()


def rows(stream: ByteStream) -> list[tuple[dict[str, str], int]]:
    return [(record.fields, record.line) for record in iter_parquet(stream, Findings())]


def test_rows_of_files_and_of_packed_bytes(tmp_path: Path) -> None:
    data = table({"text": ["one", None], "label": [1, 0]})
    expected = [({"text": "one", "label": "1"}, 1), ({"text": "", "label": "0"}, 2)]
    (tmp_path / "a.parquet").write_bytes(data)
    (tmp_path / "a.parquet.gz").write_bytes(gzip.compress(data))
    assert rows(open_bytes(tmp_path / "a.parquet")) == expected
    assert rows(open_bytes(tmp_path / "a.parquet.gz")) == expected


def test_many_row_groups_are_read_in_order() -> None:
    data = table({"text": [f"row {n}" for n in range(10_000)]}, row_group_size=777)
    assert [line for _, line in rows(ByteStream(iter([data]), "a"))] == list(range(1, 10_001))


def test_decimals_are_numbers() -> None:
    """They were text in quotes, and no task took them as numbers."""
    data = table({"score": [Decimal("2.50"), None], "count": [Decimal(3), Decimal(4)], "list": [[Decimal("0.5")], []]})
    records = list(iter_parquet(ByteStream(iter([data]), "a"), Findings()))
    assert records[0].values == {"score": 2.5, "count": 3, "list": [0.5]}
    assert [record.fields["score"] for record in records] == ["2.5", ""]


@pytest.mark.parametrize("data", [b"PAR1", table({"text": ["x"] * 99})[:-20], b"PAR1" + bytes(200) + b"PAR1"])
def test_a_damaged_file(data: bytes) -> None:
    with pytest.raises(InputDataError, match=r"a\.pq cannot be read as parquet \(.*\); get it again"):
        rows(ByteStream(iter([data]), "a.pq"))


def test_text_that_is_no_utf8_is_a_damage() -> None:
    array = pyarrow.array([b"caf\xe9"]).cast(pyarrow.binary()).view(pyarrow.string())
    out = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": array}), out)
    with pytest.raises(InputDataError, match="cannot be read as parquet"):
        rows(ByteStream(iter([out.getvalue()]), "a.pq"))


def test_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long text that a file repeats is stored once; 4,096 rows of it were read at a time, and none was counted."""
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 24)
    data = table({"text": ["x" * 100_000] * 4096}, compression="zstd")
    assert len(data) < 5_000
    (tmp_path / "a.parquet").write_bytes(data)
    read, before = 0, pyarrow.total_allocated_bytes()
    for stream in (open_bytes(tmp_path / "a.parquet"), ByteStream(iter([data]), "a.parquet")):
        with pytest.raises(InputDataError, match=r"a\.parquet unpacks to more than 500 times its size"):
            for _ in iter_parquet(stream, Findings()):
                read += 1
                assert pyarrow.total_allocated_bytes() - before < 20_000_000
    assert read


@pytest.mark.parametrize("kind", ["text", "list", "object"])
def test_the_categories_of_a_column_are_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """They were counted for every 64 rows, so that a table with a categorical column was refused as a bomb."""
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 20)
    categories = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    texts = [f"{n:0100}" for n in range(2_000)] * 4
    column = {
        "text": pyarrow.array([*texts, None], categories),
        "list": pyarrow.array([*([text] for text in texts), [], None], pyarrow.list_(categories)),
        "object": pyarrow.array([*({"a": text} for text in texts), None], pyarrow.struct({"a": categories})),
    }[kind]
    parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet")
    findings = Findings()
    found = [record.fields["text"] for record in iter_parquet(open_bytes(tmp_path / "a.parquet"), findings)]
    assert all(text in cell for text, cell in zip(texts, found, strict=False)) and len(found) == len(column)
    assert 100 * len(texts) <= findings.bytes_read < 120 * len(texts)


def test_a_category_that_many_rows_repeat_is_a_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "EXPANSION_COUNTS_FROM", 1 << 24)
    column = pyarrow.array(["x" * 1_000_000] * 64).dictionary_encode()
    parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet", compression="zstd")
    before = pyarrow.total_allocated_bytes()
    with pytest.raises(InputDataError, match=r"\(64,000,256 bytes so far\), like a zip bomb"):
        next(iter_parquet(open_bytes(tmp_path / "a.parquet"), Findings()))
    assert pyarrow.total_allocated_bytes() - before < 10_000_000


def test_without_pyarrow_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputDataError, match=r"pip install 'pretune\[parquet\]'"):
        rows(ByteStream(iter([b"PAR1"]), "a.pq"))
