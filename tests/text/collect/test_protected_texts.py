import json
from pathlib import Path

from pretune.text.collect.protected_texts import protected_texts
from pretune.text.reading_report import Findings


def test_every_document_of_the_files_is_protected(tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("text,label\nA test,a\nAnother test,b\n", encoding="utf-8")
    assert protected_texts([test], Findings()) == ["A test", "Another test"]
    assert protected_texts([], Findings()) == []


def test_every_text_column_of_a_table_is_protected(tmp_path: Path) -> None:
    """Only one of them was, and nothing said so."""
    test, findings = tmp_path / "test.csv", Findings()
    rows = "id,sentence1,sentence2,label\nrow 1,A man runs,A person moves,quite so\nrow 2,It rains,The sun shines,no\n"
    test.write_text(rows, encoding="utf-8")
    assert protected_texts([test], findings) == ["A man runs", "A person moves", "It rains", "The sun shines"]
    (detection,) = findings.detections
    assert "the text is in columns 'sentence1', 'sentence2' (others: id, label)" in detection.sentence
    inner = tmp_path / "test.jsonl"
    inner.write_text(json.dumps({"qa": {"question": "What is it?", "answer": "It is rain."}}) + "\n", encoding="utf-8")
    assert protected_texts([inner], Findings()) == ["What is it?", "It is rain."]


def test_columns_of_scripts_without_blanks_are_protected(tmp_path: Path) -> None:
    """They have one word to a program that looks for blanks, and were left out."""
    test, findings = tmp_path / "test.csv", Findings()
    rows = "标题,正文,类别\n央行宣布下调存款准备金率,今天的市场反应平静,财经\n球队在主场赢得比赛,教练很满意,体育\n"
    test.write_text(rows, encoding="utf-8")
    assert protected_texts([test], findings) == [
        "央行宣布下调存款准备金率",
        "今天的市场反应平静",
        "球队在主场赢得比赛",
        "教练很满意",
    ]
    (detection,) = findings.detections
    assert "(others: 类别)" in detection.sentence
