"""Whether one corpus teaches more than another: small models trained on both, many times."""

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.code import TRAINER, code
from curate.errors import InputError, ShardError
from curate.progress import Watcher
from curate.store import describe, digest, disk_errors, intact, owned, sealed, write_atomic
from tokenizer.dataset import TokenDataset
from tokenizer.vocabulary import Vocabulary
from trainer.checkpoint import identity
from trainer.controls import COPIES, Corruption, corrupted
from trainer.evaluate import document_losses
from trainer.sample import load_model
from trainer.settings import TrainSettings
from trainer.statistics import (
    MACRO,
    Difference,
    Losses,
    Sizes,
    Verdict,
    bits_per_byte,
    differences,
    judged,
    noise,
    signed,
    worth,
)
from trainer.train import METRICS, TrainProgress, pick_device, train

FIRST, SECOND, AGAIN = "A", "B", "A again"
CORRUPTIONS = {
    "duplicates": Corruption(duplicated=0.2),
    "shuffled words": Corruption(shuffled=0.1),
}
LADDER = (0.25, 0.5)  # of the tokens; the whole is there anyway
LOW_RATE = 0.1  # of the learning rate
MOST_EPOCHS = 4.0  # tokens seen more often teach less and less
FEW_DOCUMENTS = 20
LOSSES, RESULT = "losses.parquet", "result.json"
OWN_SHARE = 0.1  # of the steps, at the end, whose mean is the loss on its own text


@dataclass(frozen=True)
class Corpora:
    """Token shards of one tokenizer: two to compare, and those that neither was trained on."""

    first: Path
    second: Path
    held_out: Mapping[str, Path]
    vocabulary: Vocabulary | None = None  # what a word is, where it is known


@dataclass(frozen=True)
class Protocol:
    """How they are compared."""

    settings: TrainSettings
    seeds: int = 3
    margin: float = 0.01  # bits per byte; a smaller difference is of no interest
    held_out_tokens: int = 1_000_000  # of each domain, at most
    corruptions: Mapping[str, Corruption] | None = None  # None: no controls at all


@dataclass(frozen=True)
class Run:
    """One training: what on, which seed, at which part of the learning rate and of the tokens."""

    arm: str
    seed: int
    rate: float = 1.0
    share: float = 1.0

    @property
    def name(self) -> str:
        """Its folder."""
        parts = [self.arm.replace(" ", "-"), f"seed-{self.seed}"]
        parts += [f"rate-{self.rate:g}"] if self.rate != 1 else []
        parts += [f"tokens-{self.share:g}"] if self.share != 1 else []
        return "_".join(parts)

    def settings(self, protocol: Protocol) -> TrainSettings:
        """How it is trained; shorter runs have the same schedule, squeezed."""
        given = protocol.settings
        steps, warmup = (round(self.share * number) for number in (given.steps, given.warmup))
        return replace(
            given,
            seed=given.seed + self.seed,
            learning_rate=given.learning_rate * self.rate,
            steps=max(1, steps),
            warmup=warmup,
        )


def ablate(corpora: Corpora, output: Path, protocol: Protocol, watcher: Watcher) -> dict[str, Any]:
    """Train on both corpora and on the controls, judge on what is held out; what came of it.

    Every training has a folder in output/runs, which keeps its losses: the same call again goes on
    where the last one was cut off.
    """
    held_out = {name: TokenDataset(path) for name, path in corpora.held_out.items()}
    arms = {FIRST: TokenDataset(corpora.first), SECOND: TokenDataset(corpora.second)}
    _check(arms, held_out)
    with disk_errors(output):
        output.mkdir(parents=True, exist_ok=True)
    with owned(output):
        most = protocol.settings.steps * _step_tokens(protocol)
        for name, how in (protocol.corruptions or {}).items():
            folder = output / "controls" / name.replace(" ", "-")
            arms[name] = _control(arms[FIRST], how, (most, corpora.vocabulary), folder)
        arms |= {AGAIN: arms[FIRST]} if protocol.corruptions is not None else {}
        trainings = _Trainings(arms, held_out, output / "runs", protocol)
        trainings.finish(watcher)
    return _told(trainings, _warnings(arms, held_out, corpora.vocabulary, protocol))


