"""Ray: the same bytes for any number of workers, lost workers and nodes, nothing on the network."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curate.pool import LOCAL
from curate.run import Job, run
from curate.sockets import listeners
from tests.chaos.harness import RECIPE, digest
from tests.chaos.zygote import Quiet
from tests.crawl import write_crawl

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def command(crawl: Path, output: Path, *options: str) -> list[str]:
    start = [sys.executable, "-m", "curate", "run", str(RECIPE), "--output", str(output)]
    return [*start, "--input", str(crawl), *options]


@pytest.fixture(scope="module")
def crawl(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("crawl")
    write_crawl(folder, files=12, pages=40)
    return folder


@pytest.fixture(scope="module")
def expected(crawl, tmp_path_factory) -> dict[str, str]:
    output = tmp_path_factory.mktemp("run") / "output"
    inputs = [str(crawl)]
    run(Job(RECIPE.read_text(), "chaos.yaml", inputs, output, workers=0), Quiet())
    return digest(output)


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers_writes_the_same_bytes(crawl, expected, tmp_path, workers):
    done = subprocess.run(
        command(crawl, tmp_path / "o", "--workers", str(workers)), capture_output=True, text=True
    )
    assert done.returncode in (0, 3), done.stderr
    assert digest(tmp_path / "o") == expected


def remote_workers(driver: int) -> list[int]:
    """The processes of the driver's actors."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = (entry / "cmdline").read_bytes()
            session = os.getsid(int(entry.name))
        except OSError:
            continue
        if name.startswith(b"ray::RemoteWorker") and session == os.getsid(driver):
            found.append(int(entry.name))
    return found


def pieces(output: Path) -> int:
    folder = output / "work" / "pieces"
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def wait_for(condition, seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


def start(crawl: Path, output: Path) -> subprocess.Popen[bytes]:
    """A run of its own session, so that its workers can be told from others."""
    return subprocess.Popen(
        command(crawl, output, "--workers", "2"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def kill_a_worker(process: subprocess.Popen[bytes], output: Path) -> int:
    """Kill one worker of the run once there is one; how many were killed."""
    have = pieces(output)
    wait_for(lambda: remote_workers(process.pid) or process.poll() is not None)
    victims = remote_workers(process.pid)[:1]
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    wait_for(lambda: pieces(output) > have or process.poll() is not None)
    return len(victims)


def test_five_kills_of_workers_and_drivers_leave_no_trace(crawl, expected, tmp_path):
    output = tmp_path / "o"
    first = start(crawl, output)
    kills = kill_a_worker(first, output) + kill_a_worker(first, output)
    first.kill()
    first.wait()
    second = start(crawl, output)
    kills += 1 + kill_a_worker(second, output) + kill_a_worker(second, output)
    assert second.wait() in (0, 3)
    assert kills >= 5
    assert digest(output) == expected


def test_a_node_that_is_lost_in_the_middle_costs_nothing(crawl, expected, tmp_path):
    os.environ.update(LOCAL)  # Ray reads them once a process, and later tests use this one
    cluster_module = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_module.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 80 << 20}
    )
    output = tmp_path / "o"
    try:
        node = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
        cluster.wait_for_nodes()
        process = subprocess.Popen(
            command(crawl, output, "--workers", "2", "--ray-address", cluster.address),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert wait_for(lambda: pieces(output) >= 2 or process.poll() is not None)
        assert process.poll() is None, process.stdout.read()
        cluster.remove_node(node, allow_graceful=False)
        said, _ = process.communicate(timeout=300)
        assert process.returncode in (0, 3), said
    finally:
        cluster.shutdown()
    assert digest(output) == expected


def test_a_local_ray_listens_on_loopback_only():
    code = (
        "import os, json\n"
        "from curate.pool import started\n"
        "from curate.sockets import listeners\n"
        "with started(1, None):\n"
        "    print(json.dumps([str(address) for address in listeners(os.getpid())]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    addresses = set(json.loads(done.stdout.splitlines()[-1]))
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_a_ray_that_was_imported_before_and_would_listen_everywhere_is_refused():
    code = "import ray\nfrom curate.pool import started\nwith started(1, None): pass"
    environment = {name: value for name, value in os.environ.items() if name not in LOCAL}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "imported before it was told" in done.stderr.splitlines()[-1]


def test_the_check_of_sockets_sees_a_listener_on_all_interfaces():
    with socket.create_server(("0.0.0.0", 0)):
        assert any(not address.is_loopback for address in listeners(os.getpid()))
