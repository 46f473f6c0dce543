import json
import tarfile
from collections.abc import Iterator
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pretune.errors import UsageError
from pretune.text.arrays.word_hashes import hash_words
from pretune.text.clean.normalize import clean_text
from pretune.text.clean.prefilter import is_repetitive
from pretune.text.clean.rule_measures import Sample
from pretune.text.clean.rules import NOT_SWITCHABLE, Profile, QualityRules, quality_rules


def dropped_by(text: str, **settings: object) -> str | None:
    rules: QualityRules = quality_rules(**settings)  # type: ignore[arg-type]
    clean = clean_text(text)
    (rule,) = rules.judge([clean], [text], hash_words([clean]))
    return rule and rule.name


@pytest.mark.parametrize("profile", ["short", "auto"])
@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "empty"),
        ("Good film.", None),
        ("ok", None),
        ("... !!! ***", "max_symbol_ratio"),
        ("\u6771\u4eac\u306f\u5927\u304d\u3044\u3002", None),
        ("\u0915\u094d\u0937\u0947\u0924\u094d\u0930\u0940\u092f \u0938\u092e\u093e\u091a\u093e\u0930", None),
        ("\U0001f600\U0001f600\U0001f600 wow", None),
        ("\U0001f600\U0001f600\U0001f600\U0001f600\U0001f600 ok", "max_symbol_ratio"),
        ("aGVsbG8gd29ybGQ" * 5, "long_words"),
        ("".join(map(chr, range(0x6771, 0x67CB))), None),  # no blanks, no long words
        ("buy now " * 20, "repetition"),
        ("the cat and the dog " * 3, None),
        ("lost \ufffd\ufffd", "broken_characters"),
        ("one \ufffd in a text that is long enough to bear it", None),
        ("Lorem ipsum dolor sit amet.", "lorem_ipsum"),
    ],
)
def test_rules_for_any_length(text: str, rule: str | None, profile: Profile) -> None:
    assert dropped_by(text, profile=profile) == rule


def test_settings() -> None:
    assert dropped_by("two words", min_words=3) == "min_words"
    assert dropped_by("three short words", min_words=3) is None
    assert dropped_by("a-b-c-d", max_symbol_ratio=0.2) == "max_symbol_ratio"
    assert dropped_by("buy now " * 20, disabled=("repetition",)) is None


def test_only_rules_that_exist_can_be_switched_off() -> None:
    for name in ("nope", "empty"):
        with pytest.raises(UsageError, match=rf"Unknown quality rule '{name}'; .* min_words, .*gopher_letters"):
            quality_rules(disabled=(name,))
    assert quality_rules("short", disabled=("c4_policy",))  # not in the profile, and known all the same


RULES = [rule.name for rule in quality_rules("long").long if rule.name not in NOT_SWITCHABLE]


@pytest.mark.parametrize("name", RULES)
def test_every_rule_can_be_switched_off_in_every_profile(name: str) -> None:
    for profile in ("short", "auto", "long"):
        with_it, without = quality_rules(profile), quality_rules(profile, disabled=(name,))
        for texts in ("short", "long"):
            names = [rule.name for rule in getattr(without, texts)]
            assert names == [rule.name for rule in getattr(with_it, texts) if rule.name != name]


GERMAN = """Der alte Mann ging am Abend durch die kleine Stadt und dachte an seine Kinder. Vor dem Rathaus blieb er
stehen, weil ihm ein Brief aus Graz einfiel, den er noch nicht beantwortet hatte. Es begann zu regnen. Er suchte Schutz
unter einem Vordach, nahm den Hut ab und wartete, bis die Glocken sieben schlugen und der Himmel wieder heller wurde.
Dann kehrte er langsam nach Hause zurück, zündete die Lampe an und schrieb bis nach Mitternacht."""


def test_profiles() -> None:
    short = "A short and good film."
    assert (dropped_by(short), dropped_by(short, profile="long")) == (None, "gopher_few_words")
    assert dropped_by(GERMAN) is None
    assert dropped_by(GERMAN, language="en") == "gopher_stop_words"
    assert dropped_by(GERMAN, profile="long") == "gopher_stop_words"
    assert dropped_by(GERMAN, profile="long", disabled=("gopher_stop_words",)) is None
    assert dropped_by("def f(): {" + GERMAN, disabled=("gopher_stop_words",), profile="long") == "c4_curly_bracket"
    assert dropped_by("def f(): {" + GERMAN) is None


def corpora(real_data: Path) -> Iterator[tuple[str, list[str]]]:
    imdb = zstandard.ZstdDecompressor().stream_reader((real_data / "imdb" / "unsup.jsonl.zst").open("rb"))
    yield "imdb", [json.loads(line)["text"] for line, _ in zip(TextIOWrapper(imdb, "utf-8"), range(1500), strict=False)]
    sst2 = zstandard.ZstdDecompressor().stream_reader((real_data / "sst2" / "train.tsv.zst").open("rb"))
    lines = [line for line, _ in zip(TextIOWrapper(sst2, "utf-8"), range(5000), strict=False)]
    yield "sst2", [line.split("\t", 1)[1].strip() for line in lines]
    novels = (real_data / "novels_en" / "novels.tar.zst").read_bytes()
    with tarfile.open(fileobj=BytesIO(zstandard.ZstdDecompressor().stream_reader(novels).read())) as archive:
        members = [member for member in archive if member.isfile()][:6]
        books = [archive.extractfile(member).read().decode("utf-8-sig") for member in members]  # type: ignore[union-attr]
    yield "novels", [book[i : i + 20_000].replace("\r", "") for book in books for i in range(0, len(book), 20_000)]


@pytest.mark.slow
def test_no_profile_deletes_good_text(real_data: Path) -> None:
    most = {
        ("imdb", "short"): 0.001, ("imdb", "auto"): 0.01, ("imdb", "long"): 0.06,
        ("sst2", "short"): 0.001, ("sst2", "auto"): 0.001, ("sst2", "long"): 1.0,  # too short for it
        ("novels", "short"): 0.001, ("novels", "auto"): 0.005, ("novels", "long"): 0.03,
    }  # fmt: skip
    for name, found in corpora(real_data):
        texts = [clean_text(text) for text in found]
        words = hash_words(texts)
        for profile in ("short", "auto", "long"):
            broken = quality_rules(profile).judge(texts, found, words)
            share = sum(rule is not None for rule in broken) / len(broken)
            assert share <= most[name, profile], (name, profile, share)


ANY = st.one_of(
    st.text(), st.text("ab \u00e4\ufffd-.\u2026", max_size=120), st.sampled_from(["lorem ipsum", "a" * 41, "#" * 9])
)


@given(st.lists(ANY, max_size=12), st.sampled_from(["short", "auto", "long"]), st.integers(1, 3), st.floats(0.1, 0.9))
def test_texts_that_pass_the_prefilter_break_no_rule(
    found: list[str], profile: Profile, min_words: int, max_symbol_ratio: float
) -> None:
    rules = quality_rules(profile, min_words=min_words, max_symbol_ratio=max_symbol_ratio)
    texts = [clean_text(text) for text in found]
    flags = is_repetitive(hash_words(texts)).tolist()
    expected = [rules.first_broken(Sample(*each)) for each in zip(texts, found, flags, strict=True)]
    assert rules.judge(texts, found, hash_words(texts)) == expected
