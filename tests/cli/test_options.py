"""A field becomes an option of the type of its annotation, and only typed options are set."""

from __future__ import annotations

import argparse
import dataclasses

import pytest

from pretune.cli.arguments import run_options
from pretune.cli.options import add_options, merge_options, options_of, typed_values
from pretune.cli.verbs import VERBS, Parser, build_parser
from pretune.errors import UsageError
from pretune.settings import (
    CollectConfig,
    FinetuneConfig,
    PrepareConfig,
    PreprocessConfig,
    PretrainConfig,
    SplitConfig,
)

CONFIGS = (SplitConfig, CollectConfig, PreprocessConfig, PretrainConfig, PrepareConfig, FinetuneConfig)


def parse(verb: str, *words: str) -> dict[str, dict[str, object]]:
    """The settings that the words after a verb set."""
    return typed_values(build_parser(VERBS[verb]).parse_args(words))


def test_nothing_typed_sets_nothing() -> None:
    assert parse("run") == {}


def test_each_kind_of_field_is_read() -> None:
    words = "--minutes 1.5 --vocab-size 4096 --size tiny --lowercase --label-names 0=bad,1=good"
    assert parse("run", *words.split(), "--finetune-learning-rates", "1e-3, 2e-3") == {
        "pretrain": {"minutes": 1.5, "size": "tiny"},
        "preprocess": {"vocab_size": 4096, "lowercase": True},
        "split": {"label_names": ("0=bad", "1=good")},
        "finetune": {"learning_rates": (1e-3, 2e-3)},
    }


def test_what_is_decided_by_default_can_be_switched_on_and_off() -> None:
    assert parse("run", "--lowercase") == {"preprocess": {"lowercase": True}}
    assert parse("run", "--no-lowercase") == {"preprocess": {"lowercase": False}}


def test_the_default_of_a_switch_is_on() -> None:
    options = {option.dest: option for option in build_parser(VERBS["finetune"])._actions}
    assert str(options["set:finetune.stack"].help).endswith("(default: on)")


def test_a_setting_that_stages_share_is_one_option() -> None:
    assert parse("run", "--seed", "7") == {"pretrain": {"seed": 7}, "finetune": {"seed": 7}}
    assert parse("run", "--precision", "fp32") == {
        "pretrain": {"precision": "fp32"},
        "finetune": {"precision": "fp32"},
    }


def test_two_stages_with_settings_of_one_name_have_two_options() -> None:
    assert parse("run", "--epochs", "2", "--finetune-epochs", "3") == {
        "pretrain": {"epochs": 2.0},
        "finetune": {"epochs": 3},
    }
    assert parse("run", "--validation-fraction", "0.2") == {"split": {"validation_fraction": 0.2}}
    assert parse("run", "--text-column", "body") == {"split": {"text_column": "body"}}


def test_run_has_an_option_for_every_setting() -> None:
    """Except for from_scratch, which `run` sets for the control, and those for conversations, which it refuses."""
    settings = {f"{c.__name__.removesuffix('Config').lower()}.{f.name}" for c in CONFIGS for f in dataclasses.fields(c)}
    offered = {field for options in run_options().values() for option in options for field in option.fields}
    assert settings - offered == {"finetune.from_scratch", "split.response_column", "prepare.notice"}


def test_options_for_conversations_belong_to_prepare_alone() -> None:
    """`run` and `split` listed options that they always refuse."""
    for flag in ("--response-column", "--notice"):
        offered = [
            name
            for name in ("run", "split", "prepare")
            if any(flag in action.option_strings for action in build_parser(VERBS[name])._actions)
        ]
        assert offered == ["prepare"]


def test_the_help_of_an_option_names_every_stage_that_it_sets() -> None:
    """--seed, --threads, --precision, --engine and --workers were described for the first of two stages only."""
    options = {option.flag: option for group in run_options().values() for option in group}
    assert options["--seed"].help.endswith("; also for finetune")
    assert options["--engine"].help.endswith("; also for preprocess")
    shared = {flag for flag, option in options.items() if len(option.fields) > 1}
    assert shared == {flag for flag, option in options.items() if "also for" in option.help}


@pytest.mark.parametrize(
    ("verb", "flag", "metavar"),
    [
        ("run", "--pattern", "TEXT"),
        ("finetune", "--pattern", "TEXT"),
        ("prepare", "--notice", "TEXT"),
        ("split", "--label-separator", "SIGN"),
        ("split", "--label-column", "NAME"),
    ],
)
def test_the_word_for_a_value_says_what_to_type(verb: str, flag: str, metavar: str) -> None:
    """A sentence and a sign were called NAME."""
    actions = {word: action for action in build_parser(VERBS[verb])._actions for word in action.option_strings}
    assert actions[flag].metavar == metavar


