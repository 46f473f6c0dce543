from pretune.reporting.sections.dropped import render_dropped
from pretune.terminal import Page, to_text

DOCUMENT = {
    "text": "A good film, twice.", "source": "a.txt", "rule": "near_duplicate", "reason": "nearly the same words",
    "original": "A good film.", "original_source": "b.txt", "similarity": 0.8333,
}  # fmt: skip


def test_a_document_is_next_to_the_one_it_repeats() -> None:
    text = to_text(render_dropped("near-duplicate", [DOCUMENT], True, Page()), Page())
    assert "DROPPED: near duplicate   first 1 shown; --limit N shows more" in text
    assert text.index("twice") < text.index("a.txt \u00b7 nearly the same words \u00b7 similarity 0.83")
    assert text.index('= "A good film."') < text.index("b.txt")


def test_documents_that_were_only_reported_are_not_called_dropped() -> None:
    text = to_text(render_dropped("contaminated", [DOCUMENT | {"kept": True}], False, Page()), Page())
    assert "FOUND AND KEPT: contaminated" in text
    assert "DROPPED" not in text


def test_long_sources_are_cut_at_the_start_so_that_they_differ() -> None:
    archive = "/data/" + "a" * 80 + ".tar.zst"
    document = DOCUMENT | {"source": f"{archive}/one.txt", "original_source": f"{archive}/two.txt"}
    text = to_text(render_dropped("near-duplicate", [document], False, Page()), Page())
    assert ".tar.zst/one.txt \u00b7 nearly" in text
    assert ".tar.zst/two.txt" in text
    assert "/data/" not in text


def test_a_rule_about_one_text_shows_that_and_hostile_text_stays_text() -> None:
    hostile = "\x1b[2J[red]x\r\ny"
    document = {"text": hostile, "source": hostile, "rule": hostile, "reason": hostile}
    text = to_text(render_dropped(hostile, [document], False, Page(80)), Page(80))
    assert "\x1b" not in text
    assert "=" not in text
    assert "shows more" not in text
