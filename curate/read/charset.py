"""How the bytes of a page become valid UTF-8: who is asked about the charset, and who is believed.

The order is that of the WHATWG encoding standard: byte order mark, HTTP header, `<meta>` or XML
declaration, then detection. Two lies are common enough to be mended first:

- bytes that are valid UTF-8 and not ASCII are UTF-8, whatever single-byte charset is declared;
- a declared (or marked) UTF-8 is believed only while at least half of what is not ASCII decodes.

UTF-7 and everything else that the standard does not know counts as undeclared.
"""

import re
from typing import NamedTuple

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

UTF_8 = "utf-8"
FALLBACK = "cp1252"  # what browsers assume where nothing is known
REPLACEMENT = "\ufffd"

# Browsers decode these names with the larger set, as pages rely on it.
WIDER = {
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso8859-11": "cp874",
}
# In these, an ASCII byte need not mean itself: `<` may be half of a letter, or be two bytes long.
OPAQUE = frozenset({"utf-16-le", "utf-16-be", "iso2022_jp"})
MULTIBYTE = frozenset({"gb18030", "cp932", "cp949", "big5hkscs", "euc_jp"})
SINGLE_BYTE = frozenset(
    {
        *("cp866", "cp874", "koi8-r", "koi8-u", "mac-roman"),
        *(f"cp125{number}" for number in range(9)),
        *(f"iso8859-{number}" for number in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
    }
)
KNOWN = OPAQUE | MULTIBYTE | SINGLE_BYTE | {UTF_8}

MARKS = ((b"\xef\xbb\xbf", UTF_8), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
# The standard looks at 1024 bytes; 65 of 912 real pages declare it in the next three thousand.
PRESCAN_BYTES = 4096
# Neither pattern crosses a `<`, so both are linear.
META = re.compile(rb"<meta\s[^<>]*?charset\s*=\s*[\"']?\s*([^\s\"'/<>;]+)", re.IGNORECASE)
XML = re.compile(rb"\s*<\?xml\s[^<>]*?encoding\s*=\s*[\"']([^\"'<>]+)", re.IGNORECASE)

# Kept: tab and newline. Carriage returns are newlines before this is applied.
CONTROLS = bytes(byte for byte in range(32) if byte not in b"\t\n") + b"\x7f"
C1_CONTROL = re.compile(rb"\xc2[\x80-\x9f]")
NONCHARACTER = re.compile(rb"\xef\xbf[\xbe\xbf]")


class Utf8Count(NamedTuple):
    """What is not ASCII in some bytes: sequences that are no UTF-8, and those that are."""

    broken: int
    valid: int


def codec(label: str) -> str:
    """Python's name of the charset that browsers understand by a label; "" for an unknown one."""
    name = map_encoding_to_html5(label.strip(), fallback_utf8=False) or ""
    name = WIDER.get(name, name)
    return name if name in KNOWN else ""


def declared(payload: bytes, header: str) -> str:
    """The codec that the page names: by its mark, its header or its markup; "" for none."""
    for mark, name in MARKS:
        if payload.startswith(mark):
            return name
    return codec(header) or markup_codec(payload[:PRESCAN_BYTES])


def markup_codec(head: bytes) -> str:
    """The codec that a page's first bytes name, comments left out."""
    # UTF-16 without a mark shows in its first letters: browsers know <?xml so, we any tag.
    if head[:1] == b"<" and head[1:2] == b"\0" == head[3:4]:
        return "utf-16-le"
    if head[:2] == b"\0<" and head[2:3] == b"\0":
        return "utf-16-be"
    head = without_comments(head)
    found = XML.match(head) or META.search(head)
    name = codec(found[1].decode("ascii", "replace")) if found else ""
    # A declaration that could be read as ASCII was not written in UTF-16.
    return UTF_8 if name.startswith("utf-16") else name


def without_comments(head: bytes) -> bytes:
    """The bytes outside `<!-- -->`; an unclosed comment takes the rest."""
    kept = []
    start = 0
    while (comment := head.find(b"<!--", start)) >= 0:
        kept.append(head[start:comment])
        end = head.find(b"-->", comment + 2)
        if end < 0:
            return b"".join(kept)
        start = end + 3
    return b"".join([*kept, head[start:]])


def is_utf8(name: str, count: Utf8Count) -> bool:
    """Whether bytes with this declared codec and these counts are read as UTF-8."""
    if name in ("", UTF_8):
        return count.broken <= count.valid
    if name in MULTIBYTE:
        # Short Chinese words happen to be valid UTF-8; the declared codec is asked first.
        return count == (0, 0)
    return count.broken == 0 and name not in OPAQUE


def to_utf8(payload: bytes, name: str, count: Utf8Count) -> bytes:
    """The page as valid UTF-8 without its mark; what cannot be decoded is U+FFFD."""
    for mark, _ in MARKS:
        payload = (
            payload.removeprefix(mark) if name in (UTF_8, "utf-16-le", "utf-16-be") else payload
        )
    if is_utf8(name, count):
        # Decoding only to see that all is well took a quarter of the time of extraction.
        return payload if count.broken == 0 else payload.decode(UTF_8, "replace").encode()
    if name in OPAQUE:
        return payload.decode(name, "replace").encode()
    return legacy(payload, name, count).encode()


def legacy(payload: bytes, name: str, count: Utf8Count) -> str:
    """The text of bytes that are not plainly UTF-8, by the declared codec or the detected one."""
    if name not in ("", UTF_8):
        text = payload.decode(name, "replace")
        lost = text.count(REPLACEMENT)
        if lost == 0:
            return text
        if count.broken == 0:
            return payload.decode(UTF_8)
        if 2 * lost <= count.broken + count.valid:
            return text
    return payload.decode(detected(payload), "replace")


def detected(payload: bytes) -> str:
    """The codec that the bytes look like; never UTF-8, which has been tried."""
    name = codec(detect_encoding(payload) or "")
    return name if name in MULTIBYTE or name in SINGLE_BYTE else FALLBACK


def counted(payload: bytes) -> Utf8Count:
    """The slow twin of the counts that the scan of `curate.read.caps` makes on its way."""
    text = payload.decode(UTF_8, "replace")
    genuine = payload.count(REPLACEMENT.encode())
    broken = text.count(REPLACEMENT) - genuine
    return Utf8Count(broken, sum(character > "\x7f" for character in text) - broken)


def clean(text: bytes) -> bytes:
    """UTF-8 with newline as the only line end, without control characters and noncharacters."""
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    text = text.translate(None, CONTROLS)
    if b"\xc2" in text:
        text = C1_CONTROL.sub(b"", text.replace(b"\xc2\x85", b"\n"))
    if b"\xef\xbf" in text:
        text = NONCHARACTER.sub(REPLACEMENT.encode(), text)
    return text
