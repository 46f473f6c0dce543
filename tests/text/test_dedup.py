from pretune.text.dedup import SeenTexts
from pretune.text.splits import hash_text


def test_the_first_is_new_and_its_variants_are_not() -> None:
    seen = SeenTexts()
    assert seen.add(hash_text("The  Café\n"))
    assert not seen.add(hash_text("the cafe\u0301"))
    assert seen.add(hash_text("the cafe"))
    assert len(seen) == 2


def test_membership() -> None:
    held_out = SeenTexts(hash_text(text) for text in ("a b", "c"))
    assert hash_text("A  B") in held_out
    assert hash_text("ab") not in held_out
