"""How much each group of texts counts: weights for languages or sources that are not in balance.

A weight is a whole number of 65,536ths, so weighted counts are exact: the same for any order and
any split of the input, with nothing rounded but the weights themselves.
"""

from collections.abc import Mapping
from decimal import Decimal, localcontext

from curate.errors import InputError
from tokenizer.counts import Totals

ONE = 1 << 16


def weights_of(totals: Totals, alpha: float, ratios: Mapping[str, float]) -> dict[str, int]:
    """The weight of each group: its share of all bytes becomes share^alpha, or its ratio.

    The sum stays as large as the text. A group that `ratios` do not name weighs nothing.
    """
    sizes = {group: size for group, (_, size) in totals.items() if size}
    every = sum(sizes.values())
    with localcontext() as context:
        # Powers of decimals are the same on every machine; those of floats need not be.
        context.prec = 40
        if ratios:
            wanted = {group: Decimal(str(ratios.get(group, 0))) for group in sizes}
        else:
            power = Decimal(str(alpha))
            wanted = {group: (Decimal(size) / every) ** power for group, size in sizes.items()}
        total = sum(wanted.values(), Decimal(0))
        if sizes and not total:
            there = ", ".join(sorted(repr(group) for group in sizes))
            raise InputError(f"tokenizer.ratios: none of the groups that there are: {there}")
        weights = dict.fromkeys(totals, 0)
        for group, part in wanted.items():
            weights[group] = round(ONE * part / total * every / sizes[group])
            if part and not weights[group]:
                raise InputError(
                    f"tokenizer: {group!r} would count less than 1/{ONE} of its text; leave it out"
                )
    if sum(totals[group][1] * weights[group] for group in totals) >= 1 << 63:
        raise InputError("tokenizer: these ratios make counts that pass 63 bits; use milder ones")
    return weights


def shares_of(totals: Totals, weights: Mapping[str, int]) -> dict[str, dict[str, float]]:
    """What each group has of the text, and what it counts in training."""
    every = sum(size for _, size in totals.values())
    weighted = sum(totals[group][1] * weights[group] for group in totals)
    return {
        group: {
            "documents": totals[group][0],
            "bytes": totals[group][1],
            "share": totals[group][1] / max(every, 1),
            "trained_share": totals[group][1] * weights[group] / max(weighted, 1),
            "weight": weights[group] / ONE,
        }
        for group in sorted(totals)
    }
