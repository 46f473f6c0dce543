import json
from pathlib import Path

from pretune.run_trace.build import build_run_trace
from pretune.run_trace.codec import to_json
from pretune.settings import PreprocessConfig
from pretune.stages.collect.stage import collect
from pretune.stages.preprocess.stage import preprocess


def test_the_example_of_a_trace_is_without_the_personal_data_that_was_replaced(tmp_path: Path) -> None:
    """The trace quoted the text as collected, although the preprocess stage shows it without."""
    lines = [
        f"Line {number} is about the {number * 7} cups. Write to ada.lovelace@example.org." for number in range(200)
    ]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps({"text": line}) + "\n" for line in lines))
    run = tmp_path / "run"
    collect([tmp_path / "text.jsonl"], run / "collect")
    preprocess(run / "collect", run / "preprocess", PreprocessConfig(personal_data="replace"))
    trace = build_run_trace(run)
    assert trace.example is not None
    assert trace.example.text == trace.example.clean_text
    assert "[email]" in str(trace.example.text)
    assert "lovelace" not in json.dumps(to_json(trace))
