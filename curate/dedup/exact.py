"""Documents with the same text, and documents of the same URL: one of them stays."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from curate.column import Mask, View, view
from curate.dedup import equal, keeping, urls
from curate.dedup.characters import NOTHING, PUNCTUATION, characters, folded
from curate.dedup.equal import KEY
from curate.dedup.keeping import PREFERENCE, Keep
from curate.dedup.known import known, verified_files, with_settings
from curate.errors import RecipeError
from curate.schema import ID, TEXT, URL, Batch
from curate.survey import Means, Task

COPIES, URL_COPIES = "exact_copies", "url_copies"
NAMES = equal.Names("exact.duplicate", "exact.known", COPIES)
URL_NAMES = equal.Names("exact.url", "exact.known_url", URL_COPIES)

Normalise = Literal["none", "spaces-case", "words"]

# What links carry for those who count clicks, and what makes no other page of one.
TRACKING = (
    *("utm_*", "gclid", "gclsrc", "dclid", "gbraid", "wbraid", "_ga", "_gl"),  # Google
    *("fbclid", "igshid", "msclkid", "yclid", "ysclid", "twclid", "ttclid", "li_fat_id"),
    *("mc_cid", "mc_eid", "_hsenc", "_hsmi", "hsctatracking", "mkt_tok", "vero_id"),
    *(
        "oly_anon_id",
        "oly_enc_id",
        "pk_*",
        "mtm_*",
        "piwik_*",
        "matomo_*",
        "s_cid",
        "wt_mc",
        "at_medium",
        "at_campaign",
    ),
    *("phpsessid", "jsessionid", "aspsessionid*"),
)


@dataclass(frozen=True)
class Exact:
    """One document of each text, by a 128-bit cryptographic hash of the (normalised) text.

    `normalise`: "none" compares bytes; "spaces-case" ignores case and how much white space there
    is; "words" ignores punctuation and symbols too. Empty texts equal each other. `keep`: see
    curate/dedup/keeping.py; ids decide between equals. `index: true` keeps the hashes of what the
    whole run keeps in its output; `against` names outputs of such runs, and what they have goes as
    `exact.known`.

    Columns: `duplicate_of`, the id of the text that stays, for those that go, and `exact_copies`,
    how often the text occurs, for those that stay.
    """

    normalise: Normalise = "none"
    keep: Keep = "longest"
    against: tuple[str, ...] = ()
    index: bool = False

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    adds: ClassVar = (COPIES,)

    def __post_init__(self) -> None:
        keeping.check(self.keep)

    def survey(self, batch: Batch) -> pa.Table:
        """The hash of every text, and how much it would stay."""
        texts = self._normal(view(batch.column(TEXT)))
        table = _table(batch, pa.array(digests(texts), pa.binary(16)), self.keep)
        return with_settings(table, self._sketch())

    def _sketch(self) -> dict[str, Any]:
        """The settings that hashes depend on."""
        return {"kind": "exact.Exact", "normalise": self.normalise}

    def files(self) -> dict[str, Path]:
        """The earlier runs that documents are compared with."""
        return verified_files(self.against, self._sketch())

    def _normal(self, texts: View) -> View:
        if self.normalise == "none":
            return texts
        removed = PUNCTUATION if self.normalise == "words" else NOTHING
        return View(*folded(texts, characters(), removed))

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
        """All but one of the documents with the same hash go."""
        earlier = known(self.against, self._sketch())
        found = equal.copies(self, surveys, gone, means, earlier.surveys)
        return equal.verdicts(found, surveys, gone, NAMES)

    def choose(self, task: Task, folder: Path) -> Task:
        """The copies among one range of hashes."""
        return equal.choose(task, folder)


@dataclass(frozen=True)
class Url:
    """One document of each URL, whose form is normalised: see curate/dedup/urls.py.

    `ignore` names parameters that make no other page: a name with a star behind it stands for all
    that begin so. A document without a URL is nobody's duplicate. `keep`: see
    curate/dedup/keeping.py; `index` and `against` (`exact.known_url`): see exact.Exact. It stands
    before html.Extract too, which then has less to do, unless `keep` is longest.

    Columns: `duplicate_of`, the id of the document that stays, for those that go, and `url_copies`,
    how many documents have the URL, for those that stay.
    """

    ignore: tuple[str, ...] = TRACKING
    keep: Keep = "newest"
    against: tuple[str, ...] = ()
    index: bool = False

    leaves_text: ClassVar = True
    ignores_language: ClassVar = True
    adds: ClassVar = (URL_COPIES,)

    def __post_init__(self) -> None:
        keeping.check(self.keep)
        for name in self.ignore:
            if not name.strip("*") or "*" in name[:-1]:
                raise RecipeError(f"ignore: {name!r}; write a name, or its beginning and a star")

    @property
    def reads_text(self) -> bool:
        """Whether the text must be there."""
        return self.keep == "longest"

    def survey(self, batch: Batch) -> pa.Table:
        """The hash of every URL, and how much its document would stay."""
        forms = urls.normalised(batch.column(URL), self.ignore)
        keys = pa.array(digests(forms), pa.binary(16), mask=np.diff(forms.offsets) == 0)
        return with_settings(_table(batch, keys, self.keep), self._sketch())

    def _sketch(self) -> dict[str, Any]:
        """The settings that hashes depend on."""
        return {"kind": "exact.Url", "ignore": self.ignore}

    def files(self) -> dict[str, Path]:
        """The earlier runs that documents are compared with."""
        return verified_files(self.against, self._sketch())

    def decide(self, surveys: list[Path], gone: list[Mask], means: Means) -> Iterator[pa.Table]:
        """All but one of the documents with the same URL go."""
        earlier = known(self.against, self._sketch())
        found = equal.copies(self, surveys, gone, means, earlier.surveys)
        return equal.verdicts(found, surveys, gone, URL_NAMES)

    def choose(self, task: Task, folder: Path) -> Task:
        """The copies among one range of hashes."""
        return equal.choose(task, folder)


def _table(batch: Batch, keys: pa.Array, keep: Keep) -> pa.Table:
    columns = {ID: batch.column(ID), KEY: keys, PREFERENCE: keeping.preference(batch, keep)}
    return pa.table(columns)


def digests(texts: View) -> list[bytes]:
    """A hash of every row, by which nobody can make two texts meet on purpose."""
    data = texts.data.data
    ends = texts.offsets.tolist()
    return [
        hashlib.blake2b(data[start:end], digest_size=16).digest() for start, end in pairwise(ends)
    ]
