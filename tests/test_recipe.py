"""A recipe means the same in any working directory, is checked like the command line, and survives saving."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import InputDataError, UsageError
from pretune.pipeline import run
from pretune.recipe import Recipe, check_inputs, find_changes, override, read_recipe, save_recipe


def write(folder: Path, text: str) -> Path:
    """A recipe file with this text."""
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    path = write(tmp_path, 'corpus = ["texts", "-"]\nlabels = "../l.csv"\nout = "runs/a"\n')
    recipe = read_recipe(path)
    assert recipe.corpus == (str(tmp_path / "texts"), "-")
    assert recipe.labels == str(tmp_path.parent / "l.csv")
    assert recipe.out == str(tmp_path / "runs" / "a")


def test_the_home_folder_is_expanded_once_and_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "l.csv").write_text("text,label\n", encoding="utf-8")
    recipe = Recipe(corpus=("~/*.txt", "-"), labels="~/l.csv", test_labels="~/l.csv")
    assert recipe.corpus == (f"{tmp_path}/*.txt", "-")
    assert recipe.labels == recipe.test_labels == f"{tmp_path}/l.csv"
    check_inputs(recipe)
    assert Recipe(corpus=("~no-such-user/a.txt",)).corpus == ("~no-such-user/a.txt",)
    (tmp_path / "sub").mkdir()
    read = read_recipe(write(tmp_path / "sub", 'corpus = ["~/*.txt"]\nlabels = "~/l.csv"\n'))
    assert (read.corpus, read.labels) == ((f"{tmp_path}/*.txt",), recipe.labels)


@given(
    st.fixed_dictionaries(
        {
            "corpus": st.lists(st.sampled_from(["/a/b.txt", "/c/*.jsonl", "-"])),
            "labels": st.sampled_from([None, "/l.csv"]),
            "base": st.sampled_from([None, "/runs/base", "hf:owner/name@v1"]),
            "collect": st.fixed_dictionaries({"text_column": st.sampled_from([None, "body", 'quote"d'])}),
            "pretrain": st.one_of(
                st.fixed_dictionaries({"minutes": st.floats(0.1, 1e4)}),
                st.fixed_dictionaries({"tokens": st.integers(1, 10**12), "compile": st.just("off")}),
            ),
            "finetune": st.fixed_dictionaries({"learning_rates": st.lists(st.floats(1e-6, 1), min_size=1)}),
        }
    )
)
def test_a_saved_recipe_comes_back_unchanged(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]
) -> None:
    folder = tmp_path_factory.mktemp("run")
    recipe = override(Recipe(), values)
    save_recipe(recipe, folder)
    again = read_recipe(folder / "recipe.toml")
    assert find_changes(recipe, again) == []
    assert again.out == str(folder)


def test_a_budget_replaces_the_recipes_budget() -> None:
    recipe = override(Recipe(), {"pretrain": {"minutes": 20, "size": "mini"}})
    again = override(recipe, {"pretrain": {"tokens": 1000}})
    assert (again.pretrain.minutes, again.pretrain.tokens, again.pretrain.size) == (None, 1000, "mini")
    assert list(map(str, find_changes(recipe, again))) == [
        "pretrain.minutes (was 20.0, now None)",
        "pretrain.tokens (was None, now 1000)",
    ]


def test_a_budget_of_fine_tuning_replaces_the_recipes_budget() -> None:
    """To a recipe with epochs, --finetune-updates was refused as a second budget."""
    recipe = override(Recipe(), {"finetune": {"epochs": 5, "seeds": 1}, "pretrain": {"epochs": 2.0}})
    again = override(recipe, {"finetune": {"updates": 200}})
    assert (again.finetune.epochs, again.finetune.updates, again.finetune.seeds) == (None, 200, 1)
    assert again.pretrain.epochs == 2.0
    assert override(again, {"finetune": {"epochs": 3}}).finetune.updates is None
    assert override(again, {"finetune": {"seeds": 2}}).finetune.updates == 200
    with pytest.raises(UsageError, match="Both --epochs and --updates are given"):
        override(recipe, {"finetune": {"epochs": 1, "updates": 200}})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[pretrain]\nminuts = 3\n", "[pretrain] has no setting 'minuts'; did you mean minutes?"),
        ("corpuss = []\n", "a recipe has no setting 'corpuss'; did you mean corpus?"),
        (
            '[pretrain]\nsize = "huge"\n',
            "size in [pretrain] is 'huge'; expected one of auto, tiny, micro, mini, small, medium, large.",
        ),
        ('[pretrain]\nseed = "a"\n', "seed in [pretrain] is 'a'; expected a whole number."),
        ("[pretrain]\nseed = true\n", "seed in [pretrain] is True; expected a whole number."),
        ("pretrain = 3\n", "pretrain is 3; expected a section [pretrain] with its settings."),
        ('corpus = "a.txt"\n', "corpus in a recipe is 'a.txt'; expected a list, each item text in quotes."),
        ("[pretrain]\nminutes = 1\ntokens = 5\n", "More than one of --minutes, --tokens and --epochs is given"),
        ('test_labels = "t.csv"\n', "--test-labels is given without --labels"),
    ],
)
def test_a_wrong_recipe_is_answered_with_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_recipe(path)
    assert str(caught.value).startswith(f"{path}: {sentence}")


def test_a_file_that_is_no_recipe_is_answered_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputDataError, match="is not a recipe in TOML"):
        read_recipe(write(tmp_path, "what = is this\n"))
    for value in ("[" * 100_000, "9" * 5000):  # nested too deeply; more digits than Python reads
        with pytest.raises(InputDataError, match="is not a recipe in TOML"):
            read_recipe(write(tmp_path, f"seed = {value}\n"))
    with pytest.raises(InputDataError, match="does not exist"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(InputDataError, match=r"is a folder; expected a recipe: try .*recipe\.toml") as caught:
        read_recipe(tmp_path)
    assert "--corpus" not in str(caught.value)


def test_text_in_place_of_a_recipe_is_answered_with_the_option_for_text(tmp_path: Path) -> None:
    """`pretune run notes/` was told to try notes/recipe.toml, which does not exist."""
    notes, labelled, document = tmp_path / "my notes", tmp_path / "labelled.csv", tmp_path / "a.docx"
    notes.mkdir()
    labelled.write_text("text,label\nA film.,good\n")
    document.write_bytes(b"PK\x03\x04\xff\xfe")
    for path, found in ((notes, "is a folder"), (labelled, "is not a recipe"), (document, "is not a recipe")):
        with pytest.raises(
            InputDataError, match=rf"{found}.*\. To pre-train on this text, give it with --cor"
        ) as caught:
            read_recipe(path)
        assert "recipe.toml" not in str(caught.value)
    for name in ("imdb", "public:imdb"):
        with pytest.raises(InputDataError, match=rf"does not exist; .*\. To .*give it with --corpus {name}\.$"):
            read_recipe(name)
    with pytest.raises(
        InputDataError, match=r"does not exist; expected a recipe, such as the recipe\.toml of a run\.$"
    ):
        read_recipe("nothing")


def test_inputs_are_looked_for_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("x", encoding="utf-8")
    check_inputs(Recipe(corpus=(str(tmp_path / "*.txt"), "-")))
    with pytest.raises(InputDataError, match="give --corpus"):
        check_inputs(Recipe(corpus=(str(tmp_path / "b.txt"),)))
    with pytest.raises(InputDataError, match="is a folder; give --labels"):
        check_inputs(Recipe(labels=str(tmp_path)))


def test_a_link_that_leads_to_itself_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """Python before 3.13 does not resolve it."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputDataError, match=r"loop/a\.txt does not exist; give --corpus"):
        check_inputs(Recipe(corpus=(str(loop / "a.txt"),)))
    with pytest.raises(InputDataError, match=r"loop does not exist; give --labels"):
        check_inputs(Recipe(labels=str(loop)))


