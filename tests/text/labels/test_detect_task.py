"""The task of a file is detected conservatively, with a reason; a word of the user is never overruled."""

from __future__ import annotations

from typing import Any

import pytest

from pretune.errors import InputDataError, UsageError
from pretune.text.labels.detect_task import Columns, DetectedTask, TaskWord, detect_task
from pretune.text.readers.records import Record, cell_text

TEXTS = ["The kettle is awkward.", "A splendid colander, honestly.", "My neighbour has a rusty saucepan."]
PAIR = {"text": "A man eats.", "text2": "Somebody eats."}


def rows(*cells: dict[str, Any], times: int = 1) -> list[Record]:
    return [Record({k: cell_text(v) for k, v in row.items()}, n, row) for n, row in enumerate(cells * times, 1)]


def labelled(labels: list[Any], column: str = "label", **others: Any) -> list[Record]:
    return rows(*({"text": TEXTS[n % 3], column: label, **others} for n, label in enumerate(labels)))


def detect(records: list[Record], task: TaskWord = "auto", separator: str | None = None, **given: str) -> DetectedTask:
    return detect_task("rows.jsonl", records, task=task, given=Columns(**given), label_separator=separator)


@pytest.mark.parametrize(
    "labels",
    [
        ["good", "bad"] * 9,
        [0, 1] * 9,
        ["1", "2", "3", "4", "5"] * 9,
        [str(n) for n in range(77)] * 3,
        [1.0, 2.0, 3.0] * 9,
        ["0.5", "1"] * 9,
        ["Sci, Tech", "World"] * 9,
        ["Sci/Tech", "Arts/Culture", "Sports"] * 9,
        ["A", "A+", "B", "B+"] * 9,
        [True, False] * 9,
        [*range(18, 91)] * 4,
        ["2,5", "3,0", "3,5"] * 9,
    ],
)
def test_single_classes_stay_classes(labels: list[Any]) -> None:
    found = detect(labelled(labels))
    assert (found.task, found.word, found.form) == ("classification", "classification", "cell")
    assert f"each row has one label, in 'label'; {len(set(map(str, labels)))} classes" in found.sentence


@pytest.mark.parametrize(
    ("labels", "form", "separator", "reason"),
    [
        ([["a", "b"], ["a"], []] * 5, "list", None, "15 of 15 rows have a list in 'label', 5 of them one with more"),
        (["['a', 'b']", "['a']"] * 5, "list", None, "10 of 10 rows have a list"),
        (["4,27", "27", "4", "1,4", "1"] * 5, "joined", ",", "10 of 25 rows have labels in 'label' that are joined by"),
        (["a#b", "b", "a", "c#a", "c"] * 5, "joined", "#", "joined by '#'"),
    ],
)
def test_several_labels_a_row(labels: list[Any], form: str, separator: str | None, reason: str) -> None:
    found = detect(labelled(labels))
    assert (found.task, found.form, found.label_separator) == ("multilabel", form, separator)
    assert reason in found.sentence


def test_decimal_commas_join_no_labels() -> None:
    """Scores such as 7, 7,5 and 8,25 were taken for several labels a row, because 7, 8 and 5 occur by themselves."""
    scores = [f"{n / 4:g}".replace(".", ",") for n in range(41)] * 3
    found = detect(labelled(scores))
    assert (found.task, found.form) == ("regression", "number")
    assert detect(labelled(scores), "multilabel").label_separator == ","
    assert detect(labelled(scores), separator=",").task == "multilabel"


def test_a_given_separator_wins_and_must_occur() -> None:
    assert detect(labelled(["a;b", "c;d"] * 4), separator=";").label_separator == ";"
    assert detect(labelled(["a;b", "c;d"] * 4)).task == "classification"
    with pytest.raises(InputDataError, match=r"no cell of the column 'label' contains '\|', which --label-separator"):
        detect(labelled(["a;b", "c;d"] * 4), separator="|")


