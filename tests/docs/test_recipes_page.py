"""What the page about recipes says is so: its recipe is read, and the sizes are those that are chosen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest

from pretune.cli.stage_commands import _recipe_of
from pretune.cli.verbs import VERBS, build_parser
from pretune.compute.device import Compute
from pretune.stages.pretrain.choices import choose_size
from pretune.training.budget import Budget

PAGE = (Path(__file__).parents[2] / "docs" / "guide" / "recipes.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| below (\d+) \| below (\d+) \| below (\d+) million \|$", PAGE, re.MULTILINE)


def test_the_recipe_is_read_relative_to_its_folder_and_options_take_precedence(tmp_path: Path) -> None:
    [recipe] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "reviews.toml").write_text(recipe, encoding="utf-8")
    words = [str(tmp_path / "reviews.toml"), "--tokens", "5000"]
    found = _recipe_of(build_parser(VERBS["run"]).parse_args(words))
    assert found.labels == str(tmp_path / "labelled.csv")
    assert found.out == str(tmp_path / "runs" / "reviews")
    assert found.corpus[0] == str(tmp_path / "reviews.txt")
    assert (found.control, found.collect.encoding) == (False, "cp1252")
    assert (found.finetune.learning_rates, found.pretrain.size) == ((5e-4,), "mini")
    assert (found.pretrain.minutes, found.pretrain.tokens) == (None, 5000)


@pytest.mark.parametrize(("size", "fast", "slow", "millions"), ROWS)
def test_the_sizes_are_those_of_the_table(size: str, fast: str, slow: str, millions: str) -> None:
    assert len(ROWS) == 3

    def chosen(budget: Budget, precision: Literal["bf16", "fp32"] = "bf16") -> str:
        compute = Compute(
            device="cpu", threads=2, precision=precision, is_compiled=False, torch_version="2", chip="a chip"
        )
        return choose_size("auto", budget, 1_000_000, compute)

    assert chosen(Budget(minutes=float(fast) - 0.1)) == size != chosen(Budget(minutes=float(fast)))
    assert chosen(Budget(minutes=float(slow) - 0.1), "fp32") == size != chosen(Budget(minutes=float(slow)), "fp32")
    tokens = int(millions) * 1_000_000
    assert chosen(Budget(tokens=tokens - 1)) == size != chosen(Budget(tokens=tokens))
