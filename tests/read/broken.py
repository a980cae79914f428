"""Damaged inputs, built byte by byte, each with the number of documents that can be saved."""

import gzip
import random
import zlib
from collections.abc import Callable
from typing import NamedTuple

import zstandard

COUNT = 20
CRLF2 = b"\r\n\r\n"


class Broken(NamedTuple):
    """A damaged file, how many of its documents are whole, and what must be noted."""

    data: bytes
    recoverable: int = COUNT
    reason: str = ""  # of a quarantined or dropped row
    notice: str = ""
    suffix: str = ".warc.gz"


def html(number: int) -> bytes:
    words = " ".join(f"word{number * 31 + step}" for step in range(40))
    return f"<html><body><p>marker-{number:06d} {words}</p></body></html>".encode()


def http(body: bytes, fields: bytes = b"Content-Type: text/html; charset=utf-8\r\n") -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body


def record(
    block: bytes,
    number: int = 0,
    *,
    kind: bytes = b"response",
    length: bytes | None = None,
    extra: bytes = b"",
) -> bytes:
    return (
        b"WARC/1.0\r\nWARC-Type: " + kind + b"\r\n"
        b"WARC-Record-ID: <urn:uuid:%08d>\r\n"
        b"WARC-Date: 2024-01-01T00:00:00Z\r\n"
        b"WARC-Target-URI: http://example.com/%d\r\n"
        % (number, number)
        + extra
        + b"Content-Type: application/http; msgtype=response\r\n"
        + (b"" if length == b"" else b"Content-Length: %s\r\n" % (length or b"%d" % len(block)))
        + b"\r\n"
        + block
        + CRLF2
    )


