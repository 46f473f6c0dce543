import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pretune.cli.main import run_command_line
from pretune.errors import InputDataError, UsageError
from pretune.runtime.download import only_download
from pretune.runtime.events import read_events
from pretune.stages.collect.stage import collect
from pretune.text.document_store import iter_corpus
from pretune.text.reading_report import Findings
from pretune.text.sources.files import TextFile
from pretune.text.sources.public_data import LOCK_NAME, REGISTRY, DataSet, data_set_of, default_data_root, obtain


def make_archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, text in (("d/train/1.txt", "A training text."), ("d/test/1.txt", "A test text.")):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def public(tmp_path: Path) -> Iterator[DataSet]:
    """A data set on a local server."""
    web = tmp_path / "web"
    web.mkdir()
    (web / "d.tar.gz").write_bytes(make_archive())
    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(web)))
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    data = (web / "d.tar.gz").read_bytes()
    yield DataSet(
        name="d",
        title="A data set",
        url=f"http://127.0.0.1:{running.server_port}/d.tar.gz",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        licence="free",
        citation="Somebody 2026",
        selection="its training texts",
        members=("d/train/*",),
    )
    running.shutdown()
    running.server_close()
    thread.join()


def texts(out: Path) -> list[str]:
    return [document["text"] for document in iter_corpus(out)]


def test_it_is_downloaded_once_and_told_about(public: DataSet, tmp_path: Path) -> None:
    root, plans = tmp_path / "root", []

    def agree(plan: str) -> bool:
        plans.append(plan)
        return True

    collect(["d"], tmp_path / "out", data_root=root, agree=agree, registry={"d": public})
    assert texts(tmp_path / "out") == ["A training text."]
    assert re.search(r"0 MB will be downloaded from http://127\..*, verified by its sha256. Licence: free.", plans[0])
    assert {path.name for path in (root / "d").iterdir()} == {"d.tar.gz", LOCK_NAME, ".lock"}
    (notice, *_) = [event["sentence"] for event in read_events(tmp_path / "out") if event["event"] == "notice"]
    assert "as in the registry. Licence: free. Please cite: Somebody 2026." in notice
    collect(["public:d"], tmp_path / "again", data_root=root, registry={"d": public})  # nobody is asked again
    assert len(plans) == 1


def test_of_two_commands_one_downloads_and_the_other_waits(public: DataSet, tmp_path: Path) -> None:
    """Both wrote to the same part of the file, and one reported a changed file or failed to put it in place."""
    folder, said = tmp_path / "root" / "d", list[str]()
    found: list[list[TextFile]] = []

    def second() -> None:
        found.append(obtain(public, tmp_path / "root", Findings(), agree=lambda _: True, say=said.append)[0])

    waiting = threading.Thread(target=second)
    with only_download(folder, lambda: None):
        waiting.start()
        for _ in range(500):
            if said:
                break
            time.sleep(0.01)
        (folder / "d.tar.gz").write_bytes(make_archive())
    waiting.join(10)
    assert said == ["d: another process is downloading it; waiting for it."]
    assert [file.path for (file,) in found] == [str(folder / "d.tar.gz")]


