"""A small run as the driver leaves it: its documents are made up, its books balance."""

import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.ledger import Count, Spans, StageLedger
from curate.report import write_report

SIGNALS = [
    ("filter gopher", "gopher.word_count", 50, 100_000, "Words; Gopher keeps 50 to 100,000."),
    ("filter gopher", "gopher.mean_word_length", 3, 10, "Characters per word."),
    ("filter gopher", "gopher.stop_words", 2, math.inf, "Of eight English words."),
    ("filter fineweb", "fineweb.line_punctuation", 0.12, math.inf, "Lines that end properly."),
    ("filter fineweb", "fineweb.duplicate_lines", -math.inf, 0.1, "Characters in repeated lines."),
    ("filter fineweb", "fineweb.never_measured", 0, 1, "No document has a number."),
]
STAGES = ["read", "html.Extract", "language.Detect", "filter gopher", "filter fineweb"]
STAGES += ["minhash.Near", "pii.Scrub"]

LANGUAGES = ["en"] * 12 + ["de"] * 3 + ["fr"] * 2 + ["zh", "el"]
HOSTS = ["news.example.org"] * 9 + ["blog.example.com"] * 5 + ["docs.example.net"] * 3
WORDS = "the of and to that crawl page model token river stone light window garden paper morning"
WORDS += " people often write about small things which nobody reads twice"


class Documents:
    """Rows that go through the stages one after another."""

    def __init__(self, count: int, texts: list[str], urls: list[str]) -> None:
        rng = np.random.default_rng(7)
        self.rows = []
        for i in range(count):
            words = int(min(rng.lognormal(5.6, 1.2), 20_000)) + 1
            text = (
                texts[i] if i < len(texts) else " ".join(rng.choice(WORDS.split(), min(words, 120)))
            )
            host = HOSTS[i % len(HOSTS)] if i % 23 else f"rare-{i}.example"
            self.rows.append(
                {
                    "id": hashlib.blake2b(str(i).encode(), digest_size=16).digest(),
                    "origin_id": f"<urn:{i}>",
                    "url": urls[i] if i < len(urls) else f"https://{host}/a/page-{i}.html?q={i}#x",
                    "date": "2024-05-01T00:00:00Z",
                    "source": f"s3://bucket/crawl/part-{i % 3}.warc.gz",
                    "offset": i * 1000,
                    "text": text,
                    "language": LANGUAGES[i % len(LANGUAGES)],
                    "language_score": round(0.6 + 0.4 * float(rng.random()), 3),
                    "gopher.word_count": float(words),
                    "gopher.mean_word_length": float(rng.normal(5.1, 1.1)) if i % 40 else math.nan,
                    "gopher.stop_words": float(rng.integers(0, 9)),
                    "fineweb.line_punctuation": float(rng.beta(2, 3)),
                    "fineweb.duplicate_lines": float(rng.beta(0.4, 8)),
                    "pii_email": int(rng.poisson(0.2)),
                    "pii_phone": int(rng.poisson(0.05)),
                    "cluster_size": int(rng.geometric(0.6)),
                    "stage": "",
                    "dropped_by": None,
                    "value": None,
                    "bound": None,
                    "quarantined": None,
                }
            )
            self._judge(i, self.rows[-1])

    def _judge(self, i: int, row: dict) -> None:
        def drop(stage, reason, value=None, bound=None, fault=False):
            verdict = {"stage": stage, "dropped_by": reason, "value": value, "bound": bound}
            row.update(verdict, quarantined=fault)

        early = {
            "http.status": (i % 17 == 3, "read", 404.0, 200.0),
            "warc.truncated": (i % 97 == 5, "read", None, None, True),
            "html.empty": (i % 71 == 6, "html.Extract"),
            "language.score": (row["language_score"] < 0.65, "language.Detect", 0.6, 0.65),
        }
        for reason, (broken, stage, *how) in early.items():
            if broken:
                return drop(stage, reason, *how)
        for stage, name, low, high, _ in SIGNALS:
            value = row.get(name)
            if value is not None and not low <= value <= high:
                bound = low if not value > high else high
                return drop(stage, name, value, bound)
        if i % 11 == 4:
            row["duplicate_of"] = self.rows[0]["id"]
            return drop("minhash.Near", "minhash.near_duplicate", 0.86, 0.8)
        return None


