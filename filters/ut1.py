"""Categories of domains by UT1, the blacklists of Toulouse's university, as RedPajama-v2 has them.

RedPajama-Data, app/src/core/quality_signals/content.py and app/src/artifacts/update_resources.py
at commit 855a8e0. The lists are the user's: a folder for each category with a file `domains`, as
UT1's archive unpacks. Differs: RedPajama looks up the host as the URL has it, port included; here a
listed domain stands for its subdomains too, unless `subdomains` is false.
"""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from curate.column import Hashes, Offsets, View, frozen, view
from curate.errors import RecipeError
from curate.hashing import hash_bytes
from curate.kernel import helper
from curate.schema import TEXT, URL, Batch
from curate.stage import Stage, free_column, mark, with_column
from filters.url import host
from tokenizer.corpus import line_batches

DOMAINS = "domains"
# Those of RedPajama's configs/rp_v2.0.conf. UT1 has no "agressive", yet it counts in the ids.
CATEGORIES = (
    *("adult", "agressif", "agressive", "arjel", "chat", "dating", "ddos", "filehosting"),
    *("gambling", "mixed_adult", "phishing", "porn", "violence"),
)
# So that every set of categories has an id of 64 bits.
MOST = 62
DOT = 46


class Lists(NamedTuple):
    """All listed domains, and the set of categories of each."""

    hashes: Hashes  # sorted
    sets: Offsets  # for each domain a place in the two below
    names: pa.Array  # adult,dating
    ids: pa.Array


@helper
def _hash_rows(text: View, found: Hashes) -> None:
    for row in range(len(found)):
        own = text.data[text.offsets[row] : text.offsets[row + 1]]
        found[row] = hash_bytes(own, 0, len(own))