@pytest.mark.parametrize("config", CONFIGS)
def test_every_setting_has_a_help_text(config: type) -> None:
    """The text is part of the class, not a comment in its source, which a frozen build lacks."""
    assert not [field.name for field in dataclasses.fields(config) if not field.metadata["help"]]
    assert all(option.help for option in options_of("x", config))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--minuts", "3"], "pretune run has no option --minuts, did you mean --minutes? `pretune run --help`"),
        (["--minutes", "soon"], "--minutes: 'soon' is not a number;"),
        (["--seed", "1.5"], "--seed: '1.5' is not a whole number;"),
        (["--size", "huge"], "--size: invalid choice: 'huge'"),
        (["--minutes"], "--minutes: expected one argument;"),
        (["--min", "3"], "pretune run has no option --min"),
        (["--corpus", ""], "--corpus: expected a path, found an empty word (is a shell variable not set?);"),
        (["--out", ""], "--out: expected a path, found an empty word"),
        ([""], "RECIPE: expected a path, found an empty word"),
    ],
)
def test_a_wrong_word_is_answered_with_a_sentence(words: list[str], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        build_parser(VERBS["run"]).parse_args(words)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("verb", VERBS)
def test_no_path_of_any_verb_may_be_empty(verb: str) -> None:
    """Options of a group passed: `compare --domain ""` read the whole working folder, as any unset variable does."""
    others = {"N", "NAME", "NAME,...", "PROMPT", "RULE", "SIGN", "TEXT", "X", "X,...", None}
    paths = [action for action in build_parser(VERBS[verb])._actions if action.metavar not in others]
    assert paths
    for action in paths:
        assert callable(action.type), action.metavar
        with pytest.raises(argparse.ArgumentTypeError, match="expected a path, found an empty word"):
            action.type("")
        assert action.type("a b") == "a b"
    if verb == "evaluate":
        with pytest.raises(UsageError, match=r"^--labels: expected a path, found an empty word"):
            build_parser(VERBS[verb]).parse_args(["runs/x", "--labels", ""])


def test_an_empty_text_is_not_an_empty_path() -> None:
    typed = build_parser(VERBS["predict"]).parse_intermixed_args(["runs/x", "", "--threads", "2"])
    assert (typed.texts, typed.threads) == ([""], 2)
    with pytest.raises(UsageError, match=r"^MODEL: expected a path, found an empty word"):
        build_parser(VERBS["predict"]).parse_intermixed_args(["", "A text."])
    with pytest.raises(UsageError, match=r"^--threads: 'two' is not a whole number"):
        build_parser(VERBS["predict"]).parse_intermixed_args(["runs/x", "--threads", "two"])


def test_options_with_the_same_name_are_merged() -> None:
    options = merge_options([*options_of("a", PretrainConfig), *options_of("b", PretrainConfig)])
    parser = Parser(prog="x")
    add_options(parser, options)
    assert typed_values(parser.parse_args(["--tokens", "5"])) == {"a": {"tokens": 5}, "b": {"tokens": 5}}


@pytest.mark.parametrize(
    ("verb", "words", "name", "found"),
    [
        ("run", "--corpus a b --corpus c", "corpus", ["a", "b", "c"]),
        ("preprocess", "x --out y --protect a --protect b c", "protect", ["a", "b", "c"]),
        ("compare", "x y --out z --domain a --domain b", "domain", ["a", "b"]),
        ("evaluate", "x --labels y --label-names 0=a --label-names 1=b", "label_names", "0=a,1=b"),
        ("predict", "x --label-words a=good --label-words b=bad", "label_words", "a=good,b=bad"),
        ("split", "x --out y --label-names 0=a,1=b --label-names 2=c", "set:split.label_names", ("0=a", "1=b", "2=c")),
        ("run", "--disabled-rules a --disabled-rules b", "set:preprocess.disabled_rules", ("a", "b")),
    ],
)
def test_a_list_that_is_given_twice_keeps_both_parts(verb: str, words: str, name: str, found: object) -> None:
    """Only the last one was kept, so texts to be protected came into the corpus."""
    assert vars(build_parser(VERBS[verb]).parse_intermixed_args(words.split()))[name] == found
