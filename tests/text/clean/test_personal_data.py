from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pretune.text.clean.personal_data import PERSONAL_DATA, has_check_digit, is_card, replace_personal_data

DIGITS = st.text("0123456789", min_size=12, max_size=18)


def with_check_digit(digits: str) -> str:
    return next(digits + str(last) for last in range(10) if passes_luhn(digits + str(last)))


def passes_luhn(number: str) -> bool:
    """Luhn's check as it is taught: from the right, every second digit doubled, nine taken off above nine."""
    total = 0
    for place, character in enumerate(reversed(number)):
        digit = int(character) * (2 if place % 2 else 1)
        total += digit - 9 if digit > 9 else digit
    return total % 10 == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jane.doe+news@mail.example.co.uk, please.", "Write to [email], please."),
        ("m\u00fcller@stra\u00dfe.de or <a@b.org>", "[email] or <[email]>"),
        ("not@home, @someone, a @ b", "not@home, @someone, a @ b"),
        ("From 192.168.0.255.", "From [ip]."),
        ("300.1.1.1 and 1.2.3 and 1.2.3.4.5", "300.1.1.1 and 1.2.3 and 1.2.3.4.5"),
        ("at 2001:db8::ff00:42:8329 or fe80::1", "at [ip] or [ip]"),
        ("at 12:30:45, std::string, a::b", "at 12:30:45, std::string, a::b"),
        ("card 4111 1111 1111 1111, code 123", "card [card], code 123"),
        ("4111-1111-1111-1111 5500005555555559", "[card] [card]"),
        ("4111 1111 1111 1112 is none, 0000000000000000 neither",
         "4111 1111 1111 1112 is none, 0000000000000000 neither"),
        ("Call +49 (0)30 123-4567 or (555) 123-4567.", "Call [phone] or [phone]."),
        ("555-123-4567, 030/12345678, 01 23 45 67 89", "[phone], [phone], [phone]"),
        ("+1 555 123 4567 now", "[phone] now"),
        ("In 1984, on 2024-05-06 and 06.05.2024, 1,000,000 of 0.12345678 in 01-02-2003",
         "In 1984, on 2024-05-06 and 06.05.2024, 1,000,000 of 0.12345678 in 01-02-2003"),
        ("Meeting on 05-12-2023 14:30 in Bonn", "Meeting on 05-12-2023 14:30 in Bonn"),
        ("03-11-2021 1200 or 03-31-2021 1200, 05-12-2023 06-12-2023",
         "03-11-2021 1200 or 03-31-2021 1200, 05-12-2023 06-12-2023"),
        ("on 05-12-2023 0171 2345678, 05-12-20-23-14, 06-12345678, 02-2012-3456, 05-12-20231430",
         "on 05-12-2023 [phone], [phone], [phone], [phone], [phone]"),
        ("", ""),
    ],
)  # fmt: skip
def test_personal_data_is_replaced(text: str, expected: str) -> None:
    assert replace_personal_data(text) == expected


def test_everything_replaced_is_counted() -> None:
    counts: Counter[str] = Counter()
    text = "a@b.org c@d.org 10.0.0.1 4111111111111111 +49 30 1234567"
    assert replace_personal_data(text, counts) == "[email] [email] [ip] [card] [phone]"
    assert counts == {"email": 2, "ip": 1, "card": 1, "phone": 1}
    assert set(counts) == set(PERSONAL_DATA)


@given(DIGITS)
def test_luhn(digits: str) -> None:
    card = with_check_digit(digits)
    assert has_check_digit(card)
    assert not has_check_digit(card[:-1] + str((int(card[-1]) + 1) % 10))


# Numbers that issuers and payment services publish for tests.
CARDS = (
    "4111111111111111", "4222222222222", "5500005555555559", "2223003122003222", "378282246310005", "30569309025904",
    "3530111333300000", "6011111111111117", "6200000000000005", "6304000000000000", with_check_digit("220070000000000"),
)  # fmt: skip


@pytest.mark.parametrize("card", CARDS)
def test_cards_of_all_issuers_are_replaced_however_they_are_written(card: str) -> None:
    size = 6 if len(card) in (14, 15) else 4  # of the second group
    for separator in ("", " ", "-"):
        groups = [card[:4], card[4 : 4 + size], *(card[i : i + 4] for i in range(4 + size, len(card), 4))]
        if size == 6:
            groups[2:] = [card[10:]]
        assert replace_personal_data(f"number {separator.join(groups)}, thanks") == "number [card], thanks"
    assert is_card(card)


@pytest.mark.parametrize(
    "text",
    [
        "139 562 176 55 3 14 85 87 44 77 14 5 6 313",  # a row of a table that passes the check, as one in ten does
        "1989 1990 1991 1992",
        "1334 1334 1334 1334",
        "5571887732823049474",  # the name of a file system block in a log: no issuer has 19 digits with 55
        "4111 1111-1111 1111",
        "0000000000000000",
    ],
)
def test_numbers_that_are_not_cards_stay(text: str) -> None:
    assert replace_personal_data(text) == text
    assert replace_personal_data(f"1234 {CARDS[0]} 5678") == "1234 [card] 5678"


def test_two_phone_numbers_are_not_a_card() -> None:
    assert replace_personal_data("408-894-4000 408-944-0410") == "[phone] [phone]"


ANY = st.one_of(st.text(), st.text("a1@.:+-() /0", max_size=60))


@given(ANY)
def test_a_second_time_changes_nothing(text: str) -> None:
    once = replace_personal_data(text)
    assert replace_personal_data(once) == once


@given(st.ip_addresses())
def test_addresses_of_machines(address: object) -> None:
    text = str(address)
    expected = "[ip]" if len(text) > 4 and (text.count(":") in (0, 7) or "::" in text) else text
    assert replace_personal_data(f"From {text} came") == f"From {expected} came"


@pytest.mark.parametrize("text", ["1" * 50_000, "1 " * 50_000, "a." * 50_000 + "@", "a@" + "b." * 50_000, ":" * 50_000])
def test_no_text_takes_long(text: str) -> None:
    replace_personal_data(text)  # the time limit of the suite is the assertion
