"""The loss of a training as a picture: SVG text, and no library that draws."""

from typing import Any
from xml.sax.saxutils import escape

from curate.report.charts import curve

_WIDTH, _HEIGHT = 880, 320
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#555}.title{font-size:15px;fill:#111}"
    ".axis{stroke:#ddd}.line{fill:none;stroke:#2a6fb0;stroke-width:1.5}"
)


def loss_plot(losses: list[tuple[int, float]], title: str) -> str:
    """Loss over steps as SVG; of fewer than two losses only a title."""
    drawn: dict[str, Any] = curve(losses, _WIDTH, _HEIGHT)
    parts = [
        f'<text x="{tick.x:.1f}" y="{_HEIGHT + 20}" text-anchor="middle">{tick.label}</text>'
        for tick in drawn.get("xs", ())
    ]
    for tick in drawn.get("ys", ()):
        parts.append(f'<path class="axis" d="M0 {tick.x:.1f}H{_WIDTH}"/>')
        parts.append(f'<text x="-8" y="{tick.x + 4:.1f}" text-anchor="end">{tick.label}</text>')
    if drawn:
        (first, begun), (last, ended) = drawn["first"], drawn["last"]
        parts.append(f'<path class="line" d="{drawn["path"]}"/>')
        title += f": {begun:.3f} at step {first:,}, {ended:.3f} at step {last:,}"
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-60 -40 {_WIDTH + 80} '
            f'{_HEIGHT + 90}" width="{_WIDTH + 80}" height="{_HEIGHT + 90}">',
            f"<style>{_STYLE}</style>",
            f'<rect x="-60" y="-40" width="{_WIDTH + 80}" height="{_HEIGHT + 90}" fill="#fff"/>',
            f'<text class="title" x="0" y="-18">{escape(title)}</text>',
            *parts,
            f'<text x="{_WIDTH}" y="{_HEIGHT + 40}" text-anchor="end">step</text>',
            "</svg>\n",
        )
    )
