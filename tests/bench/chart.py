"""The rates of all contenders as a plain SVG: a block per case, a bar per contender, on a logarithmic scale.

It has no background, and its text takes the reader's light or dark.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from tests.bench.outcome import Outcome

_COLOURS: Final = {
    "direct": "#8b949e",
    "nginx": "#2da44e",
    "ours": "#4c8dff",
    "ours, unrecorded": "#9ec1ff",
    "LiteLLM": "#d1710f",
    "Portkey": "#b65bd6",
    "1 worker": "#9ec1ff",
    "2 workers": "#4c8dff",
    "whole, embedded bus": "#4c8dff",
    "whole, Redis bus": "#d64f6b",
}
_LEFT, _SCALE, _RIGHT = 170, 470, 90
_ROW, _TITLE, _GAP = 18, 22, 14
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-weight:600}.axis{stroke:#8b949e;stroke-opacity:.3}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"
)


def as_svg(outcomes: Sequence[Outcome]) -> str:
    """Paced streams are left out: their rate is the one that was offered."""
    shown = [outcome for outcome in outcomes if outcome.case.kind != "streams"]
    rates = [outcome.median(name, lambda turn: turn.rate) for outcome in shown for name in _names(outcome)]
    decades = (math.floor(math.log10(min(rates))), math.ceil(math.log10(max(rates)))) if rates else (0, 1)
    blocks, y = [], _GAP
    for outcome in shown:
        blocks.append(_block(outcome, y, decades))
        y += _TITLE + _ROW * len(_names(outcome)) + _GAP
    width = _LEFT + _SCALE + _RIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + _ROW}" width="{width}" role="img">',
            "<title>Rates of all contenders on one core, case by case; the scale is logarithmic</title>",
            f"<style>{_STYLE}</style>",
            *_axis(decades, y),
            *blocks,
            "</svg>",
            "",
        ]
    )


def _names(outcome: Outcome) -> list[str]:
    return [name for name in outcome.turns if name in _COLOURS]


def _axis(decades: tuple[int, int], bottom: int) -> list[str]:
    lines = []
    for power in range(decades[0], decades[1] + 1):
        x = _at(10.0**power, decades)
        lines.append(f'<line class="axis" x1="{x:.0f}" x2="{x:.0f}" y1="{_GAP}" y2="{bottom}"/>')
        lines.append(f'<text x="{x:.0f}" y="{bottom + 12}" text-anchor="middle">{10**power:,}</text>')
    return lines


def _block(outcome: Outcome, top: int, decades: tuple[int, int]) -> str:
    lines = [f'<text class="title" x="0" y="{top + 14}">{escape(f"{outcome.case.name} ({outcome.case.unit})")}</text>']
    for row, name in enumerate(_names(outcome)):
        rate, y = outcome.median(name, lambda turn: turn.rate), top + _TITLE + row * _ROW
        end = _at(rate, decades)
        width = max(1.0, end - _LEFT)
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect x="{_LEFT}" y="{y + 2}" width="{width:.0f}" height="13" rx="2" fill="{_COLOURS[name]}"/>')
        lines.append(f'<text x="{_LEFT + width + 6:.0f}" y="{y + 12}">{rate:,.0f}</text>')
    return "\n".join(lines)


def _at(rate: float, decades: tuple[int, int]) -> float:
    return _LEFT + _SCALE * (math.log10(rate) - decades[0]) / max(decades[1] - decades[0], 1)
