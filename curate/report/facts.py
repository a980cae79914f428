"""What a report knows about a run: plain values, without a word on how they are shown."""

import math
from dataclasses import dataclass, field
from typing import Any

from curate.bounds import Bounds
from curate.ledger import Count, Spans, StageLedger
from curate.report.marked import Marked
from curate.report.sketch import Sketch


@dataclass(frozen=True)
class Reason:
    """Documents that one stage refused for one reason."""

    stage: str
    name: str
    about: str
    count: Count
    entered: int  # documents that reached the stage
    quarantined: bool


@dataclass(frozen=True)
class Source:
    """One input: where its bytes and its documents went."""

    name: str
    spans: Spans
    entered: int
    kept: int
    dropped: int
    quarantined: dict[str, int]


@dataclass
class Effect:
    """Documents that a rule drops, and the bytes of their text."""

    documents: int = 0
    bytes: int = 0

    def add(self, other: "Effect") -> None:
        self.documents += other.documents
        self.bytes += other.bytes


@dataclass
class SignalFacts:
    """One signal of a filter: its bounds, and the numbers of all documents that it measured.

    A document that the filter drops is charged to the first rule that it breaks (`charged`);
    `alone` are all that break this rule, `only` those that break no other one of the filter.
    """

    name: str
    stage: str
    about: str
    source: str
    low: float
    high: float
    table: str = ""  # of bounds by language
    by_language: Bounds | None = None  # None: no such table, or another one than in the run
    kept: Sketch = field(default_factory=Sketch)
    dropped_here: Sketch = field(default_factory=Sketch)
    dropped_beside: Sketch = field(default_factory=Sketch)  # by another signal of the filter
    dropped_only: Sketch = field(default_factory=Sketch)  # of both above: by this signal alone
    dropped_later: Sketch = field(default_factory=Sketch)
    undefined: int = 0
    below: int = 0
    above: int = 0
    broken: int = 0
    charged: Effect = field(default_factory=Effect)
    alone: Effect = field(default_factory=Effect)
    only: Effect = field(default_factory=Effect)

    @property
    def is_rule(self) -> bool:
        """Whether it has bounds; without them it only measures."""
        return bool(self.table) or math.isfinite(self.low) or math.isfinite(self.high)

    @property
    def is_known(self) -> bool:
        """Whether the bounds of every document are known."""
        return not self.table or self.by_language is not None

    @property
    def dropped_elsewhere(self) -> Sketch:
        """Documents that something else has dropped, here or later."""
        return self.dropped_beside.plus(self.dropped_later)

    @property
    def all(self) -> Sketch:
        """Every document that was measured and has a number."""
        return self.kept.plus(self.dropped_here, self.dropped_beside, self.dropped_later)

    @property
    def others_keep(self) -> Sketch:
        """Every document that no other rule of the filter drops."""
        return self.kept.plus(self.dropped_later, self.dropped_only)

    @property
    def measured(self) -> int:
        """Every document that was measured, also those without a number."""
        return self.all.total + self.undefined


@dataclass
class Tally:
    """Documents under one heading (a language, a host): how many were seen, how many stay."""

    name: str
    seen: int = 0
    kept: int = 0


@dataclass
class Finds:
    """Personal data of one kind in the documents that stay."""

    kind: str
    found: int = 0
    documents: int = 0


@dataclass(frozen=True)
class Sample:
    """A document to look at: scrubbed and cut. `reason` is empty for one that was kept."""

    id: str
    stage: str
    reason: str
    place: str  # host and path
    language: str
    value: float
    bound: float
    text: str


@dataclass(frozen=True)
class Pair:
    """A document that went and the one that stays in its place, to look at: scrubbed and cut."""

    id: str
    place: str
    chosen: str  # why this pair is shown
    similarity: float
    of: str
    of_place: str
    fate: str  # of the one that stays, where it does not stay to the end
    texts: Marked | None  # None where the other text is not there


@dataclass(frozen=True)
class Cluster:
    """A document that stays and what it stands for."""

    id: str
    place: str
    size: int  # itself included
    bytes: int  # of those that went
    hosts: int
    host: str  # of most of them; empty where it is not shown


@dataclass
class Duplicates:
    """What one stage did about documents that are alike."""

    stage: str
    documents: int = 0
    bytes: int = 0
    kept: int = 0  # documents that they went into
    linked: int = 0  # of these: dropped later as a duplicate of yet another one
    lost: int = 0  # of these: dropped later for another reason
    bound: float = math.nan
    similarity: Sketch = field(default_factory=Sketch)
    sizes: Sketch = field(default_factory=Sketch)
    largest: list[Cluster] = field(default_factory=list)
    pairs: list[Pair] = field(default_factory=list)


@dataclass(frozen=True)
class CutSample:
    """What was cut out of a document, and how the document begins now: scrubbed and cut."""

    id: str
    place: str
    bytes: int
    spans: int
    text: str
    left: str  # empty where the document is not there any more


@dataclass
class Cuts:
    """What one stage took out of documents that stay, for one reason."""

    stage: str
    reason: str
    documents: int
    bytes: int
    spans: int
    entered: int  # bytes that reached the stage
    samples: list[CutSample] = field(default_factory=list)


@dataclass
class Encoded:
    """Documents of one language as tokens, the ends of documents included."""

    name: str
    documents: int = 0
    bytes: int = 0
    tokens: int = 0


@dataclass
class Report:
    """All that a page about a run shows."""

    recipe: dict[str, Any]
    stages: list[tuple[str, StageLedger]]
    sources: list[Source]
    tokens: dict[str, Any] | None
    reasons: list[Reason]
    signals: list[SignalFacts] = field(default_factory=list)
    languages: list[Tally] = field(default_factory=list)
    hosts: list[Tally] = field(default_factory=list)
    lengths: Sketch = field(default_factory=Sketch)
    clusters: dict[str, Sketch] = field(default_factory=dict)
    duplicates: list[Duplicates] = field(default_factory=list)
    cuts: list[Cuts] = field(default_factory=list)
    finds: list[Finds] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    encoded: list[Encoded] = field(default_factory=list)
    losses: list[tuple[int, float]] = field(default_factory=list)
    written: str = ""  # what the model wrote
    times: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Bytes of all inputs."""
        return sum(source.spans.size for source in self.sources)

    @property
    def read_what(self) -> str:
        """What the bytes of documents that were read are: pages, or text from the start."""
        kinds = [stage.get("kind", "") for stage in self.recipe["stages"]]
        return "pages" if any(kind.endswith(".Extract") for kind in kinds) else "text"

    @property
    def entered(self) -> Count:
        """Documents that were read."""
        return self.stages[0][1].entered if self.stages else Count()

    @property
    def kept(self) -> Count:
        """Documents that every stage kept."""
        return self.stages[-1][1].kept if self.stages else Count()