def planned(protocol: Protocol) -> list[Run]:
    """All trainings, in an order in which no arm is always the first: A1 B1 B2 A2 A3 B3."""
    seeds = range(1, protocol.seeds + 1)
    runs = []
    for rate in (1.0, LOW_RATE):
        for seed in seeds:
            pair = (FIRST, SECOND) if seed % 2 else (SECOND, FIRST)
            runs += [Run(arm, seed, rate) for arm in pair]
    if protocol.corruptions is not None:
        runs += [Run(AGAIN, seed + protocol.seeds) for seed in seeds]
        runs += [Run(name, seed) for name in protocol.corruptions for seed in seeds]
    return runs + [Run(FIRST, seed, share=share) for share in LADDER for seed in seeds]


def _step_tokens(protocol: Protocol) -> int:
    return protocol.settings.batch * protocol.settings.context


def _check(arms: Mapping[str, TokenDataset], held_out: Mapping[str, TokenDataset]) -> None:
    """Refuse what cannot be compared."""
    if not held_out:
        raise InputError("nothing is held out; name text of neither corpus with --eval")
    datasets = [*arms.values(), *held_out.values()]
    for dataset in datasets:
        if dataset.manifest["vocabulary"] != datasets[0].manifest["vocabulary"]:
            raise ShardError(
                f"{dataset.folder}: of another tokenizer than {datasets[0].folder}; encode both "
                "with one of them, as `curate shards write` does"
            )
        if not dataset.documents:
            raise ShardError(f"{dataset.folder}: no documents")


def _control(
    first: TokenDataset, how: Corruption, size: tuple[int, Vocabulary | None], folder: Path
) -> TokenDataset:
    """A corrupted copy of the first corpus, made unless it is there."""
    most, vocabulary = size
    fingerprint = vocabulary.fingerprint() if vocabulary else ""
    key = digest([first.digest, asdict(how), most, fingerprint, code(TRAINER)])
    mark = folder.with_name(f"{folder.name}.key")
    if mark.exists() and mark.read_text() == key:
        return TokenDataset(folder)
    shutil.rmtree(folder, ignore_errors=True)
    made = corrupted(first, how, most, vocabulary, folder)
    write_atomic(mark, key.encode())
    return made


