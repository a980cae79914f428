"""An ablation as one self-contained page, drawn from its JSON alone."""

from typing import Any

from curate.report.charts import WIDTH, Axis, short
from curate.report.page import rendered
from curate.report.tokenizers import SHAPES

# In units of an SVG's view box.
WHOLE, LABELS, ROW = 880.0, 150.0, 26.0
LADDER_HEIGHT, LEFT = 240.0, 60.0
TITLES = {
    "better": "B is better",
    "worse": "B is worse",
    "tie": "No difference",
    "undecided": "Not decided",
}


def page(said: dict[str, Any]) -> str:
    """The page about an ablation, as `trainer/ablated.py` tells it."""
    return rendered(
        "ablation.html",
        said=said,
        title=TITLES[said["answer"]],
        names=[f"{arm['arm']}: {arm['name']}" for arm in said["arms"]],
        domains=forest(
            [
                (domain["domain"], [rate["differences"][row] for rate in said["rates"]])
                for row, domain in enumerate(said["rates"][0]["differences"])
            ],
            said["margin"],
        ),
        controls=forest([(one["name"], [one]) for one in said["controls"]], said["margin"]),
        ladder=ladder(said),
        shapes=[shape(6, 6) for shape in SHAPES],
        bits=bits,
        difference=difference,
    )


def bits(value: float | None) -> str:
    """Bits per byte."""
    return "–" if value is None else f"{value:.4f}"


def difference(value: float | None) -> str:
    """A difference in bits per byte, with its sign."""
    return "–" if value is None else f"{value:+.4f}".replace("-", "−")


def forest(rows: list[tuple[str, list[dict[str, Any]]]], margin: float) -> dict[str, Any]:
    """A row for each name, in it a mark and a whisker for each difference; empty without rows."""
    known = [
        number
        for _, differences in rows
        for one in differences
        for number in (one["low"], one["high"], one["value"])
        if number is not None
    ]
    if not rows:
        return {}
    furthest = 1.08 * max([margin, *map(abs, known)]) or 0.01
    scale = Axis(-furthest, furthest, False)

    def x(value: float) -> float:
        return LABELS + (WHOLE - LABELS - 10) * scale.at(value) / WIDTH

    return {
        "height": ROW * len(rows),
        "zero": x(0.0),
        "margin": (x(-margin), x(margin) - x(-margin)),
        "ticks": [
            {"x": LABELS + (WHOLE - LABELS - 10) * tick.x / WIDTH, "label": tick.label}
            for tick in scale.ticks()
        ],
        "rows": [
            {
                "name": name,
                "y": ROW * (place + 0.5),
                "band": place % 2 == 0,
                "marks": [
                    _mark(one, ROW * (place + 0.5) + _aside(style, len(differences)), style, x)
                    for style, one in enumerate(differences)
                ],
            }
            for place, (name, differences) in enumerate(rows)
        ],
    }


def _aside(place: int, count: int) -> float:
    """How far from the middle of its row a mark is, so that two do not hide each other."""
    return 9.0 * (place - (count - 1) / 2)


def _mark(one: dict[str, Any], y: float, style: int, x: Any) -> dict[str, Any]:
    whisker, title = "", f"{difference(one['value'])} bits per byte"
    if one["low"] is not None:
        whisker = f"M{x(one['low']):.1f} {y:.1f}H{x(one['high']):.1f}"
        title += f", 95 % interval {difference(one['low'])} to {difference(one['high'])}"
    path = SHAPES[style](x(one["value"]), y)
    return {"style": style, "path": path, "whisker": whisker, "title": title, "y": y}


def ladder(said: dict[str, Any]) -> dict[str, Any]:
    """What A reaches with fewer tokens, and where B stands; empty if there are no two steps."""
    worth = said["worth"]
    steps = worth["ladder"]
    if len({step["tokens"] for step in steps}) < 2:
        return {}
    values = [*(step["bits_per_byte"] for step in steps), worth["reached"]]
    tokens = [*(step["tokens"] for step in steps), worth["tokens"] or said["tokens"]]
    room = 0.1 * (max(values) - min(values)) or 0.01
    across = Axis(min(tokens) / 1.1, max(tokens) * 1.1, True)
    up = Axis(min(values) - room, max(values) + room, False)

    def x(value: float) -> float:
        return LEFT + (WHOLE - LEFT - 20) * across.at(value) / WIDTH

    def y(value: float) -> float:
        return LADDER_HEIGHT * (1 - up.at(value) / WIDTH)

    points = [(x(step["tokens"]), y(step["bits_per_byte"])) for step in steps]
    second = (x(said["tokens"]), y(worth["reached"]))
    equal = worth["tokens"] and not worth["bound"]
    return {
        "height": LADDER_HEIGHT,
        "left": LEFT,
        "line": "M" + "L".join(f"{across:.1f} {up:.1f}" for across, up in points),
        "first": "".join(SHAPES[0](*point) for point in points),
        "second": SHAPES[1](*second),
        "across": f"M{second[0]:.1f} {second[1]:.1f}H{x(worth['tokens']):.1f}" if equal else "",
        "xs": [{"x": x(step["tokens"]), "label": short(step["tokens"])} for step in steps],
        "ys": [
            {"y": LADDER_HEIGHT * (1 - tick.x / WIDTH), "label": tick.label} for tick in up.ticks()
        ],
        "hits": [
            {"x": point[0], "title": f"A, {step['tokens']:,} tokens: {bits(step['bits_per_byte'])}"}
            for point, step in zip(points, steps, strict=True)
        ],
    }