def _columns_unknown(stage: str) -> set[str]:
    """Columns that a document does not have yet when it is dropped at this stage."""
    late = {"language": 2, "language_score": 2, "cluster_size": 6, "pii_email": 7, "pii_phone": 7}
    late |= {name: STAGES.index(where) for where, name, *_ in SIGNALS}
    return {name for name, first in late.items() if first > STAGES.index(stage)}


def a_run(
    folder: Path,
    count: int = 600,
    texts: list[str] | None = None,
    urls: list[str] | None = None,
    **names: str,
) -> Path:
    """Write the files of a run; `names` gives recipe, about, source and reason other values."""
    documents = Documents(count, texts or [], urls or []).rows
    for row in documents:
        if row["dropped_by"] == "html.empty" and "reason" in names:
            row["dropped_by"] = names["reason"]
        if "language" in names and row["language"] == "el":
            row["language"] = names["language"]
        if "source" in names and row["source"].endswith("part-2.warc.gz"):
            row["source"] = names["source"]
    _parquet(folder, documents)
    _books(folder, documents, names)
    _recipe(folder, names)
    _model(folder, names)
    return folder


def _parquet(folder: Path, documents: list[dict]) -> None:
    kept = [row for row in documents if row["dropped_by"] is None]
    aside = ("stage", "dropped_by", "value", "bound", "quarantined")
    schema = pa.schema(
        [
            *(("id", pa.binary(16)), ("origin_id", pa.string()), ("url", pa.string())),
            *(("date", pa.string()), ("source", pa.string()), ("offset", pa.int64())),
            *(("language", pa.string()), ("language_score", pa.float64())),
            *((name, pa.float64()) for _, name, *_ in SIGNALS[:-1]),
            *(("pii_email", pa.int32()), ("pii_phone", pa.int32()), ("cluster_size", pa.int32())),
            ("duplicate_of", pa.binary(16)),
        ]
    )
    with_text = schema.append(pa.field("text", pa.string()))
    for part in range(2):
        rows = [{k: v for k, v in row.items() if k not in aside} for row in kept[part::2]]
        _write(folder / "documents" / f"part-{part:05d}.parquet", rows, with_text)
    record = pa.schema(
        [
            *schema,
            *(("stage", pa.string()), ("dropped_by", pa.string()), ("value", pa.float64())),
            *(("bound", pa.float64()), ("quarantined", pa.bool_()), ("bytes", pa.int64())),
            ("excerpt", pa.string()),
        ]
    )
    dropped, seen = [], {}
    for row in documents:
        if row["dropped_by"] is None:
            continue
        late = _columns_unknown(row["stage"])
        seen[row["dropped_by"]] = seen.get(row["dropped_by"], 0) + 1
        excerpt = row["text"][:400] if seen[row["dropped_by"]] <= 4 else None
        entry = {k: (None if k in late else v) for k, v in row.items() if k != "text"}
        dropped.append({**entry, "bytes": len(row["text"].encode()), "excerpt": excerpt})
    _write(folder / "dropped" / "part-00000-pass-0.parquet", dropped, record)


def _write(path: Path, rows: list[dict], schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema), path, row_group_size=97)


def _stages(documents: list[dict]) -> list[dict]:
    stages = []
    left = documents
    for name in STAGES:
        book = StageLedger(entered=_count(left))
        out = [row for row in left if row["dropped_by"] and row["stage"] == name]
        for reason in sorted({row["dropped_by"] for row in out}):
            rows = [row for row in out if row["dropped_by"] == reason]
            fault = rows[0]["quarantined"]
            (book.quarantined if fault else book.dropped)[reason] = _count(rows)
        left = [row for row in left if row not in out]
        book.kept = _count(left)
        book.check(name)
        stages.append({"name": name, **book.to_json()})
    return stages


def _count(rows: list[dict]) -> Count:
    size = sum(len(row["text"].encode()) for row in rows)
    return Count.of(pa.array([row["id"] for row in rows], pa.binary(16)), size)