@dataclass(frozen=True)
class _Trainings:
    """All trainings of an ablation, and their losses on what is held out."""

    arms: Mapping[str, TokenDataset]
    held_out: Mapping[str, TokenDataset]
    folder: Path
    protocol: Protocol

    def finish(self, watcher: Watcher) -> None:
        """Make those that are not there yet."""
        left = [run for run in planned(self.protocol) if self.result(run) is None]
        steps = sum(run.settings(self.protocol).steps for run in left)
        watcher.begin("ablation", steps * _step_tokens(self.protocol), "tokens")
        for run in left:
            self._make(run, watcher)
            mean = float(self.means([run])[MACRO][0])
            rate = run.settings(self.protocol).learning_rate
            watcher.note(f"{run.name}: {mean:.4f} bits per byte (learning rate {rate:g})")
        watcher.end()

    def result(self, run: Run) -> dict[str, Any] | None:
        """What a finished training left; None if it is to be made."""
        found = intact(self.folder / run.name / RESULT)
        return found if found and found["key"] == self._key(run) else None

    def losses(self, runs: Sequence[Run]) -> Losses:
        """Bits of every held-out document, a row for each of these trainings."""
        tables = [pq.read_table(self.folder / run.name / LOSSES) for run in runs]
        return {
            name: np.array([_of(table, name)["nats"].to_numpy() / math.log(2) for table in tables])
            for name in self.held_out
        }

    def sizes(self) -> Sizes:
        """Bytes of every held-out document."""
        table = pq.read_table(self.folder / planned(self.protocol)[0].name / LOSSES)
        return {name: _of(table, name)["n_bytes"].to_numpy() for name in self.held_out}

    def means(self, runs: Sequence[Run]) -> dict[str, Any]:
        """Bits per byte of every domain and of their mean, a number for each training."""
        return bits_per_byte(self.losses(runs), self.sizes())

    def of(self, arm: str, rate: float = 1.0, share: float = 1.0) -> list[Run]:
        """The trainings of an arm, by seed."""
        runs = [run for run in planned(self.protocol) if run.arm == arm]
        return sorted(
            (run for run in runs if (run.rate, run.share) == (rate, share)),
            key=lambda run: run.seed,
        )

    def _key(self, run: Run) -> str:
        """A digest of all that decides its losses."""
        return digest(
            {
                "settings": identity(run.settings(self.protocol)),
                "tokens": self.arms[run.arm].digest,
                "held out": {name: one.digest for name, one in self.held_out.items()},
                "held-out tokens": self.protocol.held_out_tokens,
                "code": code(TRAINER),
            }
        )

    def _make(self, run: Run, watcher: Watcher) -> None:
        """Train, judge, and keep the losses alone."""
        folder, key, settings = self.folder / run.name, self._key(run), run.settings(self.protocol)
        mark, done = folder / "key", 0
        if not mark.exists() or mark.read_text() != key:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            write_atomic(mark, key.encode())

        def progress(state: TrainProgress) -> None:
            nonlocal done
            watcher.advance({"tokens": (state.step - done) * _step_tokens(self.protocol)})
            done = state.step

        summary = train(self.arms[run.arm].folder, folder, settings, progress)
        model = load_model(folder)[0].to(pick_device(settings.device))
        limit = self.protocol.held_out_tokens
        tables = []
        for name, dataset in self.held_out.items():
            table = document_losses(model, dataset, limit)
            tables.append(table.add_column(0, "domain", pa.array([name] * len(table))))
        pq.write_table(pa.concat_tables(tables), folder / LOSSES)
        result = {
            "key": key,
            "parameters": summary.parameters,
            "own_loss": _own_loss(folder / METRICS),
            "files": {LOSSES: describe(folder / LOSSES)},
        }
        write_atomic(folder / RESULT, sealed(result))
        _keep(folder, (LOSSES, RESULT, METRICS, mark.name))


def _of(table: pa.Table, domain: str) -> pa.Table:
    """The rows of a domain."""
    return table.filter(pc.equal(table["domain"], domain))


def _own_loss(metrics: Path) -> float:
    """The mean training loss of the last steps, in nats per token of the arm's own text."""
    losses: list[float] = [json.loads(line)["loss"] for line in metrics.read_text().splitlines()]
    last = losses[-max(1, round(OWN_SHARE * len(losses))) :]
    return sum(last) / len(last)


