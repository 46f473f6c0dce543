"""The benchmark of prediction: the pipeline is tuned on other texts than those that are timed, in every precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import prediction as benchmark
import pytest


@pytest.mark.parametrize(("has_bf16", "expected"), [(False, (False, 8)), (True, (True, 32))])
def test_the_best_pair_of_precision_and_batch_size_on_other_texts_is_timed(
    has_bf16: bool, expected: tuple[bool, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    best = {False: 8, True: 32}
    calls: list[tuple[list[str], bool, list[int]]] = []

    def pipeline(spec: dict[str, Any]) -> dict[str, Any]:
        texts = Path(spec["file"]).read_text(encoding="utf-8").splitlines()
        calls.append((texts, spec["bf16"], list(spec["batch_sizes"])))
        slowness = 1.0 if spec["bf16"] else 2.0
        return {"seconds": {str(size): slowness + abs(size - best[spec["bf16"]]) for size in spec["batch_sizes"]}}

    monkeypatch.setattr(benchmark, "_pipeline", pipeline)
    monkeypatch.setattr(benchmark, "_seconds", lambda _words: 1.0)
    texts = [f"text {number}" for number in range(benchmark._TUNING_TEXTS + 3)]
    found = benchmark._measure_kind(Path("model"), "phrases", texts, 1, has_bf16)
    *tuning, timed = calls
    assert timed == (texts[:3], expected[0], [expected[1]])
    assert [each[1] for each in tuning] == ([False, True] if has_bf16 else [False])
    assert all(each[0] == texts[3:] and each[2] == list(benchmark._BATCH_SIZES) for each in tuning)
    assert (found["texts"], found["pipeline_bf16"], found["pipeline_batch_size"]) == (3, *expected)
    table = benchmark.render({"size": "5M", "kinds": [found], "cold_start_seconds": {"median": 1.0, "first": 2.0}})
    assert ("32, bf16" if has_bf16 else "8, fp32") in table
