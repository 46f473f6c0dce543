"""Replace personal data in a text by placeholders: e-mail addresses, IP addresses, card numbers, phone numbers.

Patterns find data in the usual notations; they do not find names and postal addresses. Card numbers must have a length
and range that an issuer uses, be written without breaks or in the usual groups, and pass the Luhn check (ISO/IEC
7812-1), which by itself every tenth row of figures in a table passes. IP addresses must be valid for the standard
library.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address

PERSONAL_DATA = {
    "email": "e-mail addresses",
    "ip": "IP addresses",
    "card": "card numbers",
    "phone": "phone numbers",
}

# Every repetition is bounded, so no text makes a search slow.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IP = re.compile(
    r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}(?!\.?\d)|(?=[0-9A-Fa-f]{0,4}:)[0-9A-Fa-f:]{2,39}(?![\w:]))(?!\w)"
)
_CARD = re.compile(r"(?<![\w+.-])\d{1,19}(?:[ -]\d{1,19}){0,18}(?![\w-])")
_PHONE = re.compile(
    r"(?<![\w+./-])(?:"
    r"\+\d{1,3}(?:[ ./-]{0,2}\(?\d{1,6}\)?){1,7}"  # +49 (0)30 123-456
    r"|\(\d{3}\) ?\d{3}[ .-]\d{4}|\d{3}([ .-])\d{3}\1\d{4}"  # (555) 123-4567, 555-123-4567
    r"|(?!0[1-9]-(?:0[1-9]|[12]\d|3[01])-(?:1[89]|20)\d\d(?!\d))"  # no date: 05-12-2023 14:30
    r"0\d{1,5}[ /-]{1,3}\d{2,8}(?:[ -]\d{2,8}){0,4}"  # 030/1234567, 01 23 45 67 89
    r")(?![\w/-]|\.\d)"
)
_PHONE_DIGITS = range(9, 16)  # digits of a number with its area code, E.164
# Digits in each group; other groupings are rows of a table.
_CARD_GROUPS = ((4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 1), (4, 4, 4, 4, 2), (4, 4, 4, 4, 3))
_MOST_GROUPS = max(map(len, _CARD_GROUPS))
_ISSUED = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|3(?:0[0-5]|095|6\d|[89]\d)\d{11,16}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12,15}"  # JCB
    r"|(?:6011|64[4-9]\d|65\d\d|62\d\d|220[0-4])\d{12,15}"  # Discover, UnionPay, Mir
    r"|(?:5[0678]|6[37])\d{11,17}"  # Maestro
)
_FEWEST_DIGITS = 4


def replace_personal_data(text: str, counts: Counter[str] | None = None) -> str:
    """The text with placeholders such as `[email]`; `counts` is increased by one for every replacement."""
    if "@" in text:
        text = _replace(_EMAIL, "email", lambda _match: True, text, counts)
    if ":" in text or "." in text:
        text = _replace(_IP, "ip", _is_ip, text, counts)
    if sum(map(text.count, "0123456789")) >= _FEWEST_DIGITS:
        text = _CARD.sub(lambda match: _replace_cards(match[0], counts), text)
        text = _replace(_PHONE, "phone", _is_phone, text, counts)
    return text


def _replace(
    pattern: re.Pattern[str], kind: str, is_one: Callable[[str], bool], text: str, counts: Counter[str] | None
) -> str:
    def placeholder(match: re.Match[str]) -> str:
        if not is_one(match[0]):
            return match[0]
        _count(kind, counts)
        return f"[{kind}]"

    return pattern.sub(placeholder, text)


def _count(kind: str, counts: Counter[str] | None) -> None:
    if counts is not None:
        counts[kind] += 1


def _is_ip(found: str) -> bool:
    if ":" in found and not (found.count(":") == 7 or ("::" in found and len(found) > 4)):
        return False  # a time of day, or a C++ name
    try:
        ip_address(found)
    except ValueError:
        return False
    return True


def _is_phone(found: str) -> bool:
    return sum(map(str.isdigit, found)) in _PHONE_DIGITS


def _replace_cards(found: str, counts: Counter[str] | None) -> str:
    """Replace the longest runs of whole groups of digits that are card numbers."""
    parts = re.split("([ -])", found)  # groups at even places
    place = 0
    kept: list[str] = []
    while place < len(parts):
        last = min(len(parts), place + 2 * _MOST_GROUPS - 1)
        end = next((end for end in range(last, place, -2) if _are_card(parts[place:end])), 0)
        if end:
            _count("card", counts)
            kept.append("[card]")
        else:
            end = place + 1
            kept.append(parts[place])
        kept += parts[end : end + 1]
        place = end + 1
    return "".join(kept)


def _are_card(parts: list[str]) -> bool:
    """Whether groups of digits, alternating with their separators, are a card number in a usual notation."""
    groups, separators = parts[::2], set(parts[1::2])
    if len(groups) > 1 and (len(separators) > 1 or tuple(map(len, groups)) not in _CARD_GROUPS):
        return False
    return is_card("".join(groups))


def is_card(digits: str) -> bool:
    """Whether digits are in the range of a card issuer and pass the Luhn check."""
    return _ISSUED.fullmatch(digits) is not None and has_check_digit(digits)


def has_check_digit(digits: str) -> bool:
    """Whether digits pass the Luhn check."""
    doubled = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (doubled + sum(int(digit) for digit in digits[-1::-2])) % 10 == 0