def _keep(folder: Path, names: tuple[str, ...]) -> None:
    """Remove all else, such as weights, which are larger than the corpus."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in names:
            path.unlink()


def _warnings(
    arms: Mapping[str, TokenDataset],
    held_out: Mapping[str, TokenDataset],
    vocabulary: Vocabulary | None,
    protocol: Protocol,
) -> list[str]:
    """What makes the answer worth less."""
    tokens = protocol.settings.steps * _step_tokens(protocol)
    found = []
    for name in (FIRST, SECOND):
        epochs = tokens / arms[name].tokens
        if epochs > MOST_EPOCHS:
            found.append(
                f"{name} has {arms[name].tokens:,} tokens, which are seen {epochs:.1f} times; "
                f"more than {MOST_EPOCHS:g} times teach ever less, so train on fewer tokens"
            )
        for domain, dataset in held_out.items():
            if shared := _shared(arms[name], dataset):
                found.append(
                    f"{shared:,} of {dataset.documents:,} documents of {domain} are in {name} "
                    "too; hold out others"
                )
    for domain, dataset in held_out.items():
        if dataset.documents < FEW_DOCUMENTS:
            found.append(
                f"{domain} has {dataset.documents} documents, too few for an interval to mean much"
            )
    if protocol.corruptions and vocabulary is None:
        found.append(
            "no tokenizer is beside the tokens of A, so that tokens are shuffled instead of words; "
            "name it with --tokenizer"
        )
    return found


def _shared(arm: TokenDataset, held_out: TokenDataset) -> int:
    """How many held-out documents have the text of one that was trained on."""
    wanted = pa.concat_arrays([*_hashes(held_out)]).drop_null()
    there = pa.concat_arrays(
        [hashes.filter(pc.is_in(hashes, value_set=wanted)) for hashes in _hashes(arm)]
    )
    return int(pc.sum(pc.is_in(wanted, value_set=there), min_count=0).as_py())


def _hashes(dataset: TokenDataset) -> Iterator[pa.Array]:
    """The content hashes of a part's documents."""
    for part in dataset.manifest["parts"]:
        path = dataset.folder / f"{part['name']}.docs.parquet"
        yield pq.read_table(path, columns=["content_hash"])["content_hash"].combine_chunks()


def _told(trainings: _Trainings, warnings: list[str]) -> dict[str, Any]:
    """All that came of it, as ablation.json holds it."""
    protocol, sizes = trainings.protocol, trainings.sizes()
    others = [trainings.losses(trainings.of(name)) for name in _control_names(protocol)]
    rates = []
    for rate in (1.0, LOW_RATE):
        pair = tuple(trainings.losses(trainings.of(arm, rate)) for arm in (FIRST, SECOND))
        found = differences(pair[0], pair[1], sizes, others if rate == 1 else ())
        rates.append((protocol.settings.learning_rate * rate, pair, found))
    verdict = judged(rates[0][2][MACRO], rates[1][2][MACRO], protocol.margin)
    controls = [_control_told(trainings, name, others) for name in _control_names(protocol)]
    verdict = _unless_controls_fail(verdict, controls)
    tokens = protocol.settings.steps * _step_tokens(protocol)
    known = noise([bits_per_byte(arm, sizes)[MACRO] for arm in (*rates[0][1], *others)])
    return {
        "format": "ablation",
        "version": 1,
        "answer": verdict.answer,
        "sentence": verdict.sentence,
        "arms": [_arm_told(trainings, name, tokens) for name in (FIRST, SECOND)],
        "held_out": [
            {"name": name, "documents": len(sizes[name]), "bytes": int(sizes[name].sum())}
            for name in trainings.held_out
        ],
        "tokens": tokens,
        "seeds": protocol.seeds,
        "margin": protocol.margin,
        "sigma": _finite(known.sigma),
        "freedom": known.freedom,
        "parameters": (trainings.result(planned(protocol)[0]) or {})["parameters"],
        "settings": asdict(protocol.settings),
        "rates": [
            {
                "learning_rate": rate,
                "differences": [_difference_told(*one) for one in found.items()],
                "bits_per_byte": {
                    arm: {name: seeds.tolist() for name, seeds in bits_per_byte(one, sizes).items()}
                    for arm, one in zip((FIRST, SECOND), pair, strict=True)
                },
            }
            for rate, pair, found in rates
        ],
        "worth": _worth_told(trainings, tokens),
        "controls": controls,
        "warnings": warnings + [one["missed"] for one in controls if one["missed"]],
    }


def _control_names(protocol: Protocol) -> list[str]:
    return [] if protocol.corruptions is None else [AGAIN, *protocol.corruptions]