@pytest.mark.parametrize(
    ("records", "task", "reason"),
    [
        (labelled(["a|b", "c|d"] * 4), "classification", "the task classification, whose labels are not joined; leave"),
        (labelled([1.5, 2.5, 3] * 4), "regression", r"the task regression, .*, or give --task multilabel\."),
        (rows({**PAIR, "label": "a|b"}, {**PAIR, "label": "b"}, times=4), "pairs", "the task pairs"),
        (rows({**PAIR, "label": "a|b"}, {**PAIR, "label": "b"}, times=4), "auto", "the task pairs"),
        (rows({"tokens": ["a"], "tags": ["B-X"]}), "tokens", "the task tokens"),
        (labelled([["a", "b"], ["a"]] * 4), "auto", r"the labels of a row are a list; leave it out\."),
        (
            rows({"text": TEXTS[0], "a": 0, "b": 1, "c": 0}, {"text": "x", "a": 1, "b": 0, "c": 1}),
            "auto",
            "a column of 0",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isalpha() else "",
)
def test_a_separator_that_separates_nothing_is_refused(records: list[Record], task: TaskWord, reason: str) -> None:
    """It was ignored without a word."""
    with pytest.raises(UsageError, match=f"--label-separator is given, but .*{reason}"):
        detect(records, task, "|")


def test_the_separator_of_another_file_need_not_occur() -> None:
    """A test file with one label in every row was refused for an option that nobody had given."""

    def read(labels: list[Any]) -> DetectedTask:
        return detect_task("test.csv", labelled(labels * 4), task="multilabel", preferred_separator=";")

    found = read(["a", "b"])
    assert (found.form, found.label_separator) == ("joined", ";")
    assert read(["a;b", "c"]).label_separator == ";"
    assert read([["a"], ["b"]]).form == "list"


def test_a_column_of_flags_for_each_label() -> None:
    cells = [{"id": n, "comment": TEXTS[n % 3], "cold": n % 2, "old": n % 3 // 2, "red": n % 5 // 4} for n in range(15)]
    found = detect(rows(*cells))
    assert (found.task, found.form, found.label_columns) == ("multilabel", "flags", ("cold", "old", "red"))
    assert found.text_column == "comment"
    assert "a column of 0 and 1 for each of 3 labels (cold, old, red)" in found.sentence
    # As pandas writes columns that once had a gap: one of them was taken for the label.
    floats = [{k: float(v) if k in ("cold", "old", "red") else v for k, v in cell.items()} for cell in cells]
    assert detect(rows(*floats)).label_columns == ("cold", "old", "red")
    again = detect(rows(*cells[:2]), task="multilabel", label=found.label_column)
    assert again.label_columns == ("cold", "old", "red")
    assert detect(rows(*cells), label="cold").task == "classification"
    assert detect(rows(*({**cell, "label": n % 2} for n, cell in enumerate(cells)))).task == "classification"


@pytest.mark.parametrize(
    "names", ["emotion_joy emotion_anger emotion_fear", "label_a label_b label_c", "joy tag_x tag_y"]
)
def test_flags_whose_names_have_the_word_label_or_the_like(names: str) -> None:
    """The first was taken for the only label."""
    flags = tuple(names.split())
    cells = [{"text": TEXTS[n % 3], **{f: n % (k + 2) // (k + 1) for k, f in enumerate(flags)}} for n in range(15)]
    assert detect(rows(*cells)).label_columns == flags
    assert detect(rows(*cells), text="text").label_columns == flags
    assert detect(rows(*cells), task="multilabel").label_columns == flags
    assert detect(rows(*({**cell, "text2": "Somebody eats."} for cell in cells))).label_columns == flags
    with pytest.raises(InputDataError, match="a 0/1 column for each of several labels"):
        detect(rows(*cells), task="classification")


def test_a_column_with_the_word_label_beside_other_flags() -> None:
    cells = [{"text": TEXTS[n % 3], "my_label": n % 2, "is_long": n % 3 // 2, "has_url": n % 5 // 4} for n in range(15)]
    found = detect(rows(*cells))
    assert (found.task, found.label_column) == ("classification", "my_label")
    assert detect(rows(*cells), task="multilabel").label_columns == ("my_label", "is_long", "has_url")


def test_the_name_of_a_column_of_flags_may_contain_a_comma() -> None:
    """It was detected, and then refused under half of its name."""
    cells = [{"comment": TEXTS[n % 3], "cold, wet": n % 2, "old": n % 3 // 2, "red,": n % 5 // 4} for n in range(15)]
    found = detect(rows(*cells))
    assert found.label_columns == ("cold, wet", "old", "red,")
    again = detect(rows(*cells[:2]), task="multilabel", label=found.label_column)
    assert again.label_columns == found.label_columns
    assert detect(rows(*cells), task="multilabel", label="old, cold, wet").label_columns == ("old", "cold, wet")
    with pytest.raises(InputDataError, match="no column 'old,wet', which --label-column names"):
        detect(rows(*cells), task="multilabel", label="old,wet")


def test_columns_of_true_and_false_are_labels_only_on_request() -> None:
    cells = [{"comment": TEXTS[n % 3], "cold": n % 2 == 0, "old": n % 3 == 0, "red": n % 5 == 0} for n in range(15)]
    assert detect(rows(*cells)).task == "classification"
    assert detect(rows(*cells), task="multilabel").label_columns == ("cold", "old", "red")


@pytest.mark.parametrize(
    "labels",
    [
        [f"{n / 700:.4f}" for n in range(2500)],
        [1.5, 2.0, 3.5, 4.0] * 9,
        [*range(100), 7],
        [*[n / 7 for n in range(60)], "good"],
        [*[n / 7 for n in range(60)], float("nan"), None],
    ],
)
def test_measures_are_numbers_to_predict(labels: list[Any]) -> None:
    found = detect(labelled(labels))
    assert (found.task, found.form) == ("regression", "number")
    assert "different numbers" in found.sentence


def test_scores_in_a_column_without_a_usual_name() -> None:
    found = detect(labelled([n / 7 for n in range(60)], "relatedness"))
    assert (found.task, found.label_column) == ("regression", "relatedness")
    assert detect(labelled([*range(30)], "years", id=4), task="regression", label="years").label_column == "years"
    with pytest.raises(InputDataError, match="no column that looks like the numbers to predict"):
        detect(labelled(["x"] * 9, "other"), task="regression")


@pytest.mark.parametrize(
    ("labels", "task", "reason"),
    [
        (["yes", "no"] * 5, "classification", "each row has one label"),
        ([n / 9 for n in range(30)], "regression", "30 diff"),
    ],
)
def test_pairs_by_name_with_labels_or_scores(labels: list[Any], task: str, reason: str) -> None:
    found = detect(rows(*({**PAIR, "label": label} for label in labels)))
    assert (found.task, found.word) == (task, "pairs")
    assert (found.text_column, found.text_pair_column) == ("text", "text2")
    assert "two texts a row, in 'text' and 'text2', and " in found.sentence
    assert reason in found.sentence


def test_texts_with_other_names_or_without_a_label_are_no_pairs() -> None:
    answers = rows({"text": "What is it?", "response": "It is long.", "label": "a"}, times=9)
    assert detect(answers).task == detect(answers).word == "classification"
    with pytest.raises(InputDataError, match="looks like the labels"):
        detect(rows(*({"question": f"What is {n}?", "answer": f"It is {n * 7}, see."} for n in range(9))))
    assert detect(rows({**PAIR, "label": "a"}, times=9), text="text").word == "classification"
    assert detect(rows({**PAIR, "label": "a"}, times=9), text="text", text_pair="text2").word == "pairs"
    given = detect(answers, task="pairs", text_pair="response")
    assert (given.text_column, given.text_pair_column, given.label_column) == ("text", "response", "label")


def test_pairs_without_a_second_text_are_refused_with_the_columns() -> None:
    with pytest.raises(InputDataError, match=r"no column .* second text \(its columns are text, label\)"):
        detect(labelled(["a", "b"]), task="pairs")
    with pytest.raises(InputDataError, match="no column 'answer', which should have the second text; its columns are"):
        detect(labelled(["a", "b"]), task="pairs", text_pair="answer")


@pytest.mark.parametrize(
    ("words", "tags"),
    [(["EU", "said"], ["B-ORG", "O"]), (["EU"], [3]), ([], []), ("['EU', 'said']", "['B-ORG', 'O']")],
)
@pytest.mark.parametrize("names", [("tokens", "tags"), ("tokens", "ner_tags"), ("words", "labels")])
def test_words_with_tags(words: Any, tags: Any, names: tuple[str, str]) -> None:
    found = detect(rows({names[0]: words, names[1]: tags, "id": "7"}, times=3))
    assert (found.task, found.form) == ("tokens", "tags")
    assert (found.text_column, found.label_column) == names
    assert f"a list of words in '{names[0]}', with as many tags in '{names[1]}'" in found.sentence


@pytest.mark.parametrize("name", ["spans", "entities", "label"])
@pytest.mark.parametrize("span", [[0, 3, "ORG"], {"start": 0, "end": 3, "label": "ORG"}])
def test_texts_with_spans(name: str, span: Any) -> None:
    records = rows({"text": "EU said no to it.", name: [span]}, {"text": "Nobody answered them.", name: []}, times=3)
    found = detect(records)
    assert (found.task, found.form, found.text_column, found.label_column) == ("tokens", "spans", "text", name)
    assert f"entities by characters in '{name}', in 3 of 6 rows" in found.sentence


def test_a_file_with_classes_and_entities_stays_one_of_classes() -> None:
    both = rows(*({"text": TEXTS[n % 3], "label": "ab"[n % 2], "spans": [[0, 3, "X"]]} for n in range(9)))
    assert detect(both).task == "classification"
    assert detect(both, task="tokens").form == "spans"
    tagged = rows(*({"text": "a b", "label": "ab"[n % 2], "tokens": ["a", "b"], "tags": ["O", "O"]} for n in range(9)))
    assert detect(tagged).task == "classification"


def test_a_file_without_an_entity_is_read_if_task_and_column_are_named() -> None:
    """A test file without entities was refused: it was said to have no column of them."""
    records = rows({"text": "Nobody answered them.", "spans": []}, {"text": "It rained.", "spans": None}, times=3)
    found = detect(records, task="tokens", label="spans")
    assert (found.form, found.text_column, found.label_column) == ("spans", "text", "spans")
    assert "entities by characters in 'spans', in 0 of 6 rows" in found.sentence
    with pytest.raises(InputDataError, match="no entities that are recognised"):
        detect(records, task="tokens", label="text")


def test_no_entities_are_refused_with_the_columns() -> None:
    with pytest.raises(InputDataError, match=r"no entities that are recognised \(its columns are text, label\)"):
        detect(labelled(["a", "b"]), task="tokens")


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_a_word_of_the_user_is_never_overruled(task: TaskWord) -> None:
    for labels in (["1.5", "2.5", "4"] * 9, [1, 2] * 9):
        found = detect(labelled(labels), task=task)
        assert found.task == found.word == task
        assert found.sentence.startswith(f"Task {task}: ")


def test_a_missing_column_is_refused_with_the_columns() -> None:
    with pytest.raises(InputDataError, match="no column 'stars', which --label-column names; its columns are text, la"):
        detect(labelled(["a", "b"]), label="stars")


def test_pairs_are_read_for_a_task_that_is_known() -> None:
    whole = rows(*({**PAIR, "score": n % 3} for n in range(9)))
    found = detect_task("test.jsonl", whole, task="regression", has_pairs=True)
    assert (found.task, found.word, found.text_pair_column, found.form) == ("regression", "pairs", "text2", "number")
    assert found.columns == Columns(text="text", text_pair="text2", label="score")
    assert detect(whole, task="classification", text_pair="text2").word == "pairs"
    assert detect(whole, task="classification").word == "classification"
    with pytest.raises(InputDataError, match="no column that is recognised as a second text"):
        detect_task("test.jsonl", rows({"text": "One two.", "score": 1}, times=3), task="regression", has_pairs=True)


def test_conversations_are_refused_with_the_command_for_them() -> None:
    turns = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    values = [{"id": n, "messages": turns, "source": "web", "text": f"A text {n}"} for n in range(20)]
    rows = [Record({name: cell_text(cell) for name, cell in row.items()}, 1, row) for row in values]
    with pytest.raises(InputDataError, match=r"conversations in the column 'messages'.*--task chat"):
        detect_task("chats.jsonl", rows)
    assert detect_task("chats.jsonl", rows, given=Columns(text="text", label="source")).task == "classification"
