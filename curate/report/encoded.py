"""What a run's tokenizer made of the run's own documents, and what it was trained on."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.errors import ShardError
from curate.report.facts import Encoded
from curate.schema import LANGUAGE
from tokenizer.train import remarks

COLUMNS = [LANGUAGE, "n_tokens", "n_bytes"]


def encoded_of(folder: Path) -> list[Encoded]:
    """Documents, bytes and tokens by language, most tokens first."""
    found: dict[str, Encoded] = {}
    for path in sorted((folder / "tokens").glob("*.docs.parquet")):
        try:
            table = pq.read_table(path, columns=COLUMNS)
        except (pa.ArrowException, OSError) as error:
            raise ShardError(f"{path}: cannot be read: {error}") from error
        sums = [(name, "sum") for name in COLUMNS[1:]]
        groups = table.group_by(LANGUAGE).aggregate([([], "count_all"), *sums])
        for row in groups.to_pylist():
            name = row[LANGUAGE] or ""
            one = found.setdefault(name, Encoded(name))
            one.documents += row["count_all"]
            one.tokens += row["n_tokens_sum"]
            one.bytes += row["n_bytes_sum"]
    return sorted(found.values(), key=lambda one: (-one.tokens, one.name))


def told(tokenizer: dict[str, Any] | None) -> list[str]:
    """What of the training the reader should know."""
    trained = tokenizer and tokenizer.get("trained")
    return remarks(trained) if trained else []
