"""How well a model predicts documents: nats of each one, and bits per byte of many."""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Numbers, Positions
from curate.errors import ShardError
from curate.store import write_atomic
from tokenizer.dataset import TokenDataset
from trainer.data import IGNORED
from trainer.model import LanguageModel, Tensor, torch

EVALUATIONS = "evaluations.jsonl"
GROUPS = ("source", "language")
_SCORED = ["bits_per_byte", "loss", "documents", "bytes"]
DESCRIBED = ["doc_id", "source", "language", "n_bytes"]
MULTIPLE = 64  # of which all rows are, the context's length aside
_TOKENS = 1 << 14  # read at once


class _Windows(NamedTuple):
    """Stretches of tokens that a model reads at once; a target follows each of them."""

    documents: Positions  # which document each is of
    starts: Positions  # its first token
    lengths: Positions


def document_losses(model: LanguageModel, dataset: TokenDataset, limit: int = 0) -> pa.Table:
    """How well a model predicts each document of token shards, in their order.

    The table has doc_id, source, language, n_bytes, targets and nats. Every document is read alone
    and cut into windows of the model's context that overlap by one token: each of its tokens but
    the first is a target once, and so is its end of text; an empty document has no target. A second
    window begins with nothing seen but one token. `n_bytes` are those of the whole text: bits per
    byte compare models of one tokenizer exactly, and others but for each document's first token.
    With a `limit`, as many whole documents from the front as have no more tokens together. On a
    GPU products are in bfloat16; how documents are batched changes the nats by rounding alone.
    """
    starts = _document_starts(dataset, limit)
    windows = _windows(starts, model.shape.context)
    nats = np.zeros(len(starts) - 1, np.float64)
    training = model.training
    model.eval()
    with torch.no_grad():
        for batch in _batches(windows, _TOKENS):
            losses = _losses(model, dataset, batch)
            np.add.at(nats, batch.documents, losses)
    model.train(training)
    table = _described(dataset, len(nats))
    targets = pa.array(np.diff(starts) - 1)
    return table.append_column("targets", targets).append_column("nats", pa.array(nats))


def bits_per_byte(table: pa.Table) -> float:
    """All bits over all bytes; nan where there is no byte."""
    size = pc.sum(table["n_bytes"], min_count=0).as_py()
    nats = pc.sum(table["nats"], min_count=0).as_py()
    return nats / math.log(2) / size if size else math.nan


def loss(table: pa.Table) -> float:
    """Nats per target; nan where there is none."""
    targets = pc.sum(table["targets"], min_count=0).as_py()
    nats = pc.sum(table["nats"], min_count=0).as_py()
    return nats / targets if targets else math.nan


def by(table: pa.Table, column: str) -> pa.Table:
    """Sums, bits_per_byte and loss of each source or language, by name; last what has none."""
    sums = [("nats", "count"), ("n_bytes", "sum"), ("targets", "sum"), ("nats", "sum")]
    groups = table.group_by(column, use_threads=False).aggregate(sums).sort_by(column)
    names = {"nats_count": "documents", "n_bytes_sum": "bytes", "targets_sum": "targets"}
    groups = groups.rename_columns(
        [names.get(n, n.removesuffix("_sum")) for n in groups.schema.names]
    )
    bits = pc.divide(groups["nats"], math.log(2))
    return groups.append_column(
        "bits_per_byte", pc.divide(bits, pc.cast(groups["bytes"], pa.float64()))
    ).append_column("loss", pc.divide(groups["nats"], pc.cast(groups["targets"], pa.float64())))


def macro(groups: pa.Table) -> float:
    """The mean bits per byte of groups that have a byte, each as heavy as the others."""
    there = groups.filter(pc.greater(groups["bytes"], 0))["bits_per_byte"]
    return pc.mean(there).as_py() if len(there) else math.nan


