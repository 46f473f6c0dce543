import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError
from pretune.runtime.events import read_events
from pretune.stages.collect.stage import collect
from pretune.text.document_store import iter_corpus
from pretune.text.readers import xml
from pretune.text.readers.xml import has_pairs, iter_lines, iter_pairs
from pretune.text.reading_report import Findings
from pretune.text.sources.public_data import REGISTRY, obtain

MEDQUAD = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="1" source="X" url="https://example.org/1">
<Focus>A rash</Focus>
<FocusAnnotations><Synonyms><Synonym>Exanthem</Synonym></Synonyms></FocusAnnotations>
<QAPairs>
  <QAPair pid="1">
    <Question qid="1-1" qtype="information">What is (are) A rash ?</Question>
    <Answer>A rash is an area of red &amp; sore skin.
        It has <b>many</b> causes.</Answer>
  </QAPair>
  <QAPair pid="2">
    <Question qid="1-2" qtype="treatment">How is it treated ?</Question>
    <Answer></Answer>
  </QAPair>
</QAPairs>
</Document>
"""
PAIRS = [
    (
        "What is (are) A rash ?\nA rash is an area of red & sore skin.\n        It has many causes.",
        7,
    ),
    ("How is it treated ?", 12),
]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_pairs_of_question_and_answer(size: int) -> None:
    assert has_pairs(MEDQUAD)
    blocks = [MEDQUAD[i : i + size] for i in range(0, len(MEDQUAD), size)]
    assert list(iter_pairs(blocks, "x")) == PAIRS


def test_other_elements_are_lines() -> None:
    page = '<?xml version="1.0"?><a x="no"><b>One <!-- no --> line.</b><c>Another<br/>one &#x41;.</c>tail</a>'
    assert not has_pairs(page)
    assert list(iter_lines([page], "x")) == ["One  line.", "Another", "one A.", "tail"]


def test_what_is_no_xml_is_told() -> None:
    with pytest.raises(
        InputDataError, match=r"x is not well-formed XML \(mismatched tag: line 1, column \d+\); .* --format txt"
    ):
        list(iter_lines(["<a><b></a>"], "x"))
    with pytest.raises(InputDataError, match="not well-formed XML"):
        list(iter_pairs(["<QAPair><Question>cut off"], "x"))


@pytest.mark.parametrize("entity", ['<!ENTITY b "&a;&a;">', '<!ENTITY b SYSTEM "file:///etc/passwd">'])
def test_entities_are_not_expanded(entity: str) -> None:
    bomb = f'<!DOCTYPE x [<!ENTITY a "aaaa">{entity}]><x>&b;</x>'
    with pytest.raises(InputDataError, match="declares the entity 'a', which is not expanded"):
        list(iter_lines([bomb], "x"))
    assert list(iter_lines(["<!DOCTYPE x SYSTEM 'http://127.0.0.1:9/x.dtd'><x>Text.</x>"], "x")) == ["Text."]


def test_entities_of_a_dtd_elsewhere_are_those_of_html(tmp_path: Path) -> None:
    """They vanished: `J&ouml;rg` was read as `Jrg`."""
    dtd = "<!DOCTYPE dblp SYSTEM 'dblp.dtd'>"
    names = "<a>J&ouml;rg &amp; Ren&eacute;e</a><b>&unknown; &copyright;</b>"
    assert list(iter_lines([f"{dtd}<x>{names}</x>"], "x")) == ["Jörg & Renée", "&unknown; &copyright;"]
    pair = "<QAPair><Question>Wer?</Question><Answer>J&ouml;rg &mdash; wer sonst</Answer></QAPair>"
    assert [text for text, _ in iter_pairs([dtd + pair], "x")] == ["Wer?\nJörg — wer sonst"]
    (tmp_path / "a.xml").write_text(f"<?xml version='1.0'?>{dtd}<x>{names}</x>", encoding="utf-8")
    collect([tmp_path / "a.xml"], tmp_path / "out")
    assert next(iter_corpus(tmp_path / "out"))["text"].startswith("Jörg & Renée")


def test_a_long_element_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xml, "LONGEST_PIECE", 1000)
    words = " ".join(f"word{number}" for number in range(2000))
    found = list(iter_lines([f"<a>{words}</a>"], "x"))
    assert max(map(len, found)) < 100_000
    assert "".join(found).replace(" ", "") == words.replace(" ", "")
    pairs = list(iter_pairs([f"<QAPair><Question>q</Question><Answer>{words}</Answer></QAPair>"], "x"))
    assert "".join(text for text, _ in pairs).replace(" ", "").replace("\n", "") == "q" + words.replace(" ", "")


@given(st.text(alphabet="<>/&;a ![]-?'\"=QAPairn\0\x0b\ufffe", max_size=60))
def test_anything_gives_lines_or_a_sentence(text: str) -> None:
    for read in (iter_lines, iter_pairs):
        try:
            list(read([text], "x"))
        except InputDataError as error:
            assert str(error).startswith("x ")


def test_a_file_is_told_by_its_content_and_its_encoding(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(
        '<?xml version="1.0" encoding="iso-8859-1"?><a><b>Größe und Maß, fein.</b></a>'.encode("latin-1")
    )
    (tmp_path / "b.txt").write_text(MEDQUAD, encoding="utf-8")
    collect([tmp_path / "a.xml", tmp_path / "b.txt"], tmp_path / "out")
    found = [(document["text"], document.get("line")) for document in iter_corpus(tmp_path / "out")]
    assert found == [("Größe und Maß, fein.", None), *PAIRS]
    sentences = [e["sentence"] for e in read_events(tmp_path / "out") if e["event"] == "detected"]
    assert "every question with its answer is a document" in sentences[1]
    assert "b.txt: xml (detected by content)" in sentences[1]


def test_medquad_is_read_from_its_archive_without_what_has_no_answers(tmp_path: Path) -> None:
    folder = tmp_path / "medquad"
    folder.mkdir()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("MedQuAD-master/readme.txt", "MedQuAD")
        archive.writestr("MedQuAD-master/9_CDC_QA/0000001.xml", MEDQUAD)
        archive.writestr("MedQuAD-master/10_MPlus_ADAM_QA/0000001.xml", MEDQUAD.replace("rash", "bite"))
    (folder / "master.zip").write_bytes(out.getvalue())
    files, about = obtain(REGISTRY["medquad"], tmp_path, Findings(), agree=None, say=print)
    assert "Licence: CC BY 4.0." in about and "recorded in pretune-lock.json and expected from now on" in about
    collect(["public:medquad"], tmp_path / "out", data_root=tmp_path)
    documents = list(iter_corpus(tmp_path / "out"))
    assert [document["text"] for document in documents] == [text for text, _ in PAIRS]
    assert documents[0]["source"] == f"{files[0].name}/MedQuAD-master/9_CDC_QA/0000001.xml"