def test_a_path_that_no_recipe_can_hold_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """The saved recipe had a lone surrogate, which no reader of TOML takes: the run could never be resumed."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "a.txt").write_text("x", encoding="utf-8")
    recipe = Recipe(out=str(tmp_path / "run"), corpus=(str(folder / "a.txt"),))
    with pytest.raises(InputDataError, match=r"caf\\xe9/a\.txt has bytes that are not UTF-8, .*; rename the file"):
        check_inputs(recipe)
    with pytest.raises(InputDataError, match="rename the file or the folder"):
        check_inputs(Recipe(out=str(tmp_path / "run"), base=str(folder)))
    inside = replace(recipe, out=str(folder / "run"))  # relative to the run, the path is plain
    check_inputs(inside)
    (folder / "run").mkdir()
    save_recipe(inside, folder / "run")
    assert read_recipe(folder / "run" / "recipe.toml").corpus == recipe.corpus


def test_protected_files_are_part_of_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text('protect = ["bench.txt"]\n', encoding="utf-8")
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert recipe.protect == (str(tmp_path / "bench.txt"),)
    with pytest.raises(InputDataError, match=r"bench.txt does not exist; give --protect a file"):
        check_inputs(recipe)
    (tmp_path / "bench.txt").write_text("text\n", encoding="utf-8")
    check_inputs(recipe)
    save_recipe(recipe, tmp_path)
    assert read_recipe(tmp_path / "recipe.toml").protect == recipe.protect
    assert [change.name for change in find_changes(recipe, override(recipe, {"protect": ()}))] == ["protect"]


def test_names_of_public_data_sets_are_no_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = read_recipe(write(tmp_path, 'corpus = ["imdb", "hf:owner/name", "a.txt"]\ndata_root = "data"\n'))
    assert recipe.corpus == ("public:imdb", "hf:owner/name", str(tmp_path / "a.txt"))
    assert recipe.data_root == str(tmp_path / "data")
    check_inputs(replace(recipe, corpus=recipe.corpus[:2]))
    assert find_changes(recipe, replace(recipe, data_root=None)) == []  # wherever the data are
    with pytest.raises(UsageError, match="no public data set 'imbd' in the registry; it has imdb, "):
        check_inputs(Recipe(corpus=("public:imbd",)))
    with pytest.raises(InputDataError, match=r"imbd does not exist; .* a public data set \(imdb, "):
        check_inputs(Recipe(corpus=("imbd",)))
    (tmp_path / "imdb").mkdir()  # the user's own files take precedence
    assert read_recipe(tmp_path / "mine.toml").corpus[0] == str(tmp_path / "imdb")


def test_a_run_below_a_symbolic_link_finds_its_inputs(tmp_path: Path) -> None:
    """Its recipe is relative to the real folder, where `..` leads elsewhere than by the name of the link."""
    runs = tmp_path / "disk" / "deep" / "runs"
    runs.mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "runs").symlink_to(runs)
    labels = tmp_path / "home" / "labels.csv"
    labels.write_text("text,label\n", encoding="utf-8")
    recipe = Recipe(labels=str(labels))
    folder = tmp_path / "home" / "runs" / "a"
    folder.mkdir()
    save_recipe(recipe, folder)
    again = read_recipe(folder / "recipe.toml")
    assert again.labels == recipe.labels
    assert again.out == str(runs / "a")
    check_inputs(again)


def test_a_link_keeps_its_name_in_a_recipe(tmp_path: Path) -> None:
    """The recipe had the file that the link led to: under another name its fingerprint was another, so that the run
    refused its own recipe, and a GGUF file in the cache of the hub lost its ending."""
    (tmp_path / "blobs").mkdir()
    for blob, link in (("1f", "latest.txt"), ("2f", "model.gguf"), ("3f", "labels.csv")):
        (tmp_path / "blobs" / blob).write_text("text", encoding="utf-8")
        (tmp_path / link).symlink_to(tmp_path / "blobs" / blob)
    recipe = Recipe(
        corpus=(str(tmp_path / "latest.txt"),), labels=str(tmp_path / "labels.csv"), base=str(tmp_path / "model.gguf")
    )
    (tmp_path / "runs" / "a").mkdir(parents=True)
    save_recipe(recipe, tmp_path / "runs" / "a")
    again = read_recipe(tmp_path / "runs" / "a" / "recipe.toml")
    assert (again.corpus, again.labels, again.base) == (recipe.corpus, recipe.labels, recipe.base)
    check_inputs(again)


def test_a_pipe_of_the_shell_keeps_its_name_in_a_recipe(tmp_path: Path) -> None:
    """Its folder is a link to one with the number of the process, which the same command does not have again."""
    save_recipe(Recipe(corpus=("/dev/fd/63",)), tmp_path)
    assert read_recipe(tmp_path / "recipe.toml").corpus == ("/dev/fd/63",)


def test_a_step_up_from_a_link_leads_where_the_system_goes(tmp_path: Path) -> None:
    (tmp_path / "disk" / "texts").mkdir(parents=True)
    (tmp_path / "disk" / "a.txt").write_text("x", encoding="utf-8")
    (tmp_path / "texts").symlink_to(tmp_path / "disk" / "texts")
    save_recipe(Recipe(corpus=(str(tmp_path / "texts" / ".." / "a.txt"),)), tmp_path)
    assert read_recipe(tmp_path / "recipe.toml").corpus == (str(tmp_path / "disk" / "a.txt"),)


def test_a_project_that_is_named_through_a_link_moves_with_its_run(tmp_path: Path) -> None:
    project, link = tmp_path / "disk" / "project", tmp_path / "home"
    (project / "runs").mkdir(parents=True)
    link.symlink_to(project)
    save_recipe(Recipe(labels=str(link / "labels.csv")), link / "runs")
    by_name = Recipe(labels=str(project / "labels.csv"), corpus=(str(project / "a.txt"), "-"))
    assert find_changes(Recipe(labels=str(link / "labels.csv"), corpus=(str(link / "a.txt"), "-")), by_name) == []
    moved = project.rename(tmp_path / "disk" / "moved")
    assert read_recipe(moved / "runs" / "recipe.toml").labels == str(moved / "labels.csv")


def test_a_base_may_be_a_model_of_the_hub_or_a_gguf_file(tmp_path: Path) -> None:
    """`run --from` refused both, which `pretrain --from` takes."""
    recipe = read_recipe(write(tmp_path, 'base = "hf:owner/name"\n'))
    assert recipe.base == "hf:owner/name"
    check_inputs(recipe)
    save_recipe(recipe, tmp_path)
    assert 'base = "hf:owner/name"' in (tmp_path / "recipe.toml").read_text(encoding="utf-8")
    recipe = read_recipe(write(tmp_path, 'base = "model.Q4_1.gguf"\n'))
    with pytest.raises(InputDataError, match=r"Q4_1\.gguf does not exist; give --from .* a GGUF file or hf:OWNER/NAME"):
        check_inputs(recipe)
    (tmp_path / "model.Q4_1.gguf").write_bytes(b"GGUF")
    check_inputs(recipe)
    (tmp_path / "notes.txt").write_text("x", encoding="utf-8")
    with pytest.raises(InputDataError, match=r"notes\.txt is a file; give --from"):
        check_inputs(Recipe(base=str(tmp_path / "notes.txt")))


def test_a_saved_recipe_moves_with_its_inputs(tmp_path: Path) -> None:
    """Paths are relative to the recipe, unless they have only the root in common with it."""
    project = tmp_path / "project"
    (project / "runs" / "a").mkdir(parents=True)
    recipe = Recipe(labels=str(project / "labels.csv"), corpus=(str(project / "text"), "public:imdb", "/elsewhere/b"))
    save_recipe(recipe, project / "runs" / "a")
    assert read_recipe(project / "runs" / "a" / "recipe.toml").labels == recipe.labels
    project.rename(tmp_path / "moved")
    moved = read_recipe(tmp_path / "moved" / "runs" / "a" / "recipe.toml")
    assert moved.labels == str(tmp_path / "moved" / "labels.csv")
    assert moved.corpus == (str(tmp_path / "moved" / "text"), "public:imdb", "/elsewhere/b")


def test_paths_are_taken_as_text_and_a_single_one_as_a_list(tmp_path: Path) -> None:
    """A lone string was read as its letters, and a Path was an AttributeError."""
    recipe: Any = Recipe(corpus="text.txt", labels=Path("labels.csv"), protect=Path("test.csv"), out=tmp_path)  # type: ignore[arg-type]
    assert recipe == Recipe(corpus=("text.txt",), labels="labels.csv", protect=("test.csv",), out=str(tmp_path))
    (tmp_path / "a.txt").touch()
    assert Recipe(corpus=tmp_path.glob("*.txt")).corpus == (str(tmp_path / "a.txt"),)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("corpus", 5, "a list, each item text in quotes"),
        ("corpus", [5], "a list, each item text in quotes"),
        ("labels", 5, "text in quotes"),
        ("control", "no", "true or false"),
        ("finetune", {"epochs": 3}, "a FinetuneConfig"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UsageError, match=f"^{name} in Recipe is .*; expected {expected}"):
        Recipe(**{name: value})


def test_a_recipe_may_be_named_by_its_file_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "recipe.toml").write_text("control = false", encoding="utf-8")
    assert read_recipe(str(tmp_path / "recipe.toml")) == read_recipe("~/recipe.toml") == Recipe(control=False)
    with pytest.raises(UsageError, match="Give --out DIR"):
        run("~/recipe.toml")
