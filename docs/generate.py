"""Write the documentation that is made from the code.

docs/guide/cli.md, the map of files in CONTRIBUTING.md, the costs in scaling.md, the rules in cleaning.md, the schema of
trace.json in the package and in docs/guide, and its types in web/src/trace.ts. With --check nothing is written, and the
exit code is 1 if one of them is out of date.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
import textwrap
from pathlib import Path

from trace_types import json_schema, typescript

from pretune.cli.verbs import VERBS, build_parser
from pretune.model import cost
from pretune.model.config import ModelConfig
from pretune.settings import PretrainConfig
from pretune.text.clean.rules import NOT_SWITCHABLE, quality_rules

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "pretune"
SCHEMA_NAME = "trace.schema.json"  # of trace.json, in the wheel and in the guide
MAP_BEGINS, MAP_ENDS = "<!-- file map: written by `make docs` -->", "<!-- end of the file map -->"
RULES_BEGIN, RULES_END = "<!-- rules: written by `make docs` -->", "<!-- end of the rules -->"
COSTS_BEGIN, COSTS_END = "<!-- costs: written by `make docs` -->", "<!-- end of the costs -->"
SHAPES = ((4, 256), (8, 448), (12, 768), (20, 1088), (20, 2048))  # layers x width: 10M to 1B parameters
VOCABULARY, ROW_TOKENS, MASK_PROB = 32_768, 512, PretrainConfig().mask_prob
PEAK, SHARE = 989e12, 0.4  # bf16 operations per second that the chip's data sheet promises; the share assumed of it
# From the top of the house to the bottom; a part that is missing here fails the generation.
HOUSE = (
    "__main__", "cli", "estimators", "api", "pipeline", "strategies", "estimate_run", "run_changes", "train_folder",
    "recipe", "live", "stages", "page", "reporting", "learning", "run_trace", "exporting", "evaluation", "tracing",
    "inference", "training", "tasks", "scoring", "model", "data", "compute", "settings", "trace_schema",
    "setting_kinds", "builtin_world", "text", "runtime", "terminal", "errors", "version",
)  # fmt: skip


def main() -> int:
    """Write or check every generated text; returns the exit code."""
    guide = ROOT / "docs" / "guide"
    scaling, cleaning, contributing = guide / "scaling.md", guide / "cleaning.md", ROOT / "CONTRIBUTING.md"
    wanted = {
        guide / "cli.md": describe_cli(),
        contributing: between(contributing, MAP_BEGINS, MAP_ENDS, describe_house()),
        scaling: between(scaling, COSTS_BEGIN, COSTS_END, describe_costs()),
        cleaning: between(cleaning, RULES_BEGIN, RULES_END, describe_rules()),
        **dict.fromkeys((PACKAGE / SCHEMA_NAME, guide / SCHEMA_NAME), json.dumps(json_schema(), indent=1) + "\n"),
        ROOT / "web" / "src" / "trace.ts": typescript(),
    }
    if "--check" not in sys.argv[1:]:
        for path, text in wanted.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is out of date: run `make docs` and commit what it writes.\n")
    return 1 if stale else 0


def describe_cli() -> str:
    """docs/guide/cli.md: every verb with its words and options, from the parsers themselves."""
    parts = [
        "# The command line\n\nWritten by `make docs` from the settings classes; every verb also answers `--help`. "
        "Results go to stdout, progress to stderr; exit codes are in [errors.md](errors.md).\n"
    ]
    for verb in VERBS.values():
        parser = build_parser(verb)
        parts.append(f"## {verb.name}\n\n{parser.description}\n\n```\n{verb.example}\n```\n")
        for group in parser._action_groups:
            rows = [describe_action(action) for action in group._group_actions if action.dest != "help"]
            if rows:
                title = "" if group.title in ("positional arguments", "options") else f"{group.title}:\n\n"
                parts.append(
                    title
                    + f"| {'argument' if group.title == 'positional arguments' else 'option'} | meaning |\n|---|---|\n"
                    + "\n".join(rows)
                    + "\n"
                )
    return "\n".join(parts)


def describe_action(action: argparse.Action) -> str:
    """One row of the table: the words to type, and what they mean."""
    words = ", ".join(action.option_strings) or str(action.metavar)
    if action.choices is not None:
        value = " \\| ".join(map(str, action.choices))
    else:
        value = str(action.metavar or "") if action.option_strings and action.nargs != 0 else ""
    text = (action.help or "").replace("%%", "%").replace("|", "\\|")
    return f"| `{words}` {value} | {text} |".replace("  ", " ")


def between(path: Path, begin: str, end: str, middle: str) -> str:
    """A file's text with what stands between two marks replaced."""
    before, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{middle}{end}{after}"


