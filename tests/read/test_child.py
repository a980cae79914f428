"""The child process: what it can do, which is parse, and what it cannot."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.read.child import EXTRACTORS, OUT_OF_MEMORY, READY, REPLY, REQUEST

ROOT = Path(__file__).parents[2]
MEMORY = 1 << 30


def start(cpu: float = 2, memory: int = MEMORY, extractor: str = "resiliparse"):
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "curate.read.child", extractor, str(cpu), str(memory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )


def request(page: bytes, is_html: bool = True) -> bytes:
    return REQUEST.pack(len(page), 0, 0, is_html, b"utf-8") + page


def replies(out: bytes) -> list[bytes]:
    assert out.startswith(READY)
    texts, here = [], len(READY)
    while here < len(out):
        (size,) = REPLY.unpack_from(out, here)
        texts.append(out[here + REPLY.size : here + REPLY.size + size])
        here += REPLY.size + size
    return texts


def inside(code: str) -> dict:
    """What this code finds out in a process that has been confined like the child."""
    program = f"""
import json, os, resource, socket, subprocess, sys, tempfile
from curate.read.child import confine
found = {{}}
def attempt(name, action):
    try:
        found[name] = ["done", repr(action())]
    except OSError as error:
        found[name] = ["refused", error.errno]
confine({MEMORY})
{code}
print(json.dumps(found))
"""
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, env=environment, check=True
    )
    return json.loads(done.stdout)


def test_pages_come_back_in_order():
    child = start()
    out, errors = child.communicate(
        request(b"<p>one") + request(b"") + request(b"<two>", is_html=False)
    )
    assert (replies(out), errors, child.returncode) == ([b"one", b"", b"<two>"], b"", 0)


def test_it_ends_when_its_parent_has_gone():
    child = start()
    child.stdin.close()
    assert child.wait(timeout=60) == 0
    child.stdout.close()
    child.stderr.close()


def test_it_ends_when_its_parent_is_killed_in_the_middle():
    program = f"""
import subprocess, sys, time
command = [sys.executable, "-P", "-m", "curate.read.child", "resiliparse", "9", "{MEMORY}"]
child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.read(6)
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(ROOT)},
    )
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while Path(f"/proc/{pid}/cmdline").exists() and time.monotonic() < deadline:
        if Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            break
        time.sleep(0.05)
    else:
        assert not Path(f"/proc/{pid}").exists()


def test_too_much_processor_time_ends_it_by_signal():
    child = start(cpu=0.2)
    child.communicate(request(b"<div>" * 40_000))
    assert -child.returncode == signal.SIGPROF


@pytest.mark.parametrize("page", [b"<p>a b" * 1_000_000, b"<p>" + b"x " * 4_000_000])
def test_too_much_memory_ends_it_with_its_own_status_or_an_abort(page):
    child = start(memory=150 << 20)
    out, _ = child.communicate(request(page))
    assert child.returncode in (OUT_OF_MEMORY, -signal.SIGABRT) or len(replies(out)) == 1


def test_an_unknown_extractor_is_an_exit_and_no_ready():
    child = start(extractor="nonesuch")
    out, _ = child.communicate()
    assert child.returncode == 1 and out == b""


def test_it_has_no_environment_but_its_path():
    child = start()
    assert child.stdout.read(len(READY)) == READY
    names = {
        entry.split(b"=")[0]
        for entry in Path(f"/proc/{child.pid}/environ").read_bytes().split(b"\0")
    }
    child.communicate()
    assert names <= {b"PYTHONPATH", b"LC_CTYPE", b""}


def test_no_heavy_library_is_loaded():
    program = "import sys, curate.read.child; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT)},
        check=True,
    )
    loaded = set(done.stdout.split())
    assert not loaded & {"numba", "numpy", "ray", "torch", "pyarrow", "multiprocessing", "socket"}


def test_files_sockets_and_processes_are_out_of_reach(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("here")
    found = inside(
        f"""
os.close(2)  # frees a descriptor
attempt("read", lambda: open("/etc/passwd").read())
attempt("socket", lambda: socket.socket())
attempt("connect", lambda: socket.create_connection(("127.0.0.1", 9), 1))
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("fork", lambda: os.fork())
attempt("kill", lambda: os.kill(os.getppid(), 0))
attempt("unlink", lambda: os.unlink({str(victim)!r}))
attempt("rename", lambda: os.rename({str(victim)!r}, {str(victim)!r} + "x"))
"""
    )
    found.pop("read")  # with a descriptor freed by hand it can be read, with the child's three not
    assert {name: what[0] for name, what in found.items()} == dict.fromkeys(found, "refused")
    assert victim.read_text() == "here"


def test_no_file_can_be_opened_or_grown():
    found = inside(
        """
attempt("read", lambda: open("/etc/passwd").read())
attempt("write", lambda: open("/tmp/never", "w"))
found["limits"] = [
    resource.getrlimit(kind)
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE,
                 resource.RLIMIT_NOFILE)
]
"""
    )
    assert found["read"][0] == found["write"][0] == "refused"
    assert found["limits"] == [[MEMORY] * 2, [0, 0], [0, 0], [3, 3]]


@pytest.mark.parametrize("extractor", EXTRACTORS)
def test_every_extractor_gives_the_text_of_a_plain_page(extractor):
    child = start(extractor=extractor)
    page = "<html><body><main><p>Zażółć gęślą jaźń &amp; &lt;b&gt; &#0; &#xD800; &#x110000;"
    out, _ = child.communicate(request(page.encode()))
    text = replies(out)[0].decode()
    assert text.startswith("Zażółć gęślą jaźń & <b>") and text.count("\ufffd") >= 2
