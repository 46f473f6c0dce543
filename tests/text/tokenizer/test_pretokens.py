from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from pretune.text.arrays.counted_words import count_in_bytes
from pretune.text.tokenizer.pretokens import count_pretokens


def backend(lowercase: bool = False) -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.normalizer = normalizers.Lowercase() if lowercase else None
    return made


STRETCHES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9) | st.sampled_from(
    ["don't", "'tis", "I'LL", "we've.", "x_1", "(1,000)", "größer", "\u6771\u4eac", "\U0001f600!", "é's", "''re"]
)


@pytest.mark.parametrize("lowercase", [False, True])
@given(counts=st.dictionaries(STRETCHES, st.integers(1, 9), max_size=12))
def test_pretokens_are_those_of_the_library(lowercase: bool, counts: dict[str, int]) -> None:
    made = backend(lowercase)
    expected: Counter[str] = Counter()
    for stretch, count in counts.items():
        text = made.normalizer.normalize_str(stretch) if lowercase else stretch
        for pretoken, _ in made.pre_tokenizer.pre_tokenize_str(text):
            expected[pretoken] += count * (len(pretoken) > 1)
    assert count_pretokens(counts, made) == +expected


def test_many_stretches_keep_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pretune.text.tokenizer.pretokens._STRETCHES_AT_ONCE", 3)
    counts = {f"word{chr(97 + n)}{'é' * (n % 2)}": n for n in range(1, 20)}
    found = count_pretokens(counts, backend())
    assert found["Ġwordc"] == 2
    assert sum(found.values()) == sum(counts.values())
    stretches = count_in_bytes(" ".join(Counter(counts).elements()).encode())
    assert count_pretokens(stretches.as_dict(), backend()) == found
