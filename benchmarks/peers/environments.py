"""Each peer in an environment of its own, at the versions that its lock file pins."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".venv-peers"

# The wheels of Dolma and of datatrove's fastText exist for these versions only.
PYTHONS = ("python3.11", "python3.12")


@dataclass(frozen=True)
class Peer:
    """A system to compare with; its lock file and its script carry its name."""

    name: str
    title: str

    @property
    def python(self) -> Path:
        return HOME / self.name / "bin" / "python"

    @property
    def script(self) -> Path:
        return HERE / f"run_{self.name}.py"

    @property
    def neardup_script(self) -> Path:
        return HERE / f"neardup_{self.name}.py"


DATATROVE = Peer("datatrove", "datatrove 0.10.1")
DOLMA = Peer("dolma", "Dolma 1.2.1")
NEMO = Peer("nemo", "NeMo Curator 1.4.0")
RENSA = Peer("rensa", "rensa 0.5.0 and datasketch 2.0.0")
TOKENIZERS = Peer("tokenizers", "encoders and trainers of BPE")
READERS = Peer("readers", "readers of Megatron, datatrove, OLMo and litdata")
STREAMING = Peer("streaming", "Streaming 0.13.0")
LOADERS = Peer("loaders", "datatrove 0.10.1 and litdata 0.2.76")


def install(peer: Peer) -> str:
    """Install a peer unless it is there; returns what went wrong, or nothing."""
    lock = HERE / f"{peer.name}.lock"
    stamp = HOME / peer.name / "installed.lock"
    if stamp.is_file() and stamp.read_bytes() == lock.read_bytes():
        return ""
    python = _python()
    if not python:
        return f"needs one of {', '.join(PYTHONS)}"
    print(f"installing {peer.title} into {HOME / peer.name} ...", file=sys.stderr)
    shutil.rmtree(HOME / peer.name, ignore_errors=True)
    # The lock files are complete, so that nothing is resolved: NeMo Curator would bring CUDA.
    pip = [str(peer.python), "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    steps = (
        [python, "-m", "venv", str(HOME / peer.name)],
        [*pip, "--no-deps", "--only-binary", ":all:", "-r", str(lock)],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["installation failed"])[-1]
    shutil.copy(lock, stamp)
    return ""


def _python() -> str:
    """An interpreter that the peers have wheels for."""
    for name in PYTHONS:
        path = shutil.which(name)
        if (
            path
            and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
        ):
            return path
    return ""