def _arm_told(trainings: _Trainings, name: str, tokens: int) -> dict[str, Any]:
    dataset = trainings.arms[name]
    losses = [(trainings.result(run) or {})["own_loss"] for run in trainings.of(name)]
    folder = dataset.folder.resolve()
    return {
        "arm": name,
        "name": folder.parent.name if folder.name == "tokens" else folder.name,
        "documents": dataset.documents,
        "tokens": dataset.tokens,
        "bytes": dataset.manifest["bytes"],
        "epochs": tokens / dataset.tokens,
        "own_loss": sum(losses) / len(losses),
        "digest": dataset.digest,
    }


def _difference_told(name: str, found: Difference) -> dict[str, Any]:
    numbers = {key: _finite(value) for key, value in asdict(found).items()}
    return {"domain": name, **numbers, "claimed": found.claimed}


def _finite(value: float) -> float | None:
    """A number as JSON has it."""
    return value if math.isfinite(value) else None


def _control_told(trainings: _Trainings, name: str, controls: Sequence[Losses]) -> dict[str, Any]:
    """What the protocol says of A against a control whose answer is known."""
    protocol = trainings.protocol
    names = _control_names(protocol)
    others = [one for other, one in zip(names, controls, strict=True) if other != name]
    second = trainings.losses(trainings.of(SECOND))
    first = trainings.losses(trainings.of(FIRST))
    arms = first, controls[names.index(name)]
    found = differences(*arms, trainings.sizes(), [second, *others])[MACRO]
    expected = "no difference" if name == AGAIN else "worse"
    seen = ("better" if found.value < 0 else "worse") if found.claimed else "no difference"
    how = (protocol.corruptions or {}).get(name, Corruption())
    return {
        "name": name,
        "about": _corruption_told(how),
        "expected": expected,
        "seen": seen,
        "passed": seen == expected,
        "missed": "" if seen == expected else _missed(name, found),
        **_difference_told(MACRO, found),
    }


def _corruption_told(how: Corruption) -> str:
    if how.duplicated:
        return (
            f"A with {how.duplicated:.0%} of its documents replaced by copies of few others, "
            f"{COPIES} of each"
        )
    if how.shuffled:
        return f"A with the words of {how.shuffled:.0%} of its documents in another order"
    return "A itself, with other seeds and in another order"


def _missed(name: str, found: Difference) -> str:
    told = f"{signed(found.value)} bits per byte, {signed(found.low)} to {signed(found.high)}"
    if name == AGAIN:
        return f"control: A with other seeds seems to be another corpus ({told}); take more seeds"
    return (
        f"control: {name} were not found ({told}); a harm as small as this one is not seen at this "
        "size: train on more tokens, or with more seeds"
    )


def _unless_controls_fail(verdict: Verdict, controls: Sequence[dict[str, Any]]) -> Verdict:
    """The verdict, unless the protocol tells a corpus from itself."""
    for control in controls:
        if control["name"] == AGAIN and not control["passed"]:
            return Verdict("undecided", f"not decided: {control['missed']}")
    return verdict


def _worth_told(trainings: _Trainings, tokens: int) -> dict[str, Any]:
    """The ladder of A, and where on it B stands."""
    ladder = {}
    for share in (*LADDER, 1.0):
        runs = trainings.of(FIRST, share=share)
        steps = runs[0].settings(trainings.protocol).steps
        ladder[steps * _step_tokens(trainings.protocol)] = float(
            trainings.means(runs)[MACRO].mean()
        )
    reached = float(trainings.means(trainings.of(SECOND))[MACRO].mean())
    found = worth(ladder, reached)
    equal = f"{found.bound} {found.tokens:,.0f}".strip() if found else ""
    return {
        "ladder": [{"tokens": step, "bits_per_byte": value} for step, value in ladder.items()],
        "reached": reached,
        "tokens": found.tokens if found else None,
        "bound": found.bound if found else "",
        "share": found.tokens / tokens if found else None,
        "sentence": f"B at {tokens:,} tokens equals A at {equal} tokens"
        if found
        else "More tokens of A are not better on the ladder, so that B's worth cannot be told",
    }
