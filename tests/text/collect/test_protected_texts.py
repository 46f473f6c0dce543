from pathlib import Path

from pretune.text.collect.protected_texts import protected_texts


def test_every_document_of_the_files_is_protected(tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("text,label\nA test,a\nAnother test,b\n", encoding="utf-8")
    assert protected_texts([test]) == ["A test", "Another test"]
    assert protected_texts([]) == []
