"""From the files of a run to the facts of its report: one pass, row group by row group."""

import heapq
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.books import read_ledger, read_recipe, read_times
from curate.errors import ShardError
from curate.ledger import Spans, StageLedger
from curate.report.encoded import encoded_of
from curate.report.facts import Finds, Reason, Report, Sample, Source, Tally
from curate.report.rules import BYTES, STAGE, Rules, numbers, signals_of
from curate.report.sketch import Sketch
from curate.schema import (
    BOUND,
    DROPPED_BY,
    ID,
    LANGUAGE,
    TEXT,
    URL,
    VALUE,
)
from filters.pii import scrub_text

EXCERPT = "excerpt"
SIZES = {"near-duplicates": "cluster_size", "exact copies": "exact_copies"}

SAMPLE_CHARACTERS = 300
# A host with fewer documents could point to a person.
FEWEST_OF_A_HOST = 5
# The rare half is forgotten beyond this many, so that memory does not grow with the crawl.
MOST_HOSTS = 100_000
# Samples from these would show what was dropped for not being fit to be shown.
NOT_SHOWN = ("pii.", "secret", "unsafe", "toxic")

_HOST = r"^[A-Za-z][A-Za-z0-9+.\-]*://(?:[^/?#@]*@)?(?P<host>[^/?#:\\]+)"


def collect(folder: Path, samples: int = 3, times: bool = True) -> Report:
    """The facts about a run's output folder; `samples` documents are quoted for each reason.

    Without samples there is no text, no URL and no model sample in it. Times are left out on
    request: all else is the same for every run of the same recipe over the same input.
    """
    ledger = read_ledger(folder / "ledger.json")
    recipe = read_recipe(folder / "recipe.json")
    run = folder / "run.json"
    report = Report(
        recipe=recipe,
        stages=_stages(ledger["stages"]),
        sources=[_source(entry) for entry in ledger["inputs"]],
        tokens=ledger.get("tokens"),
        reasons=_reasons(ledger["stages"], recipe),
        signals=signals_of(recipe),
        encoded=encoded_of(folder) if ledger.get("tokens") else [],
        losses=losses_of(folder / "model" / "metrics.jsonl"),
        times=read_times(run) if times and run.exists() else {},
    )
    written = folder / "model" / "sample.txt"
    if samples and written.exists():
        report.written = scrub_text(written.read_text("utf-8", "replace")[:2000])
    reading = _Reading(report, samples, rules=_rules(report))
    for path in sorted((folder / "documents").glob("*.parquet")):
        for table in _row_groups(path, reading.wanted):
            reading.add(table, kept=True)
    for path in sorted((folder / "dropped").glob("*.parquet")):
        for table in _row_groups(path, reading.wanted):
            reading.add(table, kept=False)
    reading.finish()
    return report


def _stages(entries: list[dict[str, Any]]) -> list[tuple[str, StageLedger]]:
    return [(entry["name"], StageLedger.from_json(entry)) for entry in entries]


def _source(entry: dict[str, Any]) -> Source:
    stages = _stages(entry["stages"])
    quarantined: Counter[str] = Counter()
    for _, stage in stages:
        for reason, count in stage.quarantined.items():
            quarantined[reason] += count.documents
    return Source(
        # Where it lay is nobody's business: the name alone, without folders or bucket.
        name=entry["source"].rstrip("/").rpartition("/")[2],
        spans=Spans.from_json(entry["spans"]),
        entered=stages[0][1].entered.documents if stages else 0,
        kept=stages[-1][1].kept.documents if stages else 0,
        dropped=sum(c.documents for _, stage in stages for c in stage.dropped.values()),
        quarantined=dict(sorted(quarantined.items())),
    )


def _reasons(entries: list[dict[str, Any]], recipe: dict[str, Any]) -> list[Reason]:
    about = {
        signal["name"]: signal.get("about", "")
        for stage in recipe["stages"]
        for signal in stage.get("signals", [])
    }
    reasons = [
        Reason(name, reason, about.get(reason, ""), count, stage.entered.documents, is_fault)
        for name, stage in _stages(entries)
        for is_fault, book in ((False, stage.dropped), (True, stage.quarantined))
        for reason, count in book.items()
    ]
    return sorted(reasons, key=lambda reason: (-reason.count.documents, reason.stage, reason.name))


def _rules(report: Report) -> list[Rules]:
    names = [name for name, _ in report.stages]
    stages = dict.fromkeys(signal.stage for signal in report.signals)
    return [
        Rules(
            stage,
            [signal for signal in report.signals if signal.stage == stage],
            frozenset(names[names.index(stage) + 1 :] if stage in names else ()),
        )
        for stage in stages
    ]


def losses_of(path: Path) -> list[tuple[int, float]]:
    """Step and loss; a last line that was torn by a crash is passed over."""
    losses = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
            losses.append((int(entry["step"]), float(entry["loss"])))
        except (ValueError, KeyError):
            continue
    return losses


def _row_groups(path: Path, wanted: frozenset[str]) -> Iterator[pa.Table]:
    try:
        with pq.ParquetFile(path) as file:
            names = [
                name
                for name in file.schema_arrow.names
                if name in wanted or name.startswith("pii_")
            ]
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=names, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ShardError(f"{path}: cannot be read: {error}") from error


