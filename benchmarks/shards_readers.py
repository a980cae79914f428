"""Views of random shards, each read again by the real reader of its format.

    python -m benchmarks.shards_readers

Installs each reader in an environment of its own (`benchmarks/peers/`), writes shards of random
documents as uint16 and as uint32, views of them, and prints which documents came back equal.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.peers.environments import READERS, STREAMING, Peer, install
from curate.store import sealed
from tokenizer.dataset import TokenDataset
from tokenizer.shards import manifest, write_part
from tokenizer.views import write_view

DOCUMENTS, PARTS, LENGTH = 2000, 3, 128
SIZES = (50_257, 250_680)
READ_BY = {
    "megatron": (READERS, "IndexedDataset of megatron-core 0.16.1"),
    "datatrove": (READERS, "DatatroveFileDataset of datatrove 0.10.1"),
    "olmo": (READERS, "iter_document_indices of ai2-olmo-core 3.0.0"),
    "litdata": (READERS, "TokensLoader of litdata 0.2.76"),
    "mds": (STREAMING, "StreamingDataset of mosaicml-streaming 0.13.0"),
    "parquet": (READERS, "datasets"),
}


def random_shards(folder: Path, vocab_size: int) -> Path:
    """Shards of documents with random ids and lengths, empty ones among them."""
    random = np.random.default_rng(vocab_size)
    folder.mkdir()
    parts = []
    for number in range(PARTS):
        lengths = random.geometric(0.01, DOCUMENTS // PARTS) - 1
        rows = pa.record_batch(
            {
                "id": pa.array([random.bytes(16) for _ in lengths], pa.binary(16)),
                "source": pa.array(["a.warc"] * len(lengths)),
                "offset": pa.array(range(len(lengths))),
                "text": pa.array([""] * len(lengths)),
            }
        )
        tokens = random.integers(0, vocab_size - 1, lengths.sum(), dtype=np.uint32)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        batches = [(rows, tokens, offsets)]
        parts.append(write_part(folder, f"part-{number:05d}", batches, vocab_size, vocab_size - 1))
    whole = manifest(parts, "random", vocab_size, vocab_size - 1)
    (folder / "manifest.json").write_bytes(sealed(whole))
    return folder


def write_truth(shards: Path, path: Path) -> None:
    """All tokens, and where documents end."""
    dataset = TokenDataset(shards)
    lengths = [len(dataset.document(i)) + 1 for i in range(dataset.documents)]
    tokens = dataset.window(0, dataset.tokens).astype(np.int64)
    kind = dataset.manifest["dtype"]
    np.savez(path, tokens=tokens, ends=np.cumsum(lengths), length=LENGTH, dtype=kind)


def read_again(peer: Peer, name: str, view: Path, truth: Path) -> str:
    """What the reader says, in words."""
    script = Path(__file__).parent / "peers" / "read_shards.py"
    command = [str(peer.python), str(script), name, str(view), str(truth)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"FAILED: {(done.stderr.strip().splitlines() or ['no output'])[-1]}"
    said = json.loads(done.stdout.splitlines()[-1])
    is_same = said["expected"] == said["found"] == said["equal"]
    what = "equal" if is_same else "NOT EQUAL"
    return f"{what}: {said['equal']:,} of {said['expected']:,} ({said['found']:,} read)"


def main() -> None:
    """Print a line for each reader and type of tokens."""
    failed = False
    problems = {peer.name: install(peer) for peer in (READERS, STREAMING)}
    with tempfile.TemporaryDirectory() as name:
        for vocab_size in SIZES:
            folder = Path(name) / str(vocab_size)
            shards = random_shards(folder, vocab_size)
            kind = TokenDataset(shards).manifest["dtype"]
            truth = Path(name) / f"{kind}.npz"
            write_truth(shards, truth)
            for view, (peer, reader) in READ_BY.items():
                made = write_view(shards, view, Path(name) / f"{view}-{kind}", LENGTH)
                problem = problems[peer.name]
                said = problem or read_again(peer, view, made.folder, truth)
                failed |= not said.startswith("equal")
                print(f"{kind:7} {view:10} {reader:48} {said}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
