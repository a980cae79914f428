"""What came of an ablation, as JSON tells it: the answer first, then all numbers behind it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curate.train_config import set_name
from tokenizer.dataset import TokenDataset
from trainer.ablation import AGAIN, FIRST, LADDER, LOW_RATE, SECOND, Trainings, planned
from trainer.controls import COPIES, Corruption
from trainer.evaluate import finite
from trainer.statistics import (
    MACRO,
    Difference,
    Losses,
    Verdict,
    bits_per_byte,
    differences,
    judged,
    noise,
    signed,
    worth,
)

MOST_EPOCHS = 4.0  # tokens seen more often teach less and less
FEW_DOCUMENTS = 20


def told(trainings: Trainings) -> dict[str, Any]:
    """All that came of it, as ablation.json holds it."""
    protocol, sizes = trainings.protocol, trainings.sizes()
    others = [trainings.losses(trainings.of(name)) for name in protocol.controls]
    rates = []
    for rate in (1.0, LOW_RATE):
        pair = tuple(trainings.losses(trainings.of(arm, rate)) for arm in (FIRST, SECOND))
        found = differences(pair[0], pair[1], sizes, others if rate == 1 else ())
        rates.append((protocol.settings.learning_rate * rate, pair, found))
    verdict = judged(rates[0][2][MACRO], rates[1][2][MACRO], protocol.margin)
    controls = [_control_told(trainings, name, others) for name in protocol.controls]
    verdict = unless_controls_fail(verdict, controls)
    worth_told = _worth_told(trainings)
    verdict = unless_nothing_is_learned(verdict, worth_told)
    known = noise([bits_per_byte(arm, sizes)[MACRO] for arm in (*rates[0][1], *others)])
    return {
        "format": "ablation",
        "version": 1,
        "answer": verdict.answer,
        "sentence": verdict.sentence,
        "arms": [_arm_told(trainings, name) for name in (FIRST, SECOND)],
        "held_out": [
            {"name": name, "documents": len(sizes[name]), "bytes": int(sizes[name].sum())}
            for name in trainings.held_out
        ],
        "tokens": protocol.tokens,
        "seeds": protocol.seeds,
        "margin": protocol.margin,
        "sigma": finite(known.sigma),
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
        "worth": worth_told,
        "controls": controls,
        "warnings": _warnings(trainings)
        + [one["missed"] for one in controls if one["missed"] not in verdict.sentence],
    }


def _arm_told(trainings: Trainings, name: str) -> dict[str, Any]:
    dataset = trainings.arms[name]
    losses = [(trainings.result(run) or {})["own_loss"] for run in trainings.of(name)]
    return {
        "arm": name,
        "name": set_name(dataset.folder),
        "documents": dataset.documents,
        "tokens": dataset.tokens,
        "bytes": dataset.manifest["bytes"],
        "epochs": trainings.protocol.tokens / dataset.tokens,
        "own_loss": sum(losses) / len(losses),
        "digest": dataset.digest,
    }


def _difference_told(name: str, found: Difference) -> dict[str, Any]:
    numbers = {key: finite(value) for key, value in asdict(found).items()}
    return {"domain": name, **numbers, "claimed": found.claimed}


def _control_told(trainings: Trainings, name: str, controls: Sequence[Losses]) -> dict[str, Any]:
    """What the protocol says of A against a control whose answer is known."""
    protocol = trainings.protocol
    names = protocol.controls
    others = [one for other, one in zip(names, controls, strict=True) if other != name]
    second = trainings.losses(trainings.of(SECOND))
    first = trainings.losses(trainings.of(FIRST))
    arms = first, controls[names.index(name)]
    found = differences(*arms, trainings.sizes(), [second, *others])[MACRO]
    expected = "no difference" if name == AGAIN else "worse"
    seen = ("better" if _wins(found) else "worse") if found.claimed else "no difference"
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
            f"up to {COPIES} of each"
        )
    if how.shuffled:
        return f"A with the words of {how.shuffled:.0%} of its documents in another order"
    return "A itself, with other seeds and in another order"


def _missed(name: str, found: Difference) -> str:
    told = f"{signed(found.value)} bits per byte, {signed(found.low)} to {signed(found.high)}"
    if name == AGAIN:
        return f"control: A with other seeds seems to be another corpus ({told}); take more seeds"
    if _wins(found):
        return (
            f"control: {name}, which harm, seem to be better ({told}); so short a training "
            "misleads, take more tokens"
        )
    return (
        f"control: {name} were not found ({told}); a harm as small as this one is not seen at this "
        "size: train on more tokens, or with more seeds"
    )


def _wins(found: Difference) -> bool:
    return found.claimed and found.value < 0


def unless_controls_fail(verdict: Verdict, controls: Sequence[dict[str, Any]]) -> Verdict:
    """The verdict, unless the protocol tells a corpus from itself or takes harm for good."""
    for control in controls:
        if control["seen"] == "better" or (control["name"] == AGAIN and not control["passed"]):
            return Verdict("undecided", f"not decided: {control['missed']}")
    return verdict


def unless_nothing_is_learned(verdict: Verdict, worth_told: dict[str, Any]) -> Verdict:
    """The verdict, unless it is a tie where even more tokens of the same make no difference."""
    if verdict.answer != "tie" or worth_told["tokens"] is not None:
        return verdict
    return Verdict(
        "undecided",
        "not decided: there is no difference, but more tokens of A make none here either; take "
        "more with --tokens",
    )


def _worth_told(trainings: Trainings) -> dict[str, Any]:
    """The ladder of A, and where on it B stands."""
    tokens = trainings.protocol.tokens
    ladder = {}
    for share in (*LADDER, 1.0):
        runs = trainings.of(FIRST, share=share)
        steps = runs[0].settings(trainings.protocol).steps
        ladder[steps * trainings.protocol.step_tokens] = float(trainings.means(runs)[MACRO].mean())
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


def _warnings(trainings: Trainings) -> list[str]:
    """What makes the answer worth less."""
    arms, held_out, protocol = trainings.arms, trainings.held_out, trainings.protocol
    same = arms[FIRST].digest == arms[SECOND].digest
    found = ["A and B are the same tokens, so that this is a test of the protocol alone"] * same
    for name in (FIRST, SECOND):
        epochs = protocol.tokens / arms[name].tokens
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
    if protocol.corruptions and not trainings.has_words:
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