@dataclass
class _Reading:
    """What has been seen of the documents so far."""

    report: Report
    samples: int
    languages: dict[str, Tally] = field(default_factory=dict)
    hosts: dict[str, Tally] = field(default_factory=dict)
    finds: dict[str, Finds] = field(default_factory=dict)
    rules: list[Rules] = field(default_factory=list)
    chosen: dict[tuple[str, str], list[tuple[int, int, Sample]]] = field(default_factory=dict)

    @property
    def wanted(self) -> frozenset[str]:
        names = {ID, URL, LANGUAGE, TEXT, DROPPED_BY, VALUE, BOUND, STAGE, BYTES, EXCERPT}
        return frozenset(names | {s.name for s in self.report.signals} | set(SIZES.values()))

    def add(self, table: pa.Table, kept: bool) -> None:
        """Count the documents of one row group."""
        for rules in self.rules:
            rules.add(table, kept)
        self._tally(self.languages, table, LANGUAGE, kept)
        if URL in table.column_names:
            self._tally(self.hosts, _with_hosts(table), "host", kept)
            _forget_the_rare(self.hosts)
        self._sizes(table)
        if kept:
            self._lengths_and_finds(table)
        if self.samples:
            self._sample(table, kept)

    def finish(self) -> None:
        """Put what was counted into the report, in an order that depends on the counts alone."""
        report = self.report
        report.languages = _ranked(self.languages.values())
        known = [tally for tally in self.hosts.values() if tally.seen >= FEWEST_OF_A_HOST]
        report.hosts = _ranked(known)
        rare = [tally for tally in self.hosts.values() if tally.seen < FEWEST_OF_A_HOST]
        if rare:
            seen, kept = (sum(getattr(tally, name) for tally in rare) for name in ("seen", "kept"))
            report.hosts.append(Tally(f"{len(rare):,} others", seen, kept))
        report.finds = list(self.finds.values())
        for key in sorted(self.chosen):
            report.samples += [entry[-1] for entry in sorted(self.chosen[key], reverse=True)]

    def _tally(self, tallies: dict[str, Tally], table: pa.Table, column: str, kept: bool) -> None:
        if column not in table.column_names:
            return
        for entry in pc.value_counts(pc.drop_null(table.column(column))).to_pylist():
            tally = tallies.setdefault(entry["values"], Tally(entry["values"]))
            tally.seen += entry["counts"]
            tally.kept += entry["counts"] * kept

    def _sizes(self, table: pa.Table) -> None:
        for what, column in SIZES.items():
            if column in table.column_names:
                sketch = self.report.clusters.setdefault(what, Sketch())
                sketch.add(numbers(pc.drop_null(table.column(column))))

    def _lengths_and_finds(self, table: pa.Table) -> None:
        if TEXT in table.column_names:
            lengths = pc.binary_length(pc.drop_null(table.column(TEXT)))
            self.report.lengths.add(numbers(lengths))
        for name in table.column_names:
            if name.startswith("pii_") and pa.types.is_integer(table.schema.field(name).type):
                finds = self.finds.setdefault(name, Finds(name.removeprefix("pii_")))
                found = numbers(pc.drop_null(table.column(name)))
                finds.found += int(found.sum())
                finds.documents += int((found > 0).sum())

    def _sample(self, table: pa.Table, kept: bool) -> None:
        """The documents with the smallest ids, which are hashes: a sample that any order gives."""
        shown = TEXT if kept else EXCERPT
        if not {ID, shown} <= set(table.column_names):
            return
        table = table.filter(pc.is_valid(table.column(shown)))
        groups = [None] if kept else pc.unique(table.column(DROPPED_BY)).to_pylist()
        for reason in groups:
            if reason and reason.startswith(NOT_SHOWN):
                continue
            mine = table if kept else table.filter(pc.equal(table.column(DROPPED_BY), reason))
            ids = mine.column(ID).cast(pa.binary())
            for row in pc.array_sort_indices(ids.combine_chunks())[: self.samples].to_pylist():
                self._choose(sample_of(mine.slice(row, 1).to_pylist()[0], shown))

    def _choose(self, sample: Sample) -> None:
        heap = self.chosen.setdefault((sample.stage, sample.reason), [])
        entry = (-int(sample.id, 16), len(heap), sample)
        if len(heap) < self.samples:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)


def _with_hosts(table: pa.Table) -> pa.Table:
    return pa.table({"host": host_of(table.column(URL))})


def host_of(urls: Any) -> Any:
    """The hosts of a column of URLs, null where there is none."""
    return pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, _HOST), "host"))


def _forget_the_rare(tallies: dict[str, Tally]) -> None:
    if len(tallies) > MOST_HOSTS:
        for tally in _ranked(tallies.values())[MOST_HOSTS // 2 :]:
            del tallies[tally.name]


def _ranked(tallies: Any) -> list[Tally]:
    return sorted(tallies, key=lambda tally: (-tally.seen, tally.name))


def sample_of(row: dict[str, Any], shown: str) -> Sample:
    """A document to look at, from its columns; `shown` names the one with the text."""
    # Scrubbed before it is cut: a cut could hide what makes an address an address.
    text = scrub_text(row[shown][: 100 * SAMPLE_CHARACTERS])
    value, bound = row.get(VALUE), row.get(BOUND)
    return Sample(
        id=row[ID].hex(),
        stage=row.get(STAGE) or "",
        reason=row.get(DROPPED_BY) or "",
        place=place(row.get(URL) or ""),
        language=row.get(LANGUAGE) or "",
        value=math.nan if value is None else value,
        bound=math.nan if bound is None else bound,
        text=text[:SAMPLE_CHARACTERS] + ("…" if len(text) > SAMPLE_CHARACTERS else ""),
    )


def place(url: str) -> str:
    """Host and path of a URL, without user, query and fragment, scrubbed and cut."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:  # such as a bracket that is not closed
        return ""
    scheme = "https://" if host else ""  # so that the host is seen to be one
    return scrub_text(f"{scheme}{host}{parts.path}").removeprefix(scheme)[:120]
