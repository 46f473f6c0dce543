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


GPU = re.search(
    r"An NVIDIA GPU takes `small` below (\d+) minutes, `medium` below (\d+) and `large` from \2 on; with a budget in "
    r"tokens, `medium`\sfrom (\d+) million and `large` from (\d+) billion on\.",
    PAGE,
)


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


def test_the_page_has_the_limits_of_all_sizes() -> None:
    assert [size for size, *_ in ROWS] == ["tiny", "micro", "mini"]  # without rows, the test of them would be skipped
    assert GPU is not None


def chosen(budget: Budget, device: str = "cpu", precision: Literal["bf16", "fp32"] = "bf16") -> str:
    compute = Compute(
        device=device, threads=2, precision=precision, is_compiled=False, torch_version="2", chip="a chip"
    )
    return choose_size("auto", budget, 1_000_000, compute)


@pytest.mark.parametrize(("size", "fast", "slow", "millions"), ROWS)
def test_the_sizes_are_those_of_the_table(size: str, fast: str, slow: str, millions: str) -> None:
    assert chosen(Budget(minutes=float(fast) - 0.1)) == size != chosen(Budget(minutes=float(fast)))
    before, after = (chosen(Budget(minutes=float(slow) - less), precision="fp32") for less in (0.1, 0))
    assert before == size != after
    tokens = int(millions) * 1_000_000
    assert chosen(Budget(tokens=tokens - 1)) == size != chosen(Budget(tokens=tokens))


def test_the_sizes_on_a_gpu_are_those_of_the_page() -> None:
    assert GPU is not None
    minutes, tokens = map(int, GPU.groups()[:2]), (int(GPU[3]) * 1_000_000, int(GPU[4]) * 1_000_000_000)
    for limit, below, above in zip(minutes, ("small", "medium"), ("medium", "large"), strict=True):
        assert chosen(Budget(minutes=limit - 0.1), "cuda") == below
        assert chosen(Budget(minutes=float(limit)), "cuda") == above
    for limit, below, above in zip(tokens, ("small", "medium"), ("medium", "large"), strict=True):
        assert chosen(Budget(tokens=limit - 1), "cuda") == below
        assert chosen(Budget(tokens=limit), "cuda") == above
