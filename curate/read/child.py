"""The process in which native parsers run, alone and with nothing to lose.

Started as `python -P -m curate.read.child EXTRACTOR CPU_SECONDS MEMORY_BYTES`. It says READY, then
answers every page on stdin with its text on stdout, and ends when stdin does. It imports nothing
heavy: a hostile page kills it, and the next one must be there soon.
"""

import codecs
import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Callable
from typing import BinaryIO

from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.html import HTMLParserException, HTMLTree

from curate.read.charset import KNOWN, Utf8Count, clean, to_utf8

READY = b"ready\n"
# Of a page: bytes, broken and valid UTF-8 sequences, whether it is HTML, the codec's name.
REQUEST = struct.Struct("<QQQ?16s")
REPLY = struct.Struct("<Q")  # bytes of text
OUT_OF_MEMORY = 75  # the exit status after a MemoryError


def _tree(page: bytes) -> HTMLTree:
    # Python decodes faster than the parser's own codec: 2.3 s of 2.5 on 106 MB of real pages.
    return HTMLTree.parse(page.decode("utf-8", "replace"))


def main_content(page: bytes) -> str:
    """What resiliparse takes for the page's main content."""
    text: str = extract_plain_text(_tree(page), main_content=True, alt_texts=False)
    return text


def everything(page: bytes) -> str:
    """All visible text of the page, menus included."""
    text: str = extract_plain_text(_tree(page), alt_texts=False)
    return text


EXTRACTORS: dict[str, Callable[[bytes], str]] = {
    "resiliparse": main_content,
    "resiliparse-all": everything,
}


def serve(
    requests: BinaryIO, replies: BinaryIO, extract: Callable[[bytes], str], cpu: float
) -> None:
    """Answer pages until there are no more; a page that takes too long ends the process."""
    while header := requests.read(REQUEST.size):
        size, broken, valid, is_html, name = REQUEST.unpack(header)
        payload = requests.read(size)
        # CPU time, so that a busy machine is no reason. The default action needs no Python: a
        # handler would wait for the very call that does not return.
        signal.setitimer(signal.ITIMER_PROF, cpu)
        page = to_utf8(payload, name.rstrip(b"\0").decode(), Utf8Count(broken, valid))
        text = clean(extract(page).encode() if is_html else page)
        signal.setitimer(signal.ITIMER_PROF, 0)
        replies.write(REPLY.pack(len(text)))
        replies.write(text)
        replies.flush()


def confine(memory_bytes: int) -> None:
    """Give up files, sockets, other processes and unlimited memory, for good."""
    for name in sorted(KNOWN):
        codecs.lookup(name)  # codecs are loaded from files on first use
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
    forbid_system_calls()


# What a parser has no use for, by number: Linux on x86-64, then on aarch64.
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FORBIDDEN = {
    "x86_64": (
        # socket connect socketpair clone fork vfork execve kill ptrace
        *(41, 42, 53, 56, 57, 58, 59, 62, 101),
        # rename rmdir link unlink symlink chmod unlinkat renameat linkat symlinkat
        *(82, 84, 86, 87, 88, 90, 263, 264, 265, 266),
        # process_vm_readv process_vm_writev renameat2 execveat io_uring_setup clone3
        *(310, 311, 316, 322, 425, 435),
    ),
    "aarch64": (
        # socket connect socketpair clone execve kill ptrace
        *(198, 203, 199, 220, 221, 129, 117),
        # unlinkat symlinkat linkat renameat fchmodat
        *(35, 36, 37, 38, 53),
        # process_vm_readv process_vm_writev renameat2 execveat io_uring_setup clone3
        *(270, 271, 276, 281, 425, 435),
    ),
}


class _Program(ctypes.Structure):
    """`struct sock_fprog`: a number of 8-byte instructions."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def forbid_system_calls() -> None:
    """Let the kernel refuse the forbidden calls with EPERM, where it has seccomp."""
    if sys.platform != "linux" or platform.machine() not in FORBIDDEN:
        return
    machine = platform.machine()
    program = seccomp_program(ARCHITECTURES[machine], FORBIDDEN[machine])
    libc = ctypes.CDLL(None)
    no_new_privileges, set_seccomp, with_filter = 38, 22, 2
    libc.prctl(no_new_privileges, 1, 0, 0, 0)
    # A kernel without seccomp says no; the limits above still hold.
    libc.prctl(set_seccomp, with_filter, ctypes.byref(_Program(len(program) // 8, program)))


def seccomp_program(architecture: int, calls: tuple[int, ...]) -> bytes:
    """The kernel's filter: the listed calls and foreign architectures fail, all else passes."""
    load, equal, greater_or_equal, give = 0x20, 0x15, 0x35, 0x06
    allow, refuse = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ERRNO | EPERM

    def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("<HBBI", code, if_true, if_false, value)

    to_refusal = len(calls) + 3
    lines = [
        instruction(load, 4),
        instruction(equal, architecture, 0, to_refusal),
        instruction(load, 0),
        # The x32 calls have other numbers.
        instruction(greater_or_equal, 0x40000000, to_refusal - 2, 0),
    ]
    lines += [
        instruction(equal, call, len(calls) - position) for position, call in enumerate(calls)
    ]
    lines += [instruction(give, allow), instruction(give, refuse)]
    return b"".join(lines)


def main() -> None:
    """Serve pages with the limits of the command line."""
    extractor, cpu_seconds, memory_bytes = sys.argv[1:]
    extract = EXTRACTORS[extractor]
    extract(b"<p>Warm.")  # loads what is loaded lazily
    confine(int(memory_bytes))
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # a parent that is gone ends us
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    os.write(1, READY)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer, extract, float(cpu_seconds))
    except (MemoryError, HTMLParserException):
        # HTML that does not parse does not exist: this is how lexbor says that it got no memory.
        os._exit(OUT_OF_MEMORY)


if __name__ == "__main__":
    main()
