"""`--help` is instant: every verb shows an example, and no heavy library is loaded for it."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache

import pytest

from pretune.cli.verbs import VERBS

HEAVY = ("torch", "sklearn", "numpy", "tokenizers", "transformers", "rich", "scipy", "safetensors")
ASK = """
import json, sys
from pretune.cli.main import run_command_line
code = run_command_line(sys.argv[1:])
print()
print(json.dumps([code, [name for name in {heavy!r} if name in sys.modules]]))
"""


@cache
def ask(*words: str) -> tuple[str, int, list[str]]:
    """The output, the exit code, and the heavy libraries that the process has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", ASK.format(heavy=HEAVY), *words], capture_output=True, text=True, check=True
    )
    text, _, last = done.stdout.rstrip().rpartition("\n")
    code, loaded = json.loads(last)
    return text, code, loaded


@pytest.mark.parametrize("verb", VERBS.values(), ids=lambda verb: verb.name)
def test_help_of_a_verb_has_an_example_and_loads_nothing_heavy(verb: object) -> None:
    name, example = verb.name, verb.example  # type: ignore[attr-defined]
    text, code, loaded = ask(name, "--help")
    assert code == 0
    assert example in text
    assert "--quiet" in text
    assert loaded == []


def test_top_level_help_shows_every_verb_with_an_example() -> None:
    text, code, loaded = ask("--help")
    assert code == 0
    assert all(verb.example in text for verb in VERBS.values())
    assert loaded == []


def test_version_loads_nothing_heavy() -> None:
    text, code, loaded = ask("--version")
    assert (code, loaded) == (0, [])
    assert text.startswith("pretune ")


def test_the_words_that_scripts_rely_on() -> None:
    """Words may be added, but none may be removed."""
    words = {
        "run": "RECIPE --corpus --labels --test-labels --out --minutes --tokens --epochs --size --seed --redo",
        "collect": "PATH --out",
        "preprocess": "COLLECTED --out",
        "pretrain": "PREPROCESSED --out --minutes --tokens --epochs --size --seed",
        "prepare": "FILE --base --out",
        "finetune": "PRETRAINED PREPARED --out --from-scratch",
        "predict": "MODEL TEXT --input --output --json",
        "evaluate": "MODEL --labels --json",
        "fill": "MODEL TEXT --top --json",
        "trace": "MODEL TEXT --json",
        "verify": "DIR --json",
    }
    for verb, expected in words.items():
        text, _, _ = ask(verb, "--help")
        missing = [word for word in [*expected.split(), "--quiet"] if word not in text]
        assert not missing, verb
