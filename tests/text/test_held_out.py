from pathlib import Path

from pretune.text.held_out import held_out_texts, protected_texts


def test_held_out_and_protected_texts(tmp_path: Path) -> None:
    labels, test = tmp_path / "labels.csv", tmp_path / "test.csv"
    labels.write_text(
        "text,label\n" + "".join(f"Text number {i},{'ab'[i % 2]}\n" for i in range(200)), encoding="utf-8"
    )
    test.write_text("text,label\nA test,a\nAnother test,b\n", encoding="utf-8")
    options = {"text_column": None, "label_column": None, "validation_fraction": 0.1, "test_fraction": 0.2}
    alone = held_out_texts(labels, None, **options)  # type: ignore[arg-type]
    assert 40 < len(alone) < 80
    both = held_out_texts(labels, test, **options)  # type: ignore[arg-type]
    assert both[-2:] == ["A test", "Another test"]
    assert len(both) < len(alone)  # with a test file, no row of the labels is for the test
    assert held_out_texts(None, None, **options) == []  # type: ignore[arg-type]
    assert protected_texts([test]) == ["A test", "Another test"]
    assert protected_texts([]) == []
