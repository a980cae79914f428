import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from tests.read import broken
from tests.read.broken import COUNT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")

MIB = 1 << 20

SCRIPT = """
import collections, json, pathlib, sys
from curate.ledger import Spans
from curate.read.reader import Read, find_inputs, read, spans
item = find_inputs([sys.argv[1]])[0][0]
reasons = collections.Counter()
for part in spans(item, Read()):
    ledger = Spans()
    for batch in read(item, part, Read(), ledger):
        reasons.update(str(reason) for reason in batch.column("dropped_by").to_pylist())
    ledger.check(item.name)
# Of this process alone: getrusage counts what the parent had when it forked.
status = pathlib.Path("/proc/self/status").read_text()
peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
print(json.dumps({"reasons": reasons, "peak": peak}))

"""


def read_apart(path: Path) -> tuple[dict[str, int], int]:
    """The reasons of a file's rows, and the peak of memory, in MiB, of a process that reads it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)], capture_output=True, check=True, timeout=300
    )
    found = json.loads(done.stdout)
    return found["reasons"], found["peak"]


def header(length: int) -> bytes:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n"
    return broken.record(block, length=b"%d" % (length + len(block)))[:-4]


GIB_OF_ZEROS = broken.zeros_member(1024)


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.warc.gz", broken.between(GIB_OF_ZEROS), "warc.member_too_large"),
        (
            "b.warc.gz",
            broken.between(broken.member(header(100 * MIB) + bytes(100 * MIB) + broken.CRLF2)),
            "warc.member_too_large",
        ),
        (
            "c.warc.gz",
            broken.between(
                broken.member(
                    broken.record(
                        broken.http(
                            GIB_OF_ZEROS,
                            b"Content-Type: text/html\r\nContent-Encoding: gzip\r\n",
                        )
                    )
                )
            ),
            "http.payload_too_large",
        ),
        (
            "d.warc.gz",
            broken.between(broken.member(broken.record(broken.http(b"x" * (40 * MIB))))),
            "http.payload_too_large",
        ),
        (
            "e.warc.zst",
            broken.with_frame(zstandard.compress(bytes(150 * MIB)) + broken.FRAMES[10]),
            "warc.member_too_large",
        ),
        ("f.warc.gz", broken.between(broken.member(b"\r\n" * (40 * MIB))), "None"),
        ("g.jsonl.gz", gzip.compress(b'{"text": "' + b"x" * (100 * MIB) + b'"}\n', 1), "jsonl.l"),
    ],
)
def test_a_bomb_costs_itself_and_little_memory(name: str, data: bytes, reason: str, tmp_path: Path):
    (tmp_path / name).write_bytes(data)
    reasons, peak = read_apart(tmp_path / name)
    assert any(found.startswith(reason) for found in reasons)
    assert reasons.get("None", 0) == (0 if "jsonl" in name else COUNT)
    assert peak < 300


def test_a_sparse_plain_record_of_256_mib_is_passed_over(tmp_path: Path):
    path = tmp_path / "a.warc"
    with path.open("wb") as file:
        file.write(broken.RECORDS[0] + header(1 << 28))
        file.seek(1 << 28, 1)
        file.write(broken.CRLF2 + broken.RECORDS[1])
    reasons, peak = read_apart(path)
    assert reasons == {"None": 2, "warc.member_too_large": 1}
    assert peak < 300


def test_ten_thousand_empty_members_are_counted(tmp_path: Path):
    (tmp_path / "a.warc.gz").write_bytes(broken.between(broken.member(b"") * 10_000))
    assert read_apart(tmp_path / "a.warc.gz")[0] == {"None": COUNT}
