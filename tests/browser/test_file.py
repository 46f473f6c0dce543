"""The page as a file, opened from disk with the network cut: it shows the run, and texts in it are only ever text."""

from __future__ import annotations

import base64
import gzip
import json
import os
import platform
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pretune.page.report import write_report
from pretune.run_trace.build import build_run_trace
from pretune.run_trace.user_texts import with_texts_changed
from pretune.trace_schema import RunTrace

ROOT = Path(__file__).parents[2]
ATTACKS = json.loads((Path(__file__).parent / "attacks.json").read_text(encoding="utf-8"))
LONG_WORD = "W" * 10_000
DRAWN = "() => document.querySelector('h1') !== null"  # a function: the policy of the page forbids eval


def payload(report: Path) -> Any:
    """The trace in a report."""
    found = re.search(r'<script id="trace" type="application/json">([^<]*)</script>', report.read_text("utf-8"))
    assert found is not None
    return json.loads(gzip.decompress(base64.b64decode(found.group(1))))


def attacked(trace: RunTrace, texts: Iterator[str]) -> RunTrace:
    """The same trace with every text of the user replaced by the next of these."""
    changed: RunTrace = with_texts_changed(trace, lambda _text, _place: next(texts))
    return changed


def endless(attacks: list[str]) -> Iterator[str]:
    """The attacks again and again; each time they end with one word of 10,000 characters."""
    while True:
        yield from attacks
        yield LONG_WORD


@pytest.fixture(scope="module")
def trace(small_run: Path) -> RunTrace:
    return build_run_trace(small_run)