def scores(table: pa.Table) -> list[dict[str, Any]]:
    """All documents in a row, then a row for each source and each language, for JSON.

    The first has the macro means too. A number that is undefined is None.
    """
    whole = {"bits_per_byte": bits_per_byte(table), "loss": loss(table)}
    whole |= {"documents": len(table), "bytes": pc.sum(table["n_bytes"], min_count=0).as_py()}
    rows = []
    for column in GROUPS:
        groups = by(table, column)
        whole[f"macro_{column}"] = macro(groups)
        rows += groups.select([column, *_SCORED]).to_pylist()
    return [{name: finite(value) for name, value in row.items()} for row in (whole, *rows)]


def finite(value: Any) -> Any:
    """A value as JSON has it: None for what is no number."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def record(folder: Path, step: int, sets: Mapping[str, pa.Table]) -> list[dict[str, Any]]:
    """Write the scores of these sets at a step into a model folder, in place of later ones."""
    path = folder / EVALUATIONS
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    kept = [line for line in lines if line.endswith("}\n") and json.loads(line)["step"] < step]
    rows = [
        {"step": step, "set": name, **row} for name, table in sets.items() for row in scores(table)
    ]
    new = [json.dumps(row) + "\n" for row in rows]
    write_atomic(path, "".join(kept + new).encode())
    return rows


def _document_starts(dataset: TokenDataset, limit: int) -> Positions:
    """Where the documents to read begin, and where the last one ends."""
    if not limit or limit >= dataset.tokens:
        return np.append(dataset.document_starts(0, dataset.tokens), dataset.tokens)
    # One token more: a document that begins right behind the limit ends one that still fits.
    starts = dataset.document_starts(0, limit + 1)
    if len(starts) < 2:
        raise ShardError(
            f"{dataset.folder}: the first document has more than {limit} tokens; allow more"
        )
    return starts


def _windows(starts: Positions, context: int) -> _Windows:
    """The windows of all documents, the short ones first."""
    targets = np.diff(starts) - 1
    counts = -(-targets // context)
    documents = np.repeat(np.arange(len(targets)), counts)
    place = np.arange(len(documents)) - np.repeat(np.cumsum(counts) - counts, counts)
    lengths = np.minimum(targets[documents] - place * context, context)
    order = np.argsort(lengths, kind="stable")
    first = starts[documents] + place * context
    return _Windows(documents[order], first[order], lengths[order])


def _batches(windows: _Windows, tokens: int) -> Iterator[_Windows]:
    """Windows of similar length, together of at most so many tokens with their padding."""
    start = 0
    while start < len(windows.lengths):
        # Lengths only grow, so the last row says how wide all are.
        widths = _padded(windows.lengths[start : start + tokens])
        sizes = widths * np.arange(1, len(widths) + 1)
        count = max(1, int(np.searchsorted(sizes, tokens, "right")))
        yield _Windows(*(part[start : start + count] for part in windows))
        start += count


def _padded(lengths: Positions) -> Positions:
    """Lengths up to the next multiple: fewer shapes, each of which has kernels of its own."""
    return -(-lengths // MULTIPLE) * MULTIPLE


def _losses(model: LanguageModel, dataset: TokenDataset, batch: _Windows) -> Numbers:
    """The nats of each window."""
    length = min(int(_padded(batch.lengths).max()), model.shape.context)
    tokens = np.zeros((len(batch.lengths), length), np.int64)
    targets = np.full_like(tokens, IGNORED)
    for row, (start, size) in enumerate(zip(batch.starts, batch.lengths, strict=True)):
        stretch = dataset.window(int(start), int(size) + 1)
        tokens[row, :size], targets[row, :size] = stretch[:-1], stretch[1:]
    device = next(model.parameters()).device
    with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
        losses = model.token_losses(_tensor(tokens, device), _tensor(targets, device))
    nats: Numbers = losses.double().sum(dim=1).cpu().numpy()
    return nats


def _tensor(values: NDArray[np.int64], device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device)


def _described(dataset: TokenDataset, count: int) -> pa.Table:
    """What docs.parquet says of the first documents."""
    tables, left = [], count
    for part in dataset.manifest["parts"]:
        if left > 0 and part["documents"]:
            path = dataset.folder / f"{part['name']}.docs.parquet"
            tables.append(pq.read_table(path, columns=DESCRIBED).slice(0, left))
            left -= len(tables[-1])
    return pa.concat_tables(tables).combine_chunks()