def member(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def flipped(data: bytes, at: int, mask: int = 0x10) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


RECORDS = [record(http(html(number)), number) for number in range(COUNT)]
MEMBERS = [member(one) for one in RECORDS]
PLAIN = b"".join(RECORDS)
WHOLE = b"".join(MEMBERS)


def with_member(new: bytes, at: int = 10) -> bytes:
    """The good file with one member in place of another."""
    return b"".join([*MEMBERS[:at], new, *MEMBERS[at + 1 :]])


def with_record(new: bytes, at: int = 10) -> bytes:
    """The good uncompressed file with one record in place of another."""
    return b"".join([*RECORDS[:at], new, *RECORDS[at + 1 :]])


def between(junk: bytes) -> bytes:
    """The good file with bytes between two members."""
    return b"".join([*MEMBERS[:10], junk, *MEMBERS[10:]])


def replaced(old: bytes, new: bytes) -> bytes:
    """The tenth record with something in its header changed."""
    return RECORDS[10].replace(old, new, 1)


def with_bare_lines(one: bytes) -> bytes:
    """A record whose own lines, not those of its block, end in LF."""
    head, _, rest = one.partition(CRLF2)
    return head.replace(b"\r\n", b"\n") + b"\n\n" + rest[:-4] + b"\n\n"


def gzip_with_flags(content: bytes, flags: int) -> bytes:
    """A member whose header has all the optional parts that these flags announce."""
    head = b"\x1f\x8b\x08" + bytes([flags]) + b"\0\0\0\0\0\xff"
    head += b"\x05\0sl\x01\0\x09" if flags & 4 else b""
    head += b"name.warc\0" if flags & 8 else b""
    head += b"a comment\0" if flags & 16 else b""
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little") if flags & 2 else b""
    return head + member(content)[10:]


def zeros_member(mebibytes: int) -> bytes:
    """A member that inflates to so many MiB of zeros, made without inflating it here."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 0
    for _ in range(mebibytes):
        checksum = zlib.crc32(bytes(1 << 20), checksum)
    size = (mebibytes << 20) & 0xFFFFFFFF
    trailer = checksum.to_bytes(4, "little") + size.to_bytes(4, "little")
    # Each piece ends on a byte and refers to nothing before it, so it may be repeated.
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + piece * mebibytes + b"\x03\0" + trailer


RANDOM = random.Random(43)
GARBAGE = RANDOM.randbytes(300)
MIDDLE = MEMBERS[10]
HALF = len(MIDDLE) // 2
BODY = RECORDS[10][RECORDS[10].index(b"HTTP/1.1") : -4]

WARC_GZ: dict[str, Broken] = {
    "A0 healthy": Broken(WHOLE),
    "A1 truncated last member": Broken(WHOLE[:-30], 19, "warc.truncated"),
    "A1 only the trailer is missing": Broken(WHOLE[:-8], 19, "warc.truncated"),
    "A1 one byte is missing": Broken(WHOLE[:-1], 19, "warc.truncated"),
    "A1 cut within a gzip header": Broken(
        b"".join(MEMBERS[:19]) + MEMBERS[19][:6], 19, "warc.truncated"
    ),
    "A2 half file": Broken(b"".join(MEMBERS[:10]) + MIDDLE[:HALF], 10, "warc.truncated"),
    "A3 truncated middle member": Broken(with_member(MIDDLE[:HALF]), 19, "warc."),
    "A3 middle member without its trailer": Broken(with_member(MIDDLE[:-8]), 19, "warc.bad_crc"),
    "A3 truncated first member": Broken(with_member(MEMBERS[0][HALF:], 0), 19, "warc.garbage"),
    **{
        f"A4 bit flipped at byte {at}": Broken(with_member(flipped(MIDDLE, at)), 19, "warc.")
        for at in (0, 1, 2, 11, 30, HALF, len(MIDDLE) - 20, len(MIDDLE) - 12)
    },
    "A4 bit flipped in the first member": Broken(
        with_member(flipped(MEMBERS[0], 40), 0), 19, "warc."
    ),
    "A4 a block of zeros": Broken(with_member(MIDDLE[:60] + bytes(64) + MIDDLE[124:]), 19, "warc."),
    "A5 wrong CRC": Broken(with_member(flipped(MIDDLE, len(MIDDLE) - 6)), 19, "warc.bad_crc"),
    "A6 wrong size": Broken(with_member(flipped(MIDDLE, len(MIDDLE) - 2)), 19, "warc.bad_crc"),
    "A7 zero padding": Broken(between(bytes(512))),
    "A7 zero padding at the end": Broken(WHOLE + bytes(512)),
    "A8 garbage between members": Broken(between(GARBAGE), 20, "warc.garbage"),
    "A9 false magic in garbage": Broken(
        between(GARBAGE[:100] + b"\x1f\x8b\x08" + GARBAGE[100:]), 20, "warc.garbage"
    ),
    "A9 garbage that begins with the magic": Broken(
        between(b"\x1f\x8b\x08\0" + GARBAGE), 20, "warc."
    ),
    "A9 a thousand false magics": Broken(between(b"\x1f\x8b\x08\0abc" * 1000), 20, "warc."),
    "A10 empty member": Broken(between(member(b"")), 20, notice="warc.empty_member"),
    "A10 empty member first": Broken(member(b"") + WHOLE, 20, notice="warc.empty_member"),
    "A11 trailing text": Broken(WHOLE + b"NOT GZIP AT ALL", 20, "warc.garbage"),
    "A12 one member": Broken(member(PLAIN)),
    "A12 one member, truncated": Broken(
        (lambda data: data[: len(data) * 3 // 4])(member(PLAIN)), 14, "warc.truncated"
    ),
    "A12 members of five records": Broken(
        b"".join(member(b"".join(RECORDS[at : at + 5])) for at in range(0, COUNT, 5))
    ),
    "A12 members that end within records": Broken(
        b"".join(member(PLAIN[at : at + 1000]) for at in range(0, len(PLAIN), 1000))
    ),
    "A13 gzip in gzip": Broken(member(WHOLE), 0, "input.double_gzip"),
    "A14 extra, name, comment and header checksum": Broken(
        with_member(gzip_with_flags(RECORDS[10], 4 | 8 | 16 | 2))
    ),
    "A15 reserved flag": Broken(with_member(flipped(MIDDLE, 3, 0x80)), 19, "warc.bad_gzip_header"),
    "A15 unknown method": Broken(with_member(flipped(MIDDLE, 2, 1)), 19, "warc.bad_gzip_header"),
    "A19 length too big": Broken(
        with_member(member(record(http(html(10)), length=b"999"))), notice="warc.length_mismatch"
    ),
    "A20 length too small": Broken(
        with_member(member(record(http(html(10)), length=b"20"))), notice="warc.length_mismatch"
    ),
    **{
        f"A21 length {length!r}": Broken(
            with_member(member(record(http(html(10)), length=length))), notice=notice
        )
        for length, notice in (
            (b"-5", "warc.bad_length"),
            (b"1000000000000000000", "warc.bad_length"),
            (b"999999999999999999", "warc.length_mismatch"),
            (b"abc", "warc.bad_length"),
            (b"1e3", "warc.bad_length"),
            (b"0x10", "warc.bad_length"),
            (b" %d " % len(http(html(10))), ""),
            ("１２".encode(), "warc.bad_length"),
            (b"", "warc.bad_length"),
            (b"5\r\nContent-Length: 7", "warc.bad_length"),
        )
    },
    "A22 version 9.9": Broken(with_member(member(replaced(b"WARC/1.0", b"WARC/9.9")))),
    "A22 version 0.17": Broken(with_member(member(replaced(b"WARC/1.0", b"WARC/0.17")))),
    "A23 not a record": Broken(with_member(member(b"lorem ipsum\r\n" * 9)), 19, "warc.bad_header"),
    "A24 header of 2 MB": Broken(
        with_member(member(replaced(b"WARC-Date", b"X: " + b"y" * 2_000_000 + b"\r\nWARC-Date"))),
        19,
        "warc.header_too_large",
    ),
    "A24 100,000 header lines": Broken(
        with_member(member(replaced(b"WARC-Date", b"X: y\r\n" * 100_000 + b"WARC-Date"))),
        19,
        "warc.header_too_large",
    ),
    "A24 no blank line": Broken(
        with_member(member(b"WARC/1.0\r\nWARC-Type: response\r\n")), 19, "warc.bad_header"
    ),
    "A25 LF only": Broken(with_member(member(with_bare_lines(RECORDS[10])))),
    "A25 CR only": Broken(
        with_member(member(RECORDS[10].replace(b"\r\n", b"\r"))), 19, "warc.bad_header"
    ),
    "A25 mixed line ends": Broken(
        with_member(member(replaced(b"response\r\n", b"response\n").replace(b"00Z\r\n", b"00Z\n")))
    ),
    "A25 folded line": Broken(with_member(member(replaced(b": response", b":\r\n\tresponse")))),
    "A25 line without a colon": Broken(
        with_member(member(replaced(b"WARC-Date", b"nonsense\r\nWARC-Date")))
    ),
    "A25 NUL and bytes above ASCII": Broken(
        with_member(member(replaced(b"WARC-Date", b"\xff\0: \0\xff\r\nWARC-Date")))
    ),
    "A26 no id": Broken(with_member(member(replaced(b"WARC-Record-ID", b"X-Nothing")))),
    "A26 no address": Broken(with_member(member(replaced(b"WARC-Target-URI", b"X-Nothing")))),
    "A26 no date": Broken(with_member(member(replaced(b"WARC-Date", b"X-Nothing")))),
    "A26 no type": Broken(with_member(member(replaced(b"WARC-Type", b"X-Nothing")))),
    "A27 one id for two": Broken(with_member(member(replaced(b"00000010", b"00000009")))),
    "A28 address of 1 MB": Broken(
        with_member(member(replaced(b"com/10", b"com/" + b"a" * 40_000)))
    ),
    "A29 records that are no documents": Broken(
        b"".join(
            member(record(b"GET / HTTP/1.1\r\n\r\n", kind=kind))
            for kind in (b"request", b"metadata", b"warcinfo", b"revisit", b"continuation", b"?")
        )
        + WHOLE
    ),
    "A30 marked as truncated": Broken(
        with_member(member(record(http(html(10)), extra=b"WARC-Truncated: length\r\n"))),
        notice="warc.marked_truncated",
    ),
}

PLAIN_WARC: dict[str, Broken] = {
    "A0 healthy, plain": Broken(PLAIN),
    "A2 half file, plain": Broken(PLAIN[: len(PLAIN) // 2 - 100], 9, "warc.truncated"),
    "A2 cut within a header, plain": Broken(
        b"".join(RECORDS[:10]) + RECORDS[10][:100], 10, "warc.truncated"
    ),
    "A8 garbage between records": Broken(
        b"".join([*RECORDS[:10], GARBAGE, *RECORDS[10:]]), 20, "warc.bad_header"
    ),
    "A19 length too big, plain": Broken(
        with_record(record(http(html(10)), length=b"%d" % (len(BODY) + 50))),
        notice="warc.length_mismatch",
    ),
    "A20 length too small, plain": Broken(
        with_record(record(http(html(10)), length=b"20")), notice="warc.length_mismatch"
    ),
    **{
        f"A21 length {length!r}, plain": Broken(
            with_record(record(http(html(10)), length=length)), notice=notice
        )
        for length, notice in (
            (b"-5", "warc.bad_length"),
            (b"999999999999999999", "warc.length_mismatch"),
            (b"100000000", "warc.length_mismatch"),
            (b"", "warc.bad_length"),
        )
    },
    "A23 not a record, plain": Broken(with_record(b"lorem ipsum\r\n" * 9), 19, "warc.bad_header"),
    "A24 header of 2 MB, plain": Broken(
        with_record(replaced(b"WARC-Date", b"X: " + b"y" * 2_000_000 + b"\r\nWARC-Date")),
        19,
        "warc.header_too_large",
    ),
    "A25 LF only, plain": Broken(b"".join(map(with_bare_lines, RECORDS))),
    "a page that speaks of WARC/1.0": Broken(
        with_record(record(http(html(10) + b"\nWARC/1.0\r\n is a format, WARC/1.1 another.")))
    ),
    "no line ends between records": Broken(
        b"".join(one[:-4] for one in RECORDS), notice="warc.line_ends"
    ),
}


def _zstd(content: bytes, **settings: int) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True, **settings).compress(content)


FRAMES = [_zstd(one) for one in RECORDS]


def with_frame(new: bytes, at: int = 10) -> bytes:
    """The good file with one frame in place of another."""
    return b"".join([*FRAMES[:at], new, *FRAMES[at + 1 :]])


# As the first frame of a .warc.zst holds it, plain; here the dictionary is just an old record.
DICTIONARY = zstandard.ZstdCompressionDict(RECORDS[0])
DICTIONARY_FRAME = b"\x5d\x2a\x4d\x18" + len(RECORDS[0]).to_bytes(4, "little") + RECORDS[0]
_PACKED_DICTIONARY = zstandard.compress(RECORDS[0])
PACKED_DICTIONARY_FRAME = (
    b"\x5d\x2a\x4d\x18" + len(_PACKED_DICTIONARY).to_bytes(4, "little") + _PACKED_DICTIONARY
)
DICTIONARY_FRAMES = b"".join(
    zstandard.ZstdCompressor(dict_data=DICTIONARY).compress(one) for one in RECORDS
)
SKIPPABLE_FRAME = b"\x50\x2a\x4d\x18\x07\0\0\0padding"
HUGE_WINDOW = b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + b"\x01\0\0"

WARC_ZST: dict[str, Broken] = {
    "A32 healthy, a frame for each record": Broken(b"".join(FRAMES)),
    "A32 healthy, one frame": Broken(_zstd(PLAIN)),
    "A32 frames that end within records": Broken(
        b"".join(_zstd(PLAIN[at : at + 1000]) for at in range(0, len(PLAIN), 1000))
    ),
    "A32 skippable frames": Broken(SKIPPABLE_FRAME + b"".join(FRAMES) + SKIPPABLE_FRAME),
    "A32 a dictionary first": Broken(DICTIONARY_FRAME + DICTIONARY_FRAMES),
    "A32 a packed dictionary first": Broken(PACKED_DICTIONARY_FRAME + DICTIONARY_FRAMES),
    "A32 a dictionary that is missing": Broken(SKIPPABLE_FRAME + DICTIONARY_FRAMES, 0, "warc."),
    "A32 window of 2 GiB": Broken(with_frame(HUGE_WINDOW), 19, "warc.bad_zstd"),
    "A32 truncated": Broken(b"".join(FRAMES)[:-30], 19, "warc.truncated"),
    "A32 bit flipped": Broken(with_frame(flipped(FRAMES[10], 60)), 19, "warc."),
    "A32 wrong checksum": Broken(
        with_frame(flipped(FRAMES[10], len(FRAMES[10]) - 2)), 19, "warc.bad_crc"
    ),
    "A32 garbage": Broken(with_frame(GARBAGE), 19, "warc.garbage"),
}

CASES: dict[str, Broken] = {
    **WARC_GZ,
    **{name: case._replace(suffix=".warc") for name, case in PLAIN_WARC.items()},
    **{name: case._replace(suffix=".warc.zst") for name, case in WARC_ZST.items()},
}

Damage = Callable[[random.Random, bytes], bytes]


def seeded(seed: int) -> bytes:
    """The healthy file with one damage of a random kind at a random place."""
    chance = random.Random(seed)
    data = WHOLE
    at = chance.randrange(100, len(data) - 100)
    size = chance.randrange(1, 200)
    damages: tuple[Callable[[], bytes], ...] = (
        lambda: data[:at],
        lambda: data[:at] + data[at + size :],
        lambda: flipped(data, at, 1 << chance.randrange(8)),
        lambda: data[:at] + bytes(size) + data[at + size :],
        lambda: data[:at] + chance.randbytes(size) + data[at:],
        lambda: data[:at] + chance.randbytes(size) + data[at + size :],
    )
    return damages[seed % len(damages)]()
