"""The steps behind the last stage: a tokenizer, tokens in one order, and the parts of shards."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate import tokenizing
from curate.pieces import Pieces
from curate.plan import Plan
from curate.store import finished, sealed
from curate.survey import Task
from curate.unit import ENCODE, WRITE
from tokenizer import shards, shuffle, train
from tokenizer.vocabulary import Vocabulary


@dataclass(frozen=True)
class TokenSteps:
    """What is made of the documents that are kept; `files` and `texts` get what comes of it."""

    plan: Plan
    pieces: Pieces
    files: dict[str, Path]  # of the output folder, by their names there
    texts: dict[str, bytes]
    memory: int | None  # bytes, to train the tokenizer

    def run(
        self, pieces: list[str], kept: list[int], loaded: Vocabulary | None
    ) -> dict[str, Any] | None:
        """Tokenizer and token shards of the final documents, as the ledger has them, or None.

        A unit has a piece, in which so many documents are kept.
        """
        settings = self.plan.recipe.tokenizer
        if settings is None or sum(kept) == 0:
            return None
        key = self._tokenizer(settings, pieces, loaded)
        files = self.pieces.find(key)["files"]
        digests = {name: entry["sha256"] for name, entry in files.items()}
        tasks: list[Task] = []
        for unit, piece, documents in zip(self.plan.units, pieces, kept, strict=True):
            if documents == 0:
                continue
            content = self.pieces.find(piece)["files"]["documents.parquet"]["sha256"]
            task: Task = {
                "kind": "tokens",
                "key": self.plan.tokens_key(content, digests),
                "source": unit.name,
                "documents": str(self.pieces.work.path(piece, "documents.parquet")),
                "tokenizer": str(self.pieces.work.path(key)),
            }
            tasks.append(task)
        self.pieces.make(tasks, ENCODE, sum(kept), "documents")
        for name in files:
            self.files[f"tokenizer/{name}"] = self.pieces.work.path(key, name)
        facts = self.pieces.find(key)["tokenizer"]
        kind = shards.token_type(facts["vocabulary"])
        layout = self._layout([task["key"] for task in tasks], np.dtype(kind).itemsize)
        counts = self.pieces.find(layout)["documents"]
        parts: list[Task] = [
            {
                "kind": "part",
                "key": self.plan.part_key(layout, part),
                "source": f"tokens/{shuffle.part_name(part)}",
                "part": part,
                "layout": str(self.pieces.work.path(layout)),
                "pieces": str(self.pieces.work.pieces),
                "dtype": kind,
            }
            for part in range(len(counts))
        ]
        self.pieces.make(parts, WRITE, sum(counts), "documents")
        return self._manifest(facts, [task["key"] for task in parts])

    def _layout(self, pieces: list[str], width: int) -> str:
        """Decide which documents are in which part of the shards."""
        key = self.plan.layout_key(pieces)
        most = max(self.plan.recipe.order.shard_bytes // width, 1)
        lay_out(self.pieces, key, runs_of(self.pieces, pieces), most)
        return key

    def _tokenizer(
        self, settings: train.Train, pieces: list[str], loaded: Vocabulary | None
    ) -> str:
        """Train the tokenizer from the pieces that all units counted, or load the one named."""
        counted = [self.pieces.work.path(piece, train.COUNTS_FILE) for piece in pieces]
        if loaded:
            key = self.plan.tokenizer_key([loaded.fingerprint()])
        else:
            key = self.plan.tokenizer_key([self.pieces.digest(path) for path in counted])
        if self.pieces.work.find(key) is None:
            label = "write tokenizer" if loaded else "train tokenizer"
            self.pieces.events.begin(label, settings.size, "tokens")
            started, said = time.perf_counter(), None
            if loaded is None:
                loaded, said = train.learn(
                    counted,
                    settings,
                    self.memory,
                    lambda tokens: self.pieces.events.advance({"tokens": tokens}),
                )
                for line in train.remarks(said):
                    self.pieces.events.note(f"tokenizer: {line}")
            folder = self.pieces.work.scratch(key)
            tokenizing.save(loaded, folder)
            facts = tokenizing.facts(loaded, settings, said)
            seconds = {label: time.perf_counter() - started}
            piece = {"files": finished(folder), "seconds": seconds, "tokenizer": facts}
            self.pieces.work.publish(key, folder, piece)
            self.pieces.events.end()
        self.pieces.spend(key)
        return key

    def _manifest(self, facts: dict[str, Any], keys: list[str]) -> dict[str, Any]:
        parts = []
        for key in keys:
            parts.append(shards.PartSummary.from_json(self.pieces.find(key)["part"]))
            for name in parts[-1].files:
                self.files[f"tokens/{name}"] = self.pieces.work.path(key, name)
        told = self.plan.recipe.order.told(facts["probe"])
        words = facts["fingerprint"]
        manifest = shards.manifest(parts, words, facts["vocabulary"], facts["end_of_text_id"], told)
        self.texts["tokens/manifest.json"] = sealed(manifest)
        return {name: manifest[name] for name in ("documents", "tokens", "bytes")} | {
            "vocabulary": facts["vocabulary"],
            "tokenizer": facts,
        }


def runs_of(pieces: Pieces, keys: list[str]) -> list[str]:
    """The runs of encoded pieces, as they are called below all pieces."""
    return [f"{key}/{run}" for key in keys for run in pieces.find(key)["runs"]]


def lay_out(pieces: Pieces, key: str, runs: list[str], most: int) -> list[int]:
    """Decide which documents of these runs are in which part of the shards; how many in each.

    A part has at most so many tokens.
    """
    if pieces.work.find(key) is None:
        started, folder = time.perf_counter(), pieces.work.scratch(key)
        documents = shuffle.lay_out(pieces.work.pieces, runs, folder, most)
        seconds = {"order documents": time.perf_counter() - started}
        piece = {"files": finished(folder), "seconds": seconds, "documents": documents}
        pieces.work.publish(key, folder, piece)
    pieces.spend(key)
    found: list[int] = pieces.find(key)["documents"]
    return found