@pytest.fixture(scope="module")
def report(trace: RunTrace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(trace, path)
    return path


def unfold_and_press(page: Any) -> None:
    """Open everything that is folded and press every button, which draws what was not drawn yet."""
    page.evaluate("for (const fold of document.querySelectorAll('details')) fold.open = true")
    page.evaluate(
        """for (const button of document.querySelectorAll('button:not([disabled]), [role=tab]')) {
            if (button.isConnected && !/download|print/i.test(button.textContent)) button.click();
        }"""
    )
    page.wait_for_timeout(50)


def test_the_run_is_shown_from_disk_with_the_network_cut(trace: RunTrace, report: Path, open_page: Any) -> None:
    watched = open_page(report)
    watched.page.wait_for_function(DRAWN)
    shown = watched.page.inner_text("body")
    assert " ".join(trace.run.headline.split()) in " ".join(shown.split())
    assert "synthetic" in shown.lower() or not trace.run.is_synthetic
    unfold_and_press(watched.page)
    assert watched.complaints() == []


def test_the_payload_is_the_trace(report: Path, small_run: Path) -> None:
    recorded = json.loads((small_run / "trace.json").read_text(encoding="utf-8"))
    found = payload(report)
    assert found["run"]["headline"] == recorded["run"]["headline"]
    assert found["predictions"] == recorded["predictions"]


def test_texts_are_never_more_than_text(trace: RunTrace, tmp_path: Path, open_page: Any) -> None:
    hostile = attacked(trace, endless(ATTACKS))
    hostile = replace(hostile, run=replace(hostile.run, name=ATTACKS[0], headline=ATTACKS[2]))
    write_report(hostile, tmp_path / "hostile.html")
    watched = open_page(tmp_path / "hostile.html")
    watched.page.wait_for_function(DRAWN)
    unfold_and_press(watched.page)
    watched.page.mouse.move(400, 400)
    watched.page.emulate_media(media="print")
    assert watched.complaints() == []
    shown = watched.page.inner_text("body")
    assert "<script>" in shown  # the attacks are there, as text


@pytest.mark.slow
def test_no_character_of_a_text_is_invisible(trace: RunTrace, tmp_path: Path, open_page: Any) -> None:
    hidden = "\x00\x07\x1b\u202e\u2066"
    write_report(attacked(trace, iter(lambda: f"A{hidden}B", None)), tmp_path / "hidden.html")
    watched = open_page(tmp_path / "hidden.html")
    watched.page.wait_for_function(DRAWN)
    unfold_and_press(watched.page)
    shown = watched.page.inner_text("body")
    assert not [shown[max(at - 60, 0) : at + 20] for at, sign in enumerate(shown) if sign in hidden]
    assert "U+202E" in shown
    assert watched.complaints() == []


@pytest.mark.slow
def test_a_word_of_ten_thousand_characters_does_not_widen_the_page(
    trace: RunTrace, tmp_path: Path, open_page: Any
) -> None:
    hostile = attacked(trace, iter(lambda: LONG_WORD, None))
    write_report(hostile, tmp_path / "wide.html")
    watched = open_page(tmp_path / "wide.html", viewport={"width": 390, "height": 800})
    watched.page.wait_for_function(DRAWN)
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert watched.complaints() == []


@pytest.mark.slow
def test_the_charts_of_a_hybrid_stay_in_the_column_of_their_phase(
    trace: RunTrace, tmp_path: Path, open_page: Any
) -> None:
    """It has three charts, the phase beside it two; the third one went to the top of the other column."""
    assert trace.phases.pretrain is not None
    hybrid = replace(trace.phases.pretrain, objective="hybrid")
    write_report(replace(trace, phases=replace(trace.phases, pretrain=hybrid)), tmp_path / "hybrid.html")
    page = open_page(tmp_path / "hybrid.html", viewport={"width": 1400, "height": 900}).page
    page.wait_for_selector(".phase-pair")
    places = page.evaluate(
        """() => [...document.querySelectorAll(".phase-pair .phase")].map((phase) => [...phase.children].map(
            (child) => child.getBoundingClientRect()).map(({ left, top }) => [Math.round(left), Math.round(top)]))"""
    )
    assert [len(phase) for phase in places] == [4, 3]  # a heading each
    first, second = ([left for left, _ in phase] for phase in places)
    assert len(set(first)) == len(set(second)) == 1
    assert first[0] < second[0]
    assert [top for _, top in places[0]][:3] == [top for _, top in places[1]]


@pytest.mark.slow
def test_a_label_that_is_wider_than_its_part_of_the_bar_stands_below_it(
    trace: RunTrace, tmp_path: Path, open_page: Any
) -> None:
    first = trace.predictions[0]
    decision = replace(first.decision, index=0, probability=0.51, probabilities=[0.51, 0.49])
    named = replace(first, label_names=["an eighteen-sign one", "another"], decision=decision)
    write_report(replace(trace, predictions=[named]), tmp_path / "narrow.html")
    page = open_page(tmp_path / "narrow.html", viewport={"width": 360, "height": 800}).page
    texts = page.locator(".decision svg text", has_text="an eighteen-sign one")
    texts.first.wait_for()
    assert texts.first.get_attribute("class") == "ink"
    bar = page.locator(".decision svg .remainder").first.bounding_box()
    assert texts.first.bounding_box()["y"] >= bar["y"] + bar["height"]


@pytest.mark.slow
def test_the_policy_stops_what_a_text_would_do(report: Path, tmp_path: Path, open_page: Any) -> None:
    """If our own script had a hole, the policy would still be in the way: markup in the file itself is not run."""
    html = report.read_text(encoding="utf-8")
    attack = '<img src=x onerror="window.__xss = 1"><script>window.__xss = 2</script>'
    assert "<noscript>" in html
    (tmp_path / "holed.html").write_text(html.replace("<noscript>", f"{attack}<noscript>", 1), encoding="utf-8")
    watched = open_page(tmp_path / "holed.html")
    watched.page.wait_for_function(DRAWN)
    assert watched.page.evaluate("window.__xss") is None
    assert len(watched.page.evaluate("window.__violations")) >= 2
    with pytest.raises(Exception, match="TrustedHTML"):
        watched.page.evaluate("document.body.insertAdjacentHTML('beforeend', '<b>')")


def test_without_scripts_there_is_the_headline(trace: RunTrace, report: Path, chromium: Any) -> None:
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.inner_text("h1") == trace.run.headline
    assert "allow scripts" in page.inner_text("body")
    context.close()


@pytest.mark.slow
def test_a_file_with_the_model_predicts_offline(
    trace: RunTrace, small_run: Path, tmp_path: Path, open_page: Any
) -> None:
    from pretune.exporting.browser_model import pack_model
    from pretune.inference.predict import predict

    text = "The hotel was dreadful <b>and</b> cold."
    write_report(trace, tmp_path / "with_model.html", model=pack_model(small_run))
    watched = open_page(tmp_path / "with_model.html")
    watched.page.get_by_role("tab", name="Your own text").click()
    watched.page.get_by_label("Your text").fill(text)
    watched.page.get_by_role("button", name="Trace this text").click()
    shown = watched.page.locator(".typed-result")
    [expected] = predict(small_run, [text])
    shown.get_by_text(f"Predicted “{expected.label}”").first.wait_for(timeout=60_000)
    percent = re.search(r"Predicted .* with >?([\d.]+)\u202f%", shown.inner_text())  # at most ">99.99 %"
    assert percent is not None
    assert float(percent.group(1)) == pytest.approx(100 * (expected.probability or 0), abs=0.06)
    assert watched.complaints() == []


@pytest.mark.slow
def test_a_typed_text_is_traced_before_its_reasons_and_a_newer_one_ends_it(
    trace: RunTrace, small_run: Path, tmp_path: Path, open_page: Any
) -> None:
    from pretune.exporting.browser_model import pack_model

    write_report(trace, tmp_path / "with_model.html", model=pack_model(small_run))
    watched = open_page(tmp_path / "with_model.html")
    page = watched.page
    page.get_by_role("tab", name="Your own text").click()
    # What the result said, change by change: the reasons of a short text can be there before a test could look.
    page.evaluate("""() => {
        window.__said = [];
        new MutationObserver(() => window.__said.push(document.querySelector(".typed-result").innerText))
            .observe(document.querySelector(".typed-result"), { subtree: true, childList: true, characterData: true });
    }""")
    for text in ("A dull evening. " * 12, "The hotel was dreadful and cold."):
        page.get_by_label("Your text").fill(text)
        page.locator("form.typed button").click()
    page.locator(".typed-result .agreement").wait_for(timeout=60_000)
    said = [each for each in page.evaluate("window.__said") if "The hotel was dreadful" in each]
    assert "The reasons are being computed" in said[0]
    assert "Decision" in said[0]
    assert "dull evening" not in page.inner_text(".typed-result")
    assert watched.complaints() == []


@pytest.mark.slow
def test_bars_that_no_second_method_confirms_are_hollow(trace: RunTrace, tmp_path: Path, open_page: Any) -> None:
    assert trace.predictions and trace.predictions[0].reasons is not None
    for correlation, count in ((0.2, 1), (0.8, 0)):
        first = trace.predictions[0]
        reasons = replace(first.reasons, rank_correlation=correlation, is_converged=True)
        report = tmp_path / f"{correlation}.html"
        write_report(replace(trace, predictions=[replace(first, reasons=reasons)]), report)
        page = open_page(report).page
        page.locator(".reasons .agreement").wait_for()
        assert page.locator(".reasons .is-unclear").count() == count
        title = page.locator(".reasons figcaption b", has_text="not to be read as importance")
        assert title.count() == count


@pytest.mark.slow
def test_a_word_without_an_end_is_answered_before_its_reasons(
    trace: RunTrace, small_run: Path, tmp_path: Path, open_page: Any
) -> None:
    """Its reasons take half a minute; until then the decision is there, and another text can be traced."""
    from pretune.exporting.browser_model import pack_model

    write_report(trace, tmp_path / "with_model.html", model=pack_model(small_run))
    watched = open_page(tmp_path / "with_model.html")
    watched.page.get_by_role("tab", name="Your own text").click()
    form, shown = watched.page.locator("form.typed"), watched.page.locator(".typed-result")
    watched.page.get_by_label("Your text").fill("x" * 10_000)
    watched.page.get_by_role("button", name="Trace this text").click()
    shown.get_by_text("Predicted").first.wait_for()
    form.get_by_text("The reasons are being computed.").wait_for()
    shown.get_by_text("The reasons are being computed.").wait_for()
    watched.page.get_by_label("Your text").fill("Cold.")
    form.get_by_role("button").click()
    shown.get_by_text("“Cold.”").first.wait_for()
    watched.page.wait_for_function("() => document.querySelector('form.typed').ariaBusy === 'false'")
    assert "Integrated gradients" in shown.inner_text()
    assert watched.complaints() == []


@pytest.mark.parametrize("end", [0.5, 0.999])
def test_a_file_that_is_cut_off_says_so(report: Path, tmp_path: Path, open_page: Any, end: float) -> None:
    """Here the payload is cut and the script is there; without the script, the browser shows nothing at all."""
    payload_end = report.read_text(encoding="utf-8").index("</script>", 2000)
    html = report.read_text(encoding="utf-8")
    start = html.index('<script id="trace"')
    cut = start + round((payload_end - start) * end)
    (tmp_path / "cut.html").write_text(html[:cut] + html[payload_end:], encoding="utf-8")
    watched = open_page(tmp_path / "cut.html", errors=False)
    watched.page.wait_for_function("() => document.body.innerText.trim() !== ''")
    assert "cannot" in watched.page.inner_text("body")


def test_a_report_names_nothing_of_this_machine(small_run: Path, report: Path) -> None:
    """No path, host or user of the machine, and no address to load anything from."""
    found = json.dumps(payload(report), ensure_ascii=False)
    html = report.read_text(encoding="utf-8")
    for path in {str(small_run), str(small_run.parent), str(Path.home()), str(Path.cwd())} - {"/"}:
        assert path not in found, path
        assert path not in html, path
    words = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py")).lower()
    for name in {platform.node(), os.environ.get("USER", ""), os.environ.get("LOGNAME", "")}:
        if len(name) < 6 or name.lower() in words:  # such as "runner": a report may well have the word
            continue
        assert not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", found), name
    assert not re.search(r"(?<![\w<])/(?:tmp|home|root|work|usr|var|Users)/", found)
    assert not re.search(r"(?i)\b(?:token|password|secret|api[_-]?key)\s*[=:]\s*\S{12}", found)
    head, _, _ = html.partition('<script id="trace"')
    assert not re.search(r"(?:src|href)=\"(?!data:)", head)


@pytest.mark.slow
def test_a_typed_text_is_computed_on_while_another_tab_is_looked_at(
    trace: RunTrace, small_run: Path, tmp_path: Path, open_page: Any
) -> None:
    from pretune.exporting.browser_model import pack_model

    write_report(trace, tmp_path / "with_model.html", model=pack_model(small_run))
    watched = open_page(tmp_path / "with_model.html")
    page = watched.page
    page.get_by_role("tab", name="Your own text").click()
    page.get_by_label("Your text").fill("The hotel was dreadful and cold.")
    # Both clicks in one turn of the browser, so that nothing is computed between them.
    page.evaluate("""() => {
        document.querySelector("form.typed button").click();
        document.querySelector("[role=tab]").click();
    }""")
    page.locator("form.typed").wait_for(state="detached")
    page.get_by_role("tab", name="Your own text").click()
    page.locator(".typed-result .agreement").wait_for(timeout=60_000)
    assert "The hotel was dreadful and cold." in page.inner_text(".typed-result")
    assert page.get_by_label("Your text").input_value() == "The hotel was dreadful and cold."
    assert watched.complaints() == []


def test_the_matrix_of_many_classes_scrolls_once_and_is_printed_whole(
    trace: RunTrace, tmp_path: Path, open_page: Any
) -> None:
    assert trace.errors is not None
    classes = range(30)
    errors = replace(
        trace.errors,
        n=900,
        labels=[f"class {name}" for name in classes],
        confusion=[[30 if row == column else 1 for column in classes] for row in classes],
        positive_probability=[],
        label=[],
    )
    write_report(replace(trace, errors=errors, quiz=None), tmp_path / "classes.html")
    page = open_page(tmp_path / "classes.html").page
    page.get_by_text("Matrix of all 30 classes").click()
    page.locator(".full-matrix").wait_for()
    limited = """[...document.querySelectorAll('.errors div')].filter((part) =>
        part.scrollHeight > part.clientHeight + 1 && getComputedStyle(part).overflowY !== 'visible')
        .map((part) => part.className)"""
    assert page.evaluate(limited) == ["scroll full-matrix"]
    page.emulate_media(media="print")
    assert page.evaluate(limited) == []


def test_what_a_button_adds_takes_its_focus(trace: RunTrace, tmp_path: Path, open_page: Any) -> None:
    """A button that vanished took the focus with it, to the top of the page."""
    prediction, phase = trace.predictions[0], trace.phases.pretrain
    assert phase is not None and trace.quiz is not None
    tokens = [replace(prediction.tokens[1], position=place, surface=f"t{place}") for place in range(150)]
    rows = [replace(phase.evaluations[0], step=step, observations=[]) for step in range(70)]
    question = next(each for each in trace.quiz.quiz if each.kind == "choice" and each.hints and each.solution)
    changed = replace(
        trace,
        predictions=[replace(prediction, tokens=tokens, reasons=None, attention=None)],
        phases=replace(trace.phases, pretrain=replace(phase, evaluations=rows)),
        quiz=replace(trace.quiz, quiz=[replace(question, hints=question.hints[:1])]),
    )
    write_report(changed, tmp_path / "long.html")
    page = open_page(tmp_path / "long.html").page
    form = page.locator("form.question").first

    def focused_after(button: Any) -> str:
        button.focus()
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.activeElement.tagName !== 'BODY'")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        text: str = page.evaluate("document.activeElement.innerText")
        return text

    assert focused_after(page.get_by_role("button", name="Show all 150 tokens")).startswith("t120")
    found = focused_after(page.get_by_role("button", name="Show the 40 evaluations between").first)
    assert found.split()[1] == "15"  # the step
    assert focused_after(form.get_by_role("button", name="Hint")) in form.locator(".hints").inner_text()
    form.locator("input[type=radio]").first.check()
    form.get_by_role("button", name="Check").click()
    assert focused_after(form.get_by_role("button", name="Worked solution")) == form.locator(".solution").inner_text()