@helper
def _place(hashes: Hashes, wanted: np.uint64) -> int:
    """Where a hash is among sorted ones; -1 if it is not there."""
    low, high = 0, len(hashes)
    while low < high:
        middle = (low + high) // 2
        if hashes[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < len(hashes) and hashes[low] == wanted else -1


@helper
def _look_up(hosts: View, hashes: Hashes, subdomains: bool, found: Offsets) -> None:
    """Write the place of each host, or of the longest listed domain that it lies in; else -1."""
    for row in range(len(found)):
        own = hosts.data[hosts.offsets[row] : hosts.offsets[row + 1]]
        start, end = 0, len(own)
        found[row] = -1
        while found[row] < 0 and start < end:
            found[row] = _place(hashes, hash_bytes(own, start, end))
            while start < end and own[start] != DOT:
                start += 1
            start = start + 1 if subdomains else end


@dataclass(frozen=True)
class Category:
    """Add the UT1 categories of a URL's host, such as `adult,dating`, and RedPajama's id of them.

    The id counts all combinations of `categories`, smaller ones first: it means nothing without
    them. Both are null where no list has the host; of a subdomain that is listed as well as its
    domain, its own categories count. `drop` drops documents in any of these.
    """

    lists: str = ""  # the folder of the categories, such as blacklists
    categories: tuple[str, ...] = CATEGORIES
    column: str = "ut1"  # and ut1_id
    subdomains: bool = True
    drop: tuple[str, ...] = ()

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    judged_by: ClassVar = ("drop",)

    def __post_init__(self) -> None:
        if not self.lists:
            raise RecipeError("lists: none given; name the folder of UT1's categories")
        free_column(self.column, self.column and f"{self.column}_id")
        if not 0 < len(set(self.categories)) == len(self.categories) <= MOST:
            raise RecipeError(f"categories: name 1 to {MOST}, each once")
        for name in self.drop:
            if name not in self.categories:
                near = difflib.get_close_matches(name, self.categories, n=1, cutoff=0.7)
                hint = f"did you mean {near[0]}?" if near else "add it to `categories`"
                raise RecipeError(f"drop: {name!r} is not among the categories; {hint}")

    @property
    def adds(self) -> tuple[str, ...]:
        """The columns that it adds."""
        return (self.column, f"{self.column}_id")

    @property
    def judged_from(self) -> tuple[str, ...]:
        """The column from which `judge` takes its verdicts."""
        return (self.column,)

    def files(self) -> dict[str, Path]:
        """The lists on which the result depends, by name."""
        places = {name: Path(self.lists).expanduser() / name / DOMAINS for name in self.categories}
        found = {name: path for name, path in places.items() if path.is_file()}
        missing = [name for name in self.drop if name not in found]
        if missing or not found:
            raise RecipeError(
                f"ut1.Category: no {places[(missing or list(places))[0]]}; "
                "lists: name the folder of UT1's categories, each with a file `domains`"
            )
        return {f"{self.lists}/{name}": path for name, path in found.items()}

    @contextmanager
    def open(self) -> Iterator[Stage]:
        """Read the lists: 12 bytes of memory for each domain."""
        lists = read(sorted(self.categories), {p.parent.name: p for p in self.files().values()})
        yield lambda batch: self.look_up(batch, lists)

    def look_up(self, batch: Batch, lists: Lists) -> Batch:
        """The batch with the categories of every document."""
        hosts = view(pa.array([host(url or "") for url in batch.column(URL).to_pylist()]))
        places = np.empty(batch.num_rows, np.int32)
        _look_up(hosts, lists.hashes, self.subdomains, places)
        sets = np.append(lists.sets, -1)[places]  # the last one for -1
        chosen = pa.array(sets, mask=sets < 0)
        batch = with_column(batch, self.column, lists.names.take(chosen))
        return self.judge(with_column(batch, f"{self.column}_id", lists.ids.take(chosen)))

    def judge(self, batch: Batch) -> Batch:
        """The batch with the verdicts that its categories call for."""
        own = pc.split_pattern(batch.column(self.column), ",")
        rows, names = pc.list_parent_indices(own), pc.list_flatten(own)
        for name in self.drop:
            broken = np.zeros(batch.num_rows, np.bool_)
            broken[rows.filter(pc.equal(names, name)).to_numpy()] = True
            batch = mark(batch, broken, f"ut1.{name}")
        return batch


def read(categories: list[str], files: dict[str, Path]) -> Lists:
    """The domains of these files, by category; `categories` are all that ids count, sorted."""
    lists = {
        number: _hashes(files[name]) for number, name in enumerate(categories) if name in files
    }
    hashes = np.unique(np.concatenate(list(lists.values())))
    masks = np.zeros(len(hashes), np.uint64)
    for number, mine in lists.items():
        masks[np.searchsorted(hashes, mine)] |= np.uint64(1 << number)
    distinct, sets = np.unique(masks, return_inverse=True)
    combinations = [
        tuple(number for number in lists if mask >> number & 1) for mask in distinct.tolist()
    ]
    names = [",".join(categories[number] for number in one) for one in combinations]
    ids = [combination_id(one, len(categories)) for one in combinations]
    return Lists(
        frozen(hashes),
        frozen(sets.astype(np.int32)),
        pa.array(names, pa.string()),
        pa.array(ids, pa.int64()),
    )


def combination_id(chosen: tuple[int, ...], count: int) -> int:
    """The place of an increasing choice among all of `itertools.combinations`, by size first."""
    size = len(chosen)
    place = sum(comb(count, smaller) for smaller in range(1, size))
    before = -1
    for taken, number in enumerate(chosen, start=1):
        place += sum(comb(count - 1 - other, size - taken) for other in range(before + 1, number))
        before = number
    return place


def _hashes(path: Path) -> Hashes:
    """The distinct hashes of the domains in a file, in small letters, sorted."""
    parts = [np.empty(0, np.uint64)]
    try:
        for batch in line_batches(path):
            # As strings, whatever their bytes: only ASCII is looked at.
            lines = pc.ascii_trim_whitespace(batch.column(TEXT).view(pa.string()))
            lines = lines.filter(pc.greater(pc.binary_length(lines), 0))
            parts.append(np.empty(len(lines), np.uint64))
            _hash_rows(view(pc.ascii_lower(lines)), parts[-1])
    except OSError as error:
        raise RecipeError(f"ut1.Category: cannot read {path}: {error.strerror}") from error
    return np.unique(np.concatenate(parts))
