"""The table of results: no text is in a training and a test file, and the page shows the figures that it is given."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import data_sets
import machine
import numpy as np
import parts
import pytest
import results_page as page
import results_table as table
import zstandard
from scipy import stats

from pretune.evaluation.verdicts import NOT_LINEAR


def compress(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor().compress(content))


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder of data sets with made-up rows in the forms of the real ones."""
    folder = tmp_path / "data"
    rows = [{"text": f"story {i % 180}", "label": "AB"[i % 2]} for i in range(200)]  # 20 rows twice
    compress(folder / "topic" / "ag_news_train.jsonl.zst", jsonl(rows))
    (folder / "emotion").mkdir()
    (folder / "emotion" / "train.tsv").write_text('"Well, fine\t4,27\tid1\nOh no!\t25\tid2\n', encoding="utf-8")
    (folder / "emotion" / "test.tsv").write_text("Thanks\t15\tid3\n", encoding="utf-8")
    return folder


# -- files ---------------------------------------------------------------------------------------------------------


def test_rows_without_an_official_test_are_held_out_by_their_text(data: Path) -> None:
    train, test = data_sets.read_parts(data_sets.data_set_named("ag-news"), data)
    assert len(train) + len(test) == 200
    assert 5 <= len(test) <= 40
    assert not {row["text"] for row in train} & {row["text"] for row in test}


def test_a_base_reads_no_held_out_text_and_protects_all_of_them(data: Path, tmp_path: Path) -> None:
    base = data_sets.Base(name="news", title="", sources=(data_sets.Source(of="ag-news"),), tokens=1)
    only = [data_sets.data_set_named("ag-news")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_sets, "DATA_SETS", only)
        (corpus,) = data_sets.make_corpus(base, data, tmp_path / "texts", 1.0)
        protected = data_sets.make_protected(base, data, tmp_path / "protected")
    texts, held_out = ({row["text"] for row in data_sets.read_rows(file)} for file in (corpus, protected))
    assert len(texts) + len(held_out) == 180
    assert not texts & held_out


def test_draws_have_so_many_rows_of_each_class_and_differ(data: Path, tmp_path: Path) -> None:
    few = data_sets.DataSet(
        name="few", title="", base="english", train="topic/ag_news_train.jsonl.zst", rows_per_class=3, draws=2
    )
    files = data_sets.make_label_files(few, data, tmp_path / "files")
    drawn = [data_sets.read_rows(each.train) for each in files]
    assert [sorted(row["label"] for row in rows) for rows in drawn] == [list("AAABBB")] * 2
    assert drawn[0] != drawn[1]
    again = data_sets.make_label_files(few, data, tmp_path / "again")
    assert [each.train.read_bytes() for each in again] == [each.train.read_bytes() for each in files]


def test_folds_test_every_row_once_and_never_train_on_its_text(data: Path, tmp_path: Path) -> None:
    crossed = data_sets.DataSet(name="c", title="", base="news", train="topic/ag_news_train.jsonl.zst", folds=4)
    files = data_sets.make_label_files(crossed, data, tmp_path / "files")
    tested = [row["text"] for each in files for row in data_sets.read_rows(each.test)]
    assert len(files) == 4
    assert sorted(tested) == sorted(f"story {i % 180}" for i in range(200))
    for each in files:
        train, test = data_sets.read_rows(each.train), data_sets.read_rows(each.test)
        assert len(train) + len(test) == 200
        assert not {row["text"] for row in train} & {row["text"] for row in test}


def test_numbered_emotions_become_lists_of_names_and_quotation_marks_stay(data: Path, tmp_path: Path) -> None:
    (files,) = data_sets.make_label_files(data_sets.data_set_named("goemotions"), data, tmp_path / "files")
    assert data_sets.read_rows(files.train) == [
        {"text": '"Well, fine', "labels": ["approval", "neutral"]},
        {"text": "Oh no!", "labels": ["sadness"]},
    ]
    assert data_sets.read_rows(files.test) == [{"text": "Thanks", "labels": ["gratitude"]}]


