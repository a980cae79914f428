"""Token shards made worse on purpose: what an ablation must find, or it would find nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.column import Positions
from curate.store import disk_errors, sealed, write_atomic
from tokenizer.dataset import TokenDataset
from tokenizer.shards import DOCUMENTS, MANIFEST, ROW_GROUP, closed_part, manifest
from tokenizer.vocabulary import Vocabulary

Ids = NDArray[np.unsignedinteger[Any]]

PART = "part-00000"
# So many copies of each document that is copied, as a page that mirrors or spam repeat: copies of
# as many different documents would teach nearly as much as what they replaced (Muennighoff et al.
# 2023: up to four epochs of the same are almost as good as new text).
COPIES = 50
FEWEST = 10  # documents that are copied: of one or two it were chance what they teach
BREAKS = b" \n\r\t"  # a token that begins with one begins a word


@dataclass(frozen=True)
class Corruption:
    """How much of a corpus is spoiled: a share of its documents, 0 to 1."""

    duplicated: float = 0.0  # documents replaced by copies of few others
    shuffled: float = 0.0  # documents whose words are put in another order


def corrupted(
    dataset: TokenDataset, how: Corruption, most: int, vocabulary: Vocabulary | None, folder: Path
) -> TokenDataset:
    """Write a corpus with a part of its documents spoiled, of at most about `most` tokens.

    The documents are in another order. Of a larger corpus they are chosen at random: the first ones
    might be of another kind. Rows of docs.parquet are those of the documents that are there; the
    text of one whose words were shuffled has no hash. The same documents and settings make the same
    bytes. Without a vocabulary tokens are shuffled instead of words.
    """
    random = np.random.default_rng((0, round(1000 * how.duplicated), round(1000 * how.shuffled)))
    # In another order, as another corpus has its documents: words shuffled where they stood would
    # leave the same windows in the same steps, and be less noisy than what is to be judged.
    numbers = random.permutation(_chosen(dataset, most, random))
    numbers = _duplicated(numbers, how.duplicated, random)
    spoiled = np.zeros(len(numbers), np.bool_)
    count = round(how.shuffled * len(numbers))
    spoiled[random.choice(len(numbers), count, replace=False)] = True
    shuffled = _shuffler(vocabulary, random)

    def documents() -> Iterator[Ids]:
        for number, is_spoiled in zip(numbers.tolist(), spoiled.tolist(), strict=True):
            tokens = dataset.document(number)
            yield shuffled(tokens) if is_spoiled else tokens

    _write(folder, dataset, documents(), _rows(dataset, numbers, spoiled))
    return TokenDataset(folder)


def _chosen(dataset: TokenDataset, most: int, random: np.random.Generator) -> Positions:
    """All documents, or so many of them as have about `most` tokens, in their order."""
    if dataset.tokens <= most:
        return np.arange(dataset.documents)
    count = max(1, round(dataset.documents * most / dataset.tokens))
    return np.sort(random.choice(dataset.documents, count, replace=False))


def _duplicated(numbers: Positions, share: float, random: np.random.Generator) -> Positions:
    """The numbers of documents, some replaced by those of others that stay."""
    count = round(share * len(numbers))
    if not count:
        return numbers
    places = random.permutation(len(numbers))
    replaced, staying = places[:count], places[count:]
    sources = staying[: max(FEWEST, round(count / COPIES))]
    numbers = numbers.copy()
    numbers[replaced] = numbers[np.resize(sources, count)]
    return numbers


def _shuffler(vocabulary: Vocabulary | None, random: np.random.Generator) -> Callable[[Ids], Ids]:
    """What puts the words of a document in another order, or its tokens if words are unknown."""
    if vocabulary is None:
        return random.permutation
    begins = np.array([spelled[:1] in BREAKS and spelled != b"" for spelled in vocabulary.spelled])

    def shuffled(tokens: Ids) -> Ids:
        starts = np.flatnonzero(begins[tokens])
        words = np.split(tokens, starts[starts > 0])
        return np.concatenate([words[i] for i in random.permutation(len(words))])

    return shuffled


def _rows(dataset: TokenDataset, numbers: Positions, spoiled: NDArray[np.bool_]) -> pa.Table:
    """The rows of docs.parquet for these documents."""
    needed, tables, first = np.unique(numbers), [], 0
    for part in dataset.manifest["parts"]:
        low, high = np.searchsorted(needed, (first, first + part["documents"]))
        if low < high:
            path = dataset.folder / f"{part['name']}.docs.parquet"
            tables.append(pq.read_table(path, schema=DOCUMENTS).take(needed[low:high] - first))
        first += part["documents"]
    rows = pa.concat_tables(tables).take(np.searchsorted(needed, numbers))
    hashes = rows["content_hash"].to_pylist()
    kept = [None if is_spoiled else one for one, is_spoiled in zip(hashes, spoiled, strict=True)]
    place = DOCUMENTS.get_field_index("content_hash")
    return rows.set_column(place, DOCUMENTS.field(place), pa.array(kept, pa.binary(16)))


def _write(folder: Path, like: TokenDataset, documents: Iterator[Ids], rows: pa.Table) -> None:
    """Shards of one part with these documents, of the vocabulary of others."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / f"{PART}.bin").open("wb") as file:
            for tokens in documents:
                file.write(np.append(tokens, like.end_of_text).astype(like.dtype).data)
        path = folder / f"{PART}.docs.parquet"
        pq.write_table(rows, path, row_group_size=ROW_GROUP, compression="zstd")
        size = sum(rows["n_bytes"].to_pylist())
        lengths = rows["n_tokens"].to_numpy()
        part = closed_part(folder, PART, lengths, size, like.manifest["dtype"])
    said = like.manifest
    told = {"probe": said["probe"]} if "probe" in said else None
    identity = (said["vocabulary"], like.vocab_size, like.end_of_text, told)
    write_atomic(folder / MANIFEST, sealed(manifest([part], *identity)))
