"""Agreement with a peer, document for document and rule for rule; expected are no disagreements.

    python -m benchmarks.agreement --peer datatrove [--rows 2000] [--examples 5]

A peer has two files. `peers/agree_NAME.py` runs under the peer's interpreter with --texts and
--result: it reads the corpus (gzipped JSON lines: id, language, text) and writes one JSON line a
document, in that order: {rule: answer}. `agree_NAME.py` here has `ours(batch)`, which gives for
each rule a list of our answers to a batch of texts, and `excuse(rule, text, theirs, mine)`, which
says why a disagreement is none of ours, or "". Answers are numbers, strings, booleans or null;
where the original fails on a text, its script answers {"error": "ZeroDivisionError"}.
"""

import argparse
import gzip
import hashlib
import importlib
import json
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from benchmarks.agreement_corpus import CACHE, CORPUS, Text, build, corpus
from benchmarks.agreement_hostile import MARK
from benchmarks.peers import environments
from curate.schema import TEXT

BATCH = 200  # texts


@dataclass
class Tally:
    """What became of one rule over the corpus."""

    agreed: int = 0
    failed: Counter[str] = field(default_factory=Counter)  # the original, by its error
    excused: Counter[str] = field(default_factory=Counter)  # by reason
    disagreed: list[tuple[Text, Any, Any]] = field(default_factory=list)  # theirs, ours


def theirs(peer: environments.Peer) -> Iterator[dict[str, Any]]:
    """The peer's answers, from the cache where corpus, script and versions are the same."""
    script = environments.HERE / f"agree_{peer.name}.py"
    key = hashlib.sha256()
    for path in (CORPUS, script, environments.HERE / f"{peer.name}.lock"):
        key.update(path.read_bytes())
    result = CACHE / f"agreement-{peer.name}-{key.hexdigest()[:16]}.jsonl.gz"
    if not result.is_file():
        print(f"{peer.title} answers; this takes minutes ...", file=sys.stderr)
        part = result.with_suffix(".part")
        command = [str(peer.python), str(script), "--texts", str(CORPUS), "--result", str(part)]
        subprocess.run(command, check=True)
        part.rename(result)
    with gzip.open(result, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def ours(module: Any, texts: list[Text]) -> Iterator[dict[str, Any]]:
    """Our answers, document by document."""
    for first in range(0, len(texts), BATCH):
        column = pa.array([text.text for text in texts[first : first + BATCH]], pa.string())
        answers: dict[str, list[Any]] = module.ours(pa.RecordBatch.from_pydict({TEXT: column}))
        for row in range(len(column)):
            yield {rule: answer[row] for rule, answer in answers.items()}


def same(one: Any, other: Any) -> bool:
    """Whether two answers are equal; undefined is equal to undefined."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def compared(module: Any, texts: list[Text], peer: environments.Peer) -> dict[str, Tally]:
    """The tally of each rule."""
    tallies: dict[str, Tally] = {}
    answers = zip(texts, islice(theirs(peer), len(texts)), ours(module, texts), strict=True)
    for text, their_answers, our_answers in answers:
        if their_answers.keys() != our_answers.keys():
            odd = sorted(their_answers.keys() ^ our_answers.keys())
            sys.exit(f"only one side answers {', '.join(odd)}")
        for rule, answer in their_answers.items():
            tally = tallies.setdefault(rule, Tally())
            mine = our_answers[rule]
            if isinstance(answer, dict):
                tally.failed[answer["error"]] += 1
            elif same(answer, mine):
                tally.agreed += 1
            elif reason := module.excuse(rule, text.text, answer, mine):
                tally.excused[reason] += 1
            else:
                tally.disagreed.append((text, answer, mine))
    return tallies


def shown(answer: Any) -> str:
    """An answer, short enough for a line."""
    text = repr(answer)
    return text if len(text) <= 60 else f"{text[:57]}..."


def main() -> None:
    """Print the tallies, and examples of disagreements; exit 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--rows", type=int, default=0, help="only the first so many")
    parser.add_argument("--examples", type=int, default=3, help="of each rule")
    given = parser.parse_args()
    module = importlib.import_module(f"benchmarks.agree_{given.peer}")
    peer: environments.Peer = module.PEER
    if problem := environments.install(peer):
        sys.exit(f"{peer.title}: {problem}")
    build()
    texts = corpus()[: given.rows or None]
    real = [text for text in texts if not text.id.startswith(f"{MARK}/")]
    languages = len({text.language for text in real} - {""})
    size = sum(len(text.text.encode()) for text in texts) / 1e6
    print(
        f"{peer.title}: {len(real)} real documents, {languages} languages named, "
        f"{len(texts) - len(real)} hostile ones; {size:.1f} MB\n"
    )
    tallies = compared(module, texts, peer)
    width = max(map(len, tallies))
    print(f"{'rule':{width}} {'agree':>7} {'peer fails':>10} {'excused':>8} {'disagree':>9}")
    for rule, tally in tallies.items():
        failed, excused = tally.failed.total(), tally.excused.total()
        disagreed = len(tally.disagreed)
        print(f"{rule:{width}} {tally.agreed:7} {failed:10} {excused:8} {disagreed:9}")
    for rule, tally in tallies.items():
        for reason, count in (*tally.failed.items(), *tally.excused.items()):
            print(f"\n{rule}: {count} x {reason}", end="")
        for text, answer, mine in tally.disagreed[: given.examples]:
            print(f"\n{rule}: {text.id}: {shown(answer)}, ours {shown(mine)}", end="")
    print()
    sys.exit(any(tally.disagreed for tally in tallies.values()))


if __name__ == "__main__":
    main()