def test_sentences_have_one_name_in_both_files(tmp_path: Path) -> None:
    compress(tmp_path / "sst2" / "train.tsv.zst", b"label\tsentence\n" + b"0\tbad\n1\tgood\n" * 2)
    (tmp_path / "sst2" / "dev.tsv").write_text("label\tcontent\n1\tfine\n", encoding="utf-8")
    files = data_sets.make_label_files(data_sets.data_set_named("sst2-1000"), tmp_path, tmp_path / "files")
    assert len(files) == 10
    assert {row["text"] for row in data_sets.read_rows(files[0].train)} == {"bad", "good"}
    assert data_sets.read_rows(files[0].test) == [{"text": "fine", "label": "1"}]


def test_a_file_that_users_have_is_passed_as_it_is(tmp_path: Path) -> None:
    (files,) = data_sets.make_label_files(data_sets.data_set_named("mrpc"), Path("data"), tmp_path / "files")
    assert files.train == Path("data/pairs/mrpc_train.jsonl")
    assert not (tmp_path / "files").exists()


def test_only_the_first_books_of_an_archive_are_read(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name in "abc":
            member = tarfile.TarInfo(f"novels/{name}.txt")
            member.size = 1
            tar.addfile(member, io.BytesIO(name.encode()))
    compress(tmp_path / "novels.tar.zst", packed.getvalue())
    found = list(data_sets.read_books(tmp_path / "novels.tar.zst", 2))
    assert found == [("a.txt", b"a"), ("b.txt", b"b")]


def test_both_texts_of_a_pair_and_the_words_of_tokens_are_texts() -> None:
    assert data_sets.texts_of({"text": "a", "text2": "b", "label": 1}) == ["a", "b"]
    assert data_sets.texts_of({"tokens": ["EU", "rejects"], "tags": ["I-ORG", "O"]}) == ["EU rejects"]


def test_every_data_set_has_a_base_and_every_base_a_data_set() -> None:
    assert {each.base for each in data_sets.DATA_SETS} == {each.name for each in data_sets.BASES}


# -- options -------------------------------------------------------------------------------------------------------


def test_the_options_of_a_data_set_replace_the_general_ones() -> None:
    own = replace(data_sets.data_set_named("trec"), finetune_options=("--epochs", "30"))
    general = ("--seeds", "3", "--epochs", "2", "--learning-rates", "0.001")
    plan = table.Plan(data=Path(), work=Path(), scale=1.0, minutes=None, size="micro", finetune_options=general)
    words = table.options_of(own, plan)
    assert words.count("--epochs") == 1
    assert words[words.index("--epochs") + 1] == "30"
    assert words[words.index("--learning-rates") + 1] == "0.001"


def test_an_option_without_a_value_and_one_with_an_equals_sign_are_options() -> None:
    own = replace(data_sets.data_set_named("trec"), finetune_options=("--epochs", "30"))
    general = ("--no-stack", "--epochs=2", "--seeds", "3")
    plan = table.Plan(data=Path(), work=Path(), scale=1.0, minutes=None, size="micro", finetune_options=general)
    assert table.options_of(own, plan) == ["--no-stack", "--epochs", "30", "--seeds", "3"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--seeds 1 --epochs", "--epochs: expected one argument"),
        ("seeds 1", "has no place for"),
        ("--seeds 1 2 --no-stack", "has no place for 2"),
        ("--seed 1 --epoch 3", "did you mean --epochs"),
        ("--label-words 'good", "No closing quotation"),
    ],
)
def test_options_that_finetune_would_refuse_are_refused_before_anything_runs(
    given: str, expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["results_table.py", "--finetune", given])
    with pytest.raises(SystemExit, match="2"):
        table.main()
    assert expected in capsys.readouterr().err