def test_nothing_is_downloaded_without_consent(public: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Give --yes to agree, or --data-root DIR with a copy in DIR/d"):
        collect(["d"], tmp_path / "out", data_root=tmp_path / "root", registry={"d": public})
    with pytest.raises(UsageError, match="Nothing was downloaded"):
        collect(["d"], tmp_path / "out", data_root=tmp_path / "root", agree=lambda _: False, registry={"d": public})
    assert not (tmp_path / "root").exists()
    assert not (tmp_path / "out").exists()


def test_a_local_copy_is_verified(public: DataSet, tmp_path: Path) -> None:
    folder = tmp_path / "root" / "d"
    folder.mkdir(parents=True)
    (folder / "d.tar.gz").write_bytes(make_archive() + b"x")
    with pytest.raises(InputDataError, match=r"d\.tar\.gz is not the A data set in the registry"):
        obtain(public, tmp_path / "root", Findings(), agree=None, say=print)
    (folder / "d.tar.gz").unlink()
    (folder / "mine.txt").write_text("Another form of it.\n", encoding="utf-8")
    files, about = obtain(public, tmp_path / "root", Findings(), agree=None, say=print)
    assert [Path(file.path).name for file in files] == ["mine.txt"]
    assert "a local copy in" in about
    assert "a test split may be among them" in about


@pytest.mark.parametrize("parent", ["SST-2", "."])
@pytest.mark.parametrize("root_name", ["root", "[r]oot"])
def test_the_test_of_an_unpacked_copy_is_not_read(tmp_path: Path, parent: str, root_name: str) -> None:
    """All files of the folder were read, while the log said that only the training split was."""
    folder = tmp_path / root_name / "sst2" / parent
    (folder / "original").mkdir(parents=True)
    (folder / "original" / "all.txt").write_text("All of it.\n", encoding="utf-8")
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").write_text(f"sentence\tlabel\na {name} sentence\t1\n", encoding="utf-8")
    files, about = obtain(REGISTRY["sst2"], tmp_path / root_name, Findings(), agree=None, say=print)
    assert [Path(file.path).name for file in files] == ["train.tsv"]
    assert "phrases of its training split, from a local copy in" in about


@pytest.mark.parametrize("root_name", ["root", "[r]oot"])
def test_many_files_of_an_unpacked_copy(tmp_path: Path, root_name: str) -> None:
    folder = tmp_path / root_name / "imdb" / "aclImdb"
    for name in ("train/pos", "train/unsup", "test/pos"):
        (folder / name).mkdir(parents=True)
        (folder / name / "1.txt").write_text("A review.\n", encoding="utf-8")
    files, _ = obtain(REGISTRY["imdb"], tmp_path / root_name, Findings(), agree=None, say=print)
    assert [str(Path(file.path).relative_to(folder)) for file in files] == ["train/pos/1.txt", "train/unsup/1.txt"]


def test_an_unknown_sha256_is_written_down_and_compared_from_then_on(public: DataSet, tmp_path: Path) -> None:
    unknown = replace(public, sha256=None)
    obtain(unknown, tmp_path / "root", Findings(), agree=lambda _: True, say=print)
    lock = tmp_path / "root" / "d" / LOCK_NAME
    assert json.loads(lock.read_text(encoding="utf-8"))["d.tar.gz"]["sha256"] == public.sha256
    _, about = obtain(unknown, tmp_path / "root", Findings(), agree=None, say=print)
    assert f"as in {lock}" in about
    (tmp_path / "root" / "d" / "d.tar.gz").write_bytes(b"altered")
    with pytest.raises(InputDataError, match=f"is not the A data set in {lock}"):
        obtain(unknown, tmp_path / "root", Findings(), agree=None, say=print)
    lock.unlink()
    assert "recorded in" in obtain(unknown, tmp_path / "root", Findings(), agree=None, say=print)[1]


def test_a_file_of_that_name_comes_first(public: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("d").write_text("My own text.\n", encoding="utf-8")
    collect(["d"], tmp_path / "out", registry={"d": public})
    assert texts(tmp_path / "out") == ["My own text."]
    notices = [event["sentence"] for event in read_events(tmp_path / "out") if event["event"] == "notice"]
    assert notices[0].endswith("the public data set of that name is public:d.")
    assert data_set_of("public:d", {"d": public}) is public
    with pytest.raises(UsageError, match="no public data set 'e' in the registry; it has d"):
        data_set_of("public:e", {"d": public})


@pytest.mark.parametrize("data_set", REGISTRY.values(), ids=lambda data_set: data_set.name)
def test_what_is_registered_is_whole(data_set: DataSet) -> None:
    assert data_set.url.startswith("https://")
    assert data_set.sha256 is None or re.fullmatch("[0-9a-f]{64}", data_set.sha256)
    assert data_set.size_bytes is None or data_set.size_bytes > 1_000_000
    assert all((data_set.title, data_set.licence, data_set.citation, data_set.selection))


def test_a_table_without_a_header(tmp_path: Path) -> None:
    """Like AG News: three columns whose names only the registry has."""
    rows = b'"3","A title","The text, with a comma."\n"1","Another","More text."\n'
    folder = tmp_path / "root" / "ag_news"
    folder.mkdir(parents=True)
    (folder / "train.csv").write_bytes(rows)
    registry = {"ag_news": replace(REGISTRY["ag_news"], sha256=hashlib.sha256(rows).hexdigest())}
    collect(["ag_news"], tmp_path / "out", data_root=tmp_path / "root", registry=registry)
    assert texts(tmp_path / "out") == ["The text, with a comma.", "More text."]


@pytest.mark.parametrize(
    ("data_set", "name"),
    [("ag_news", "train.csv.gz"), ("dbpedia", "dbpedia_csv/train.csv"), ("dbpedia", "train.csv")],
)
def test_an_unpacked_table_without_a_header(tmp_path: Path, data_set: str, name: str) -> None:
    """The names of its columns were lost, and the table was refused."""
    rows = b'"3","A title","The text, with a comma."\n"1","Another","More text."\n'
    file = tmp_path / "root" / data_set / name
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress(rows) if name.endswith(".gz") else rows)
    collect([data_set], tmp_path / "out", data_root=tmp_path / "root")
    assert texts(tmp_path / "out") == ["The text, with a comma.", "More text."]


@pytest.mark.parametrize(
    "header",
    ["Class Index,Title,Description", "label,title,description", "id,Class Index,Title,Description", "label,text", ""],
)
def test_an_unpacked_table_of_another_form(tmp_path: Path, header: str) -> None:
    """The names in the header of a copy became a document, and a copy with other columns was refused."""
    width = header.count(",") + 1 if header else 4
    cells = ["7", "3", "A title", "The text, with a comma."][-width:] if width > 2 else ["3", "The text, with a comma."]
    row = ",".join(f'"{cell}"' for cell in cells)
    file = tmp_path / "root" / "ag_news" / "train.csv.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.compress(f"{header}\n{row}\n".lstrip("\n").encode()))
    collect(["ag_news"], tmp_path / "out", data_root=tmp_path / "root")
    assert texts(tmp_path / "out") == ["The text, with a comma."]


def test_the_cache_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_root() == tmp_path / "pretune" / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert default_data_root() == Path.home() / ".cache" / "pretune" / "data"


def test_run_takes_a_name_and_asks_as_collect_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "--corpus", "imdb", "--tokens", "1000", "--quiet", "--out", "run", "--data-root", "data"]
    assert run_command_line(words) == 2
    assert "Give --yes to agree, or --data-root DIR" in capsys.readouterr().err
    copy = tmp_path / "data" / "imdb"
    copy.mkdir(parents=True)
    (copy / "mine.txt").write_text("Too little text.\nFor anything.\n", encoding="utf-8")
    assert run_command_line(words) == 3  # by the next stage
    assert "too little to learn from" in capsys.readouterr().err
    assert texts(tmp_path / "run" / "collect") == ["Too little text.", "For anything."]


def test_an_unknown_size_is_said(public: DataSet, tmp_path: Path) -> None:
    plans: list[str] = []
    unknown = replace(public, size_bytes=None, sha256=None)
    obtain(unknown, tmp_path / "root", Findings(), agree=lambda plan: plans.append(plan) is None, say=print)
    assert "a file of unknown size will be downloaded from" in plans[0]
    assert "with its sha256 recorded for later checks" in plans[0]
