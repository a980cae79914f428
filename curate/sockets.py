"""On which addresses a process and its children listen, from /proc."""

import ipaddress
from collections import defaultdict
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_LISTEN = "0A"


def listeners(root: int) -> list[IPv4Address | IPv6Address]:
    """The addresses of all TCP sockets on which this process or a descendant listens."""
    inodes = {inode for process in _family(root) for inode in _sockets(process)}
    found: list[IPv4Address | IPv6Address] = []
    for table in ("tcp", "tcp6"):
        for line in _lines(Path("/proc/net") / table)[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in inodes:
                found.append(_address(fields[1].split(":")[0]))
    return found


def _family(root: int) -> set[int]:
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            for line in _lines(entry / "status"):
                if line.startswith("PPid:"):
                    children[int(line.split()[1])].append(int(entry.name))
    family, todo = set(), [root]
    while todo:
        process = todo.pop()
        family.add(process)
        todo.extend(children[process])
    return family


def _sockets(process: int) -> set[str]:
    inodes = set()
    try:
        for handle in Path(f"/proc/{process}/fd").iterdir():
            target = str(handle.readlink())
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:  # the process, or the handle, is gone
        pass
    return inodes


def _address(text: str) -> IPv4Address | IPv6Address:
    """/proc/net writes addresses as 32-bit words in the machine's byte order."""
    words = [bytes.fromhex(text[index : index + 8])[::-1] for index in range(0, len(text), 8)]
    address = ipaddress.ip_address(b"".join(words))
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