def test_a_given_base_that_no_stage_wrote_is_described(tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}", encoding="utf-8")
    given = {"english": tmp_path}
    plan = table.Plan(
        data=Path(), work=Path(), scale=1.0, minutes=None, size="micro", finetune_options=(), given_bases=given
    )
    found = table.describe_base("english", tmp_path, plan)
    assert (found["title"], found["precision"], found["tokens"]) == ("-", None, None)


@pytest.mark.parametrize(
    ("name", "corpus", "title"),
    [
        ("reviews", ["texts/imdb-unsup.jsonl"], "reviews"),
        ("reviews", ["/data/imdb/unsup.jsonl.zst"], "reviews"),
        ("sst2-reviews", ["imdb-unsup.jsonl", "sst2.jsonl"], "SST-2, reviews"),
        ("sst2-reviews", ["imdb-unsup.jsonl"], "reviews"),
        ("sst2-reviews", ["novels.txt"], "novels.txt"),
        ("reviews", ["imdb-unsup.jsonl", "novels.txt"], "imdb-unsup.jsonl, novels.txt"),
    ],
)
def test_one_text_of_pretraining_has_one_name(name: str, corpus: list[str], title: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(f"corpus = {corpus}\n", encoding="utf-8")
    assert table._given_title(name, tmp_path / "pretrain") == title


# -- the page ------------------------------------------------------------------------------------------------------


def comparison(pretrained: float, scratch: float, linear: float) -> dict[str, Any]:
    values = {"majority": 0.25, "tfidf": linear, "nbsvm": linear - 0.1, "scratch": scratch, "pretrained": pretrained}
    values["stack"] = pretrained + 0.01
    rows = [
        {"name": kind, "kind": kind, "accuracy": x, "accuracy_interval": [x - 0.01, x + 0.01], "seeds": [x]}
        for kind, x in values.items()
    ]
    verdicts = [
        {
            "between": [ours, other],
            "metric": "accuracy",
            "difference": values[ours] - values[other],
            "difference_interval": [values[ours] - values[other] - 0.02, values[ours] - values[other] + 0.02],
        }
        for ours, other in (("pretrained", "scratch"), ("stack", "tfidf"))
    ]
    return {"rows": rows, "verdicts": verdicts}


def result(name: str, comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = dict.fromkeys(("prepare", "finetune", "scratch", "compare"), 30.0)
    counts = {"train": 1000, "validation": 100, "test": 500}
    return {
        "data_set": name,
        "version": "1",
        "commit": "c" * 40,
        "machine": {"chip": "Chip", "cores": 2},
        "load_average": 1.2,
        "finetune_options": ["--seeds", "1"],
        "base": {
            "title": "reviews",
            "tokens": 2_000_000,
            "size": "micro",
            "last_evaluation": None,
            "seconds": {"collect": 6.0, "preprocess": None, "pretrain": 600.0},
        },
        "draws": [
            {"task": "classification", "labels": 4, "prepared": counts, "seconds": seconds, "comparison": each}
            for each in comparisons
        ],
    }


def cells(text: str, title: str) -> list[list[str]]:
    """The cells of every line for a data set."""
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if f"| {title} |" in line]


def half_width(values: list[float]) -> float:
    """Half of Student's 95 % interval of the mean."""
    low, high = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    return (high - low) / 2


def shown(mean: float, half: float) -> str:
    """The cell of a difference."""
    return page.write_difference(page.Difference(mean, (mean - half, mean + half)))


def test_the_tables_show_figures_differences_and_budgets() -> None:
    text = page.render({"trec": result("trec", [comparison(0.9, 0.85, 0.88)])})
    figures, budget = cells(text, "TREC, question types")
    assert figures[1:] == [
        "classification", "4", "1,100", "500", "accuracy", "0.900 (0.890 to 0.910)", "0.910 (0.900 to 0.920)",
        "0.850 (0.840 to 0.860)", "0.880 (0.870 to 0.890), tfidf", "0.250", "+0.050 (+0.030 to +0.070)",
        "+0.030 (+0.010 to +0.050)",
    ]  # fmt: skip
    assert budget[1:] == ["reviews", "2 M", "micro", "fp32", "1", "`--seeds 1`", "10.0", "0.5", "0.5", "1.1", "1"]
    assert "- Chip, 2 cores; version 1, commit cccccccccc\n" in text


def test_parts_that_were_made_by_two_commits_and_before_records_are_all_named() -> None:
    found = result("trec", [comparison(0.9, 0.85, 0.88)])
    made = [{"version": "1", "commit": letter * 40, "load_average": load} for letter, load in (("a", 2.6), ("b", 1.0))]
    text = page.render({"trec": {**found, **parts.describe_records(made)}})
    assert "- Chip, 2 cores; version 1, commit aaaaaaaaaa, bbbbbbbbbb\n" in text
    assert cells(text, "TREC, question types")[1][-1] == "3"
    older = parts.describe_records([parts.read_record(Path("nothing-here"))])
    text = page.render({"trec": {**found, **older}})
    assert "version unknown, commit unknown\n" in text
    assert cells(text, "TREC, question types")[1][-1] == "-"


def test_phrases_known_from_training_are_the_trivial_baseline_of_entities() -> None:
    each = comparison(0.9, 0.85, 0.88)
    each["rows"][0] |= {"name": "phrases known from training", "kind": "gazetteer", "accuracy": 0.89}
    figures, _ = cells(page.render({"conll2003": result("conll2003", [each])}), "CoNLL-2003, entities")
    assert figures[9:11] == ["0.880 (0.870 to 0.890), tfidf", "0.890"]
    assert {*page._TRIVIAL, *page._NETWORKS} == set(NOT_LINEAR)


def test_a_data_set_that_has_not_been_run_says_so() -> None:
    (line,) = cells(page.render({}), "TREC, question types")
    assert line[1] == "not run yet"
    assert len(line) == len(cells(page.render({}), "data set")[0])


def test_a_path_in_an_option_is_cut_to_its_last_two_parts() -> None:
    assert machine._relative("english=/home/me/runs/imdb/pretrain") == "english=imdb/pretrain"
    assert machine._relative("/home/me/runs/imdb") == "runs/imdb"
    assert machine._relative("--scale") == "--scale"


def test_a_loss_has_a_true_minus_sign() -> None:
    figures, _ = cells(page.render({"trec": result("trec", [comparison(0.8, 0.85, 0.88)])}), "TREC, question types")
    assert figures[-1] == "−0.070 (−0.090 to −0.050)"


def test_draws_give_their_mean_and_an_interval_over_draws_and_test_rows() -> None:
    draws = [comparison(0.70, 0.5, 0.60), comparison(0.72, 0.5, 0.66), comparison(0.80, 0.5, 0.71)]
    figures, budget = cells(page.render({"ag-news-32": result("ag-news-32", draws)}), "AG News, 32 labels a class")
    assert figures[6] == "0.740 (0.700 to 0.800)"
    differences = [0.11, 0.07, 0.10]  # as delivered
    half = np.hypot(half_width(differences), 0.02)  # of the draws, and of the test rows that they share
    assert figures[-1] == shown(np.mean(differences), half)
    assert budget[5] == "1, 3 draws"


def test_folds_have_test_rows_of_their_own() -> None:
    draws = [comparison(0.70, 0.5, 0.60), comparison(0.72, 0.5, 0.66), comparison(0.80, 0.5, 0.71)]
    figures, *_ = cells(page.render({"imdb-folds": result("imdb-folds", draws)}), "IMDB, each fifth from the others")
    assert figures[-1] == shown(np.mean([0.11, 0.07, 0.10]), half_width([0.11, 0.07, 0.10]))
    assert figures[4] == "1,500"


def test_a_draw_without_a_combination_delivers_its_network() -> None:
    draws = [comparison(0.70, 0.5, 0.60), comparison(0.80, 0.5, 0.71)]
    draws[1]["rows"] = [row for row in draws[1]["rows"] if row["kind"] != "stack"]
    figures, _ = cells(page.render({"ag-news-32": result("ag-news-32", draws)}), "AG News, 32 labels a class")
    assert figures[7] == "0.755 (0.710 to 0.800)"
    draws[0]["rows"] = [row for row in draws[0]["rows"] if row["kind"] != "stack"]
    figures, _ = cells(page.render({"ag-news-32": result("ag-news-32", draws)}), "AG News, 32 labels a class")
    assert figures[7] == "-"


def with_bases(name: str, comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    """The first half of the comparisons is of one base, the second half of another one with the same draws."""
    found = result(name, comparisons)
    for number, draw in enumerate(found["draws"]):
        draw["pretraining_seed"] = number // (len(comparisons) // 2)
    return found


def test_two_seeds_of_pretraining_are_counted_apart_from_draws() -> None:
    draws = [comparison(linear + above, 0.5, linear) for linear, above in ((0.6, 0.10), (0.6, 0.06), (0.7, 0.09))]
    others = [comparison(linear + above, 0.5, linear) for linear, above in ((0.6, 0.12), (0.6, 0.06), (0.7, 0.13))]
    found = with_bases("ag-news-32", [*draws, *others])
    figures, budget = cells(page.render({"ag-news-32": found}), "AG News, 32 labels a class")
    assert budget[5] == "1, 2 of pre-training, 3 draws"
    assert figures[4] == "500"
    of_draws, of_bases = half_width([0.12, 0.07, 0.12]), half_width([0.28 / 3, 0.34 / 3])
    assert figures[-1] == shown(0.31 / 3, np.linalg.norm([of_draws, of_bases, 0.02]))


def test_folds_of_two_seeds_of_pretraining_have_the_same_test_rows() -> None:
    draws = [comparison(0.70, 0.5, 0.60), comparison(0.72, 0.5, 0.66)]
    found = with_bases("imdb-folds", [*draws, *draws])
    figures, *_ = cells(page.render({"imdb-folds": found}), "IMDB, each fifth from the others")
    assert figures[4] == "1,000"
    assert figures[-1] == shown(0.09, half_width([0.11, 0.07]))


def test_one_draw_of_two_bases_has_an_interval_over_bases_and_test_rows() -> None:
    found = with_bases("sst2", [comparison(0.85, 0.5, 0.80), comparison(0.852, 0.5, 0.80)])
    figures, *_ = cells(page.render({"sst2": found}), "SST-2, sentiment of phrases")
    assert figures[-1] == shown(0.061, np.hypot(half_width([0.06, 0.062]), 0.02))


def target_lines(figures: dict[str, Any]) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.render_targets(figures)[2:]]


def test_a_target_is_judged_by_the_precision_that_was_trained_in() -> None:
    found = result("sst2", [comparison(0.86, 0.8, 0.81)])  # as delivered: 0.87
    assert target_lines({"sst2": found})[0][2:] == ["0.865", "0.870", "reached"]
    found["base"]["precision"] = "bf16"
    assert target_lines({"sst2": found})[0][2:] == ["0.875", "0.870", "missed by 0.005"]
    assert target_lines({})[0][2:] == ["0.865; with bf16 0.875", "-", "not run yet"]


def test_a_variant_has_a_row_a_budget_and_a_target_of_its_own_beside_the_data_set() -> None:
    found = result("sst2", [comparison(0.90, 0.8, 0.81)])
    variant = {**result("sst2", [comparison(0.70, 0.8, 0.81)]), "variant": "without bf16"}
    name = page.name_figures("sst2", "without bf16, self-trained")
    assert name == "sst2--without-bf16-self-trained"
    figures = {"sst2": found, name: variant}
    text = page.render(figures)
    assert [len(cells(text, f"SST-2, sentiment of phrases{mark}")) for mark in ("", " (without bf16)")] == [3, 3]
    lines = target_lines(figures)
    assert [line[0] for line in lines[:2]] == [
        "SST-2, sentiment of phrases",
        "SST-2, sentiment of phrases (without bf16)",
    ]
    assert [line[3] for line in lines[:2]] == ["0.910", "0.710"]
    assert lines[-1][-1] == "missed: SST-2, sentiment of phrases (without bf16)"


def test_a_student_is_what_is_delivered_and_its_teacher_is_no_baseline() -> None:
    each = comparison(0.80, 0.70, 0.75)
    names = {"stack": "student", "pretrained": "pretrained", "tfidf": "tfidf"}
    each["rows"] = [{**row, "kind": names[row["kind"]]} for row in each["rows"] if row["kind"] in names]
    each["rows"].append({"name": "the model before self-training", "kind": "teacher", "accuracy": 0.79})
    figures, _ = cells(page.render({"trec": result("trec", [each])}), "TREC, question types")
    assert figures[7].startswith("0.810")
    assert figures[9].startswith("0.750")


def test_the_encoder_alone_has_a_target_of_its_own() -> None:
    lines = target_lines({"imdb-folds": result("imdb-folds", [comparison(0.90, 0.8, 0.81)] * 2)})
    assert [line[3] for line in lines if "IMDB" in line[0]] == ["0.910", "0.900"]


def test_what_is_clearly_below_the_best_linear_baseline_is_named() -> None:
    better = [comparison(0.90, 0.5, 0.80), comparison(0.91, 0.5, 0.80)]
    worse = [comparison(0.70, 0.5, 0.80), comparison(0.71, 0.5, 0.80)]
    good = target_lines({"hausa": result("hausa", better)})
    assert [line[-1] for line in good[-2:]] == ["reached", "reached"]
    bad = target_lines({"hausa": result("hausa", worse)})
    assert bad[-2][-1] == "missed"
    assert bad[-1][-1] == "missed: AfriSenti, sentiment of Hausa tweets"


def test_a_verdict_on_the_network_alone_is_not_that_of_the_model_as_delivered() -> None:
    older, newer = comparison(0.9, 0.85, 0.88), comparison(0.9, 0.85, 0.88)
    older["verdicts"][1]["between"][0] = "pretrained"
    figures, _ = cells(page.render({"trec": result("trec", [older])}), "TREC, question types")
    assert figures[-2:] == ["+0.050 (+0.030 to +0.070)", "+0.030, no interval"]
    draws = result("hausa", [older, newer])
    figures, *_ = cells(page.render({"hausa": draws}), "AfriSenti, sentiment of Hausa tweets")
    assert figures[-1] == "+0.030, no interval"
    lines = target_lines({"trec": result("trec", [newer]), "hausa": draws})
    assert lines[-2][-2:] == ["+0.030, no interval", "not known"]
    assert lines[-1][-2:] == ["1 of 2 have an interval", "reached"]


def test_only_the_text_between_the_markers_is_written(tmp_path: Path) -> None:
    file = tmp_path / "results.md"
    file.write_text(f"# Results\n\n{page.START}\nold\n{page.END}\nafter\n", encoding="utf-8")
    page.write_tables(file, {})
    once = file.read_text(encoding="utf-8")
    assert "old" not in once
    assert once.startswith("# Results\n")
    assert once.endswith("after\n")
    page.write_tables(file, {})
    assert file.read_text(encoding="utf-8") == once
    file.write_text("# no markers\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no lines"):
        page.write_tables(file, {})


def test_the_page_is_that_of_the_figures() -> None:
    text = page.PAGE.read_text(encoding="utf-8")
    written = re.search(f"{re.escape(page.START)}\n\n(.*)\n{re.escape(page.END)}", text, re.DOTALL)
    assert written is not None, "fill it: python benchmarks/results_table.py --figures-only --write"
    assert written.group(1) == page.render(page.read_figures())


def test_without_data_there_is_a_sentence() -> None:
    script = Path(table.__file__)
    environment = {"PATH": "", "PYTHONPATH": str(script.parents[1] / "src")}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "Set PRETUNE_DATA" in done.stderr
