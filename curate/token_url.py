"""What spaCy's tokenizer takes for a URL or an e-mail address: its URL pattern, as a kernel.

The pattern (by Diego Perini, MIT, with spaCy's changes) is, from the start of a string to its end:
scheme? user@? (IPv4 address or host names and a top-level domain) :port? path?
"""

from curate.column import Bytes
from curate.kernel import borrowing
from curate.properties import DIGIT, is_word, properties
from curate.token_rules import LOWER, code_at, is_digit, kind, next_character


@borrowing
def _is_name_character(code: int) -> bool:
    """What a host name may begin and end with."""
    letter = 97 <= (code | 32) <= 122 and code < 128
    return letter or 0xA1 <= code <= 0xFFFF or is_digit(code)


@borrowing
def _is_decimal(code: int) -> bool:
    return properties(code) & DIGIT != 0


@borrowing
def _ends_well(text: Bytes, at: int, end: int) -> bool:
    """Whether nothing more follows than a port and a path."""
    if at < end and text[at] == 58:  # ":"
        at += 1
        digits = 0
        while at < end and _is_decimal(code_at(text, at, end)):
            at = next_character(text, at, end)
            digits += 1
        if digits < 2 or digits > 5:
            return False
    return at == end or text[at] == 47 or text[at] == 63 or text[at] == 35  # "/", "?", "#"


@borrowing
def _is_domain(text: Bytes, at: int, end: int) -> bool:
    """Whether host names, each with a dot behind it, a top-level domain and no more begin here."""
    names = 0
    while True:
        size, lower, inner, first, last = 0, True, True, -1, -1
        while at < end:
            code = code_at(text, at, end)
            of_name = _is_name_character(code) or code == 45 or code == 95  # "-", "_"
            of_top = kind(code) & LOWER != 0
            if not of_name and not of_top:
                break
            lower, inner = lower and of_top, inner and of_name
            first, last = code if size == 0 else first, code
            size += 1
            at = next_character(text, at, end)
        if at == end or text[at] != 46:
            return names > 0 and lower and 2 <= size <= 63 and _ends_well(text, at, end)
        whole = inner and 1 <= size <= 64
        if not (whole and _is_name_character(first) and _is_name_character(last)):
            return False
        names += 1
        at += 1


@borrowing
def _octet(text: Bytes, at: int, end: int) -> tuple[int, int, int]:
    """How many digits begin here, their value, and where they end; one of another script is 10.

    Worth that much, no digit of another script stands for one of 0 to 9.
    """
    digits, value = 0, 0  # of base 16
    while at < end and digits < 4:
        code = code_at(text, at, end)
        if not _is_decimal(code):
            break
        value = value * 16 + (code - 48 if is_digit(code) else 10)
        digits += 1
        at = next_character(text, at, end)
    return digits, value, at


@borrowing
def _is_octet(digits: int, value: int, place: int) -> bool:
    """Whether this is a part of an address; values have 16 as their base, not 10.

    The first part is 1 to 223, the last 1 to 254 and the others 0 to 255, leading zeros included.
    """
    if digits < 1 or digits > 3:
        return False
    head = value >> 4 * (digits - 1)
    if digits < 3:
        return place == 1 or place == 2 or 1 <= head <= 9
    if head != 2:
        return head == 1
    middle, last = value >> 4 & 15, value & 15
    if place == 0:
        return middle <= 1 or (middle == 2 and last <= 3)
    return middle <= 4 or (middle == 5 and last <= (4 if place == 3 else 5))


@borrowing
def _is_private(first: int, second: int, digits: int) -> bool:
    """Whether the pattern leaves out addresses that begin so; values have 16 as their base."""
    if first == 0x10 or first == 0x127:
        return True
    if first == 0x169 or first == 0x192:
        return second == (0x254 if first == 0x169 else 0x168)
    if first != 0x172 or digits != 2:
        return False
    return 0x16 <= second <= 0x19 or second >> 4 == 2 or second == 0x30 or second == 0x31


@borrowing
def _is_address(text: Bytes, at: int, end: int) -> bool:
    """Whether an IPv4 address and no more begins here."""
    first, second, second_digits = 0, 0, 0
    for place in range(4):
        digits, value, at = _octet(text, at, end)
        if not _is_octet(digits, value, place):
            return False
        if place == 0:
            first = value
        elif place == 1:
            second, second_digits = value, digits
        if place < 3:
            if at == end or text[at] != 46:
                return False
            at += 1
    return not _is_private(first, second, second_digits) and _ends_well(text, at, end)


@borrowing
def _is_host(text: Bytes, at: int, end: int) -> bool:
    return bool(_is_domain(text, at, end) or _is_address(text, at, end))


@borrowing
def _scheme_end(text: Bytes, at: int, end: int) -> int:
    """Where the scheme that begins here ends, its :// included, or -1 without one."""
    size = 0
    while at < end:
        code = code_at(text, at, end)
        if not (is_word(code) or code == 43 or code == 45 or code == 46):  # "+", "-", "."
            break
        size += 1
        at = next_character(text, at, end)
    colon = size >= 2 and at + 3 <= end and text[at] == 58
    return at + 3 if colon and text[at + 1] == 47 and text[at + 2] == 47 else -1


@borrowing
def is_url(text: Bytes, start: int, end: int) -> bool:
    """Whether this stretch is a URL as a whole."""
    if _is_host(text, start, end):
        return True
    scheme = _scheme_end(text, start, end)
    if scheme >= 0 and _is_host(text, scheme, end):
        return True
    # Behind any @ that has something before it: what is behind it is no host name's.
    found = False
    for at in range(start + 1, end):
        found = found or (text[at] == 64 and _is_host(text, at + 1, end))
    return found