def _books(folder: Path, documents: list[dict], names: dict[str, str]) -> None:
    inputs = []
    for source in sorted({row["source"] for row in documents}):
        mine = [row for row in documents if row["source"] == source]
        size = 1000 * len(mine) + 700
        faults = 40_000 if "part-1" in source and size > 50_000 else 0
        spans = Spans(size, size - 700 - faults, faults, 700, {"record.request": len(mine)})
        if faults:
            spans.noticed = {"warc.length_mismatch": 2}
        inputs.append(
            {
                "source": source,
                "size": size,
                "identity": "sha256:" + "0" * 64,
                "spans": spans.to_json(),
                "stages": _stages(mine),
            }
        )
    stages = _stages(documents)
    kept = stages[-1]["kept"]
    tokens = {"documents": kept["documents"], "tokens": kept["bytes"] // 4}
    tokens |= {"bytes": kept["bytes"], "vocabulary": 4096, "tokenizer": _tokenizer(names)}
    ledger = {"format": 1, "recipe": names.get("recipe", "fineweb"), "inputs": inputs}
    _json(folder / "ledger.json", {**ledger, "stages": stages, "tokens": tokens})


def _tokenizer(names: dict[str, str]) -> dict:
    hostile = names.get("language", "en")
    group = {"documents": 3, "bytes": 999, "share": 1.0, "trained_share": 1.0, "weight": 1.0}
    trained = {"documents": 3, "bytes": 999, "pieces": 200, "distinct_pieces": 90}
    trained |= {"left_out": 10, "distinct_left_out": 10, "vocab_size": 4096, "missing": 4}
    trained |= {"normalization": "NFC", "groups": {hostile: group}}
    return {
        **{"fingerprint": "a1" * 32, "end_of_text": names.get("reason", "<|endoftext|>")},
        **{"pattern": [names.get("about", "gpt2")], "merges": 3839, "special_tokens": 1},
        **{"always": [names.get("source", "<think>")], "longest_token": 40, "loaded": None},
        **{"normalization": "NFC", "trained": trained},
    }


def _recipe(folder: Path, names: dict[str, str]) -> None:
    stages = []
    for stage in STAGES[1:]:
        entry = {"name": stage, "kind": f"x.{stage}", "settings": {}}
        signals = [
            {
                "name": name,
                "low": low if math.isfinite(low) else None,
                "high": high if math.isfinite(high) else None,
                "about": names.get("about", about),
                "source": "Gopher, Rae et al. 2021, appendix A.1.1",
            }
            for where, name, low, high, about in SIGNALS
            if where == stage
        ]
        stages.append({**entry, "signals": signals} if signals else entry)
    recipe = {
        "name": names.get("recipe", "fineweb"),
        "about": names.get("about", "Web pages as FineWeb filters them."),
        "source": "Penedo et al. 2024, arXiv:2406.17557",
        "stages": stages,
    }
    _json(folder / "recipe.json", recipe)
    times = {"read": 1.25, "html.Extract": 14.2, "filter gopher": 0.31, "minhash.Near": 2.4}
    run = {"workers": 2, "wall_seconds": 19.4, "documents_per_second": 31.0, "seconds": times}
    _json(folder / "run.json", run)


def _model(folder: Path, names: dict[str, str]) -> None:
    (folder / "model").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(3)
    lines = [
        json.dumps({"step": i, "loss": 2.9 + 5.4 * math.exp(-i / 60) + 0.08 * rng.normal()})
        for i in range(1, 301)
    ]
    (folder / "model" / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 301, "lo')
    sample = names.get("written", "The river was often read about by people which write a garden.")
    (folder / "model" / "sample.txt").write_text(sample)


def _json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1))


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return a_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def write_run():
    return a_run


PAYLOADS = [
    *(Path(__file__).with_name("hostile.txt").read_text().splitlines()),
    "\u202egnp.exe\u2066 turned \u2069",
    "\x1b]0;title\x07\x1b[31m red",
    "nul \x00 and bell \x07 and \x85 and \ufeff",
    "one\r\ntwo\u2028three",
]


@pytest.fixture(scope="session")
def payloads() -> list[str]:
    """What would act on a page or a terminal that let it."""
    return PAYLOADS


@pytest.fixture(scope="session")
def hostile_names() -> dict[str, str]:
    """Payloads in each place where a name from outside is shown."""
    names = ("recipe", "about", "reason", "language", "source", "written")
    return dict(zip(names, PAYLOADS, strict=False))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory, hostile_names) -> Path:
    """A run with every payload as a text and as a URL; its page quotes all that were kept."""
    texts = [PAYLOADS[i % len(PAYLOADS)] for i in range(600)]
    urls = [f"https://h.example/{text}" if i % 2 else text for i, text in enumerate(texts)]
    run = a_run(tmp_path_factory.mktemp("hostile"), texts=texts, urls=urls, **hostile_names)
    write_report(run, samples=700)
    return run