def describe_rules() -> str:
    """A table of all quality rules, in the order in which they are asked, and which profile asks which texts."""
    every, auto, english = quality_rules("long"), quality_rules("auto"), quality_rules("auto", language="en")
    lines = ["| rule | drops a text if | asked by `short` | `auto` | `long` |", "|---|---|---|---|---|"]
    for rule in every.long:
        names = [[each.name for each in rules] for rules in (auto.short, auto.long, english.long)]
        asked = ["any text" if rule.name in names[0] else "-"]
        if rule.name in names[0]:
            asked.append("any text")
        elif rule.name in names[2]:
            asked.append("from 50 words on" + ("" if rule.name in names[1] else ", with `--language en`"))
        else:
            asked.append("-")
        fixed = " (cannot be switched off)" if rule.name in NOT_SWITCHABLE else ""
        lines.append(f"| `{rule.name}` | {rule.reason}{fixed} | {' | '.join(asked)} | any text |")
    return "\n".join([*lines, ""])


def describe_costs() -> str:
    """A table of GPU hours and memory, from the cost model."""
    lines = [
        "Operations = tokens x operations per token (`train_flops_per_token`: 6 per weight, 12 x layers x width x row",
        f"for attention, the head at the masked {MASK_PROB:.0%}); hours of one GPU = operations / ({PEAK / 1e12:.0f}",
        f"TFLOP/s x {SHARE:.0%} x 3600). The rate is an assumption (bf16 on one H200, without Muon and communication),",
        f"not a measurement. Rows of {ROW_TOKENS} tokens, {VOCABULARY:,} tokens in the vocabulary. Each GPU holds",
        "the state (weights, gradients, two moments) in addition to the activations.",
        "",
        "| parameters | layers x width | operations per token | state | 1B tokens | 10B | 100B | 1T |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for layers, width in SHAPES:
        model = ModelConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            num_layers=layers,
            num_heads=width // 64,
            num_kv_heads=width // 64,
            head_dim=64,
            intermediate_size=round(width * 8 / 3 / 64) * 64,
        )
        operations = cost.train_flops_per_token(model, ROW_TOKENS, MASK_PROB)
        hours = [tokens * operations / (PEAK * SHARE * 3600) for tokens in (1e9, 1e10, 1e11, 1e12)]
        cells = [
            f"{cost.count_parameters(model) / 1e6:,.0f}M",
            f"{layers} x {width}",
            f"{operations / 1e6:,.0f}M",
            f"{cost.trained_bytes('cuda') * cost.count_parameters(model) / 1e9:.1f} GB",
            *(f"{each:,.0f} h" if each >= 10 else f"{each:.2g} h" for each in hours),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def describe_house() -> str:
    """Every part of the package with its modules and the sentence it says of itself, top layer first."""
    parts = {path.stem: path for path in sorted(PACKAGE.iterdir()) if path.suffix == ".py" or is_part(path)}
    parts.pop("__init__")
    unknown = parts.keys() - set(HOUSE)
    if unknown:
        raise SystemExit(f"docs/generate.py does not know where {', '.join(sorted(unknown))} stands in the house.")
    lines = ["```", "src/pretune/"]
    for name in (name for name in HOUSE if name in parts):
        lines += describe_part(parts[name], depth=1)
    return "\n".join([*lines, "```", ""])


def describe_part(path: Path, depth: int) -> list[str]:
    """The line of a module, or those of a folder and its parts."""
    indent = "  " * depth
    name = path.stem + ("/" if path.is_dir() else ".py")
    lines = wrap(f"{name:<14} {first_sentence(path)}", indent, hanging=15)
    if path.is_dir():
        modules = [file.stem for file in sorted(path.glob("*.py")) if file.stem != "__init__"]
        lines += wrap(", ".join(modules), f"{indent}    ") if modules else []
        for folder in sorted(path.iterdir()):
            lines += describe_part(folder, depth + 1) if folder.is_dir() and is_part(folder) else []
    return lines


def is_part(path: Path) -> bool:
    """Whether a folder is a part of the package."""
    return (path / "__init__.py").is_file()


def first_sentence(path: Path) -> str:
    """What a module or package says of itself in its first sentence."""
    file = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    sentence = " ".join(text.split("\n\n")[0].split())
    return sentence.split(". ")[0].rstrip(".")


def wrap(text: str, indent: str, hanging: int = 0) -> list[str]:
    """A text in lines of at most 110 characters, the later ones indented further."""
    return textwrap.wrap(text, 110, initial_indent=indent, subsequent_indent=indent + " " * hanging)


if __name__ == "__main__":
    sys.exit(main())
