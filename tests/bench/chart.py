"""Line charts as SVG, written by hand: four small charts do not justify a plotting library in the lock file.

Readable on light and dark pages: no background, middle grey for what is not data, colours that keep apart for colour-blind eyes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 64, 56
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#7f7f7f")
GREY = "#808080"

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to pixels. Logarithmic axes have their ticks where data is, linear ones at round numbers."""

    title: str
    low: float
    high: float
    start: float
    end: float
    ticks: Sequence[float]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        low, high, at = (math.log(it) if self.logarithmic else it for it in (self.low, self.high, value))
        return self.start + (at - low) / (high - low or 1) * (self.end - self.start)


def chart(title: str, x: str, y: str, series: Mapping[str, Sequence[Point]], *, logarithmic: bool = False) -> str:
    """The SVG document. `logarithmic` is about x; y begins at 0."""
    places = sorted({point[0] for points in series.values() for point in points})
    top = max(point[1] for points in series.values() for point in points)
    steps = _round_steps(top)
    low = places[0] if logarithmic else min(0.0, places[0])
    across = Axis(x, low, places[-1], LEFT, WIDTH - RIGHT, places, logarithmic)
    up = Axis(y, 0.0, steps[-1], HEIGHT - BOTTOM, TOP, steps)
    parts = [_text(LEFT, 24, title, size=16, anchor="start", weight="600")]
    parts += _grid(across, up)
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        parts += _series(points, across, up, colour)
        parts += _legend(number, name, colour)
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title)}" font-family="system-ui, sans-serif">\n'
        f"<title>{escape(title)}</title>\n{body}\n</svg>\n"
    )


def _grid(across: Axis, up: Axis) -> list[str]:
    parts = []
    for step in up.ticks:
        at = up.place(step)
        parts.append(_stroke(LEFT, at, WIDTH - RIGHT, at, GREY, 0.5 if step else 1.2))
        parts.append(_text(LEFT - 8, at + 4, _short(step), anchor="end"))
    for place in across.ticks:
        at = across.place(place)
        parts.append(_stroke(at, HEIGHT - BOTTOM, at, HEIGHT - BOTTOM + 5, GREY, 1.2))
        parts.append(_text(at, HEIGHT - BOTTOM + 20, _short(place)))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, across.title))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(_text(18, middle, up.title, turned=True))
    return parts


def _series(points: Sequence[Point], across: Axis, up: Axis, colour: str) -> list[str]:
    placed = [(across.place(x), up.place(y)) for x, y in sorted(points)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5" stroke-linejoin="round"/>']
    for (x, y), (_, value) in zip(placed, sorted(points), strict=True):
        told = f"<title>{escape(_short(value))}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}">{told}</circle>')
    return parts


def _legend(number: int, name: str, colour: str) -> list[str]:
    at = LEFT + number * 170
    return [f'<circle cx="{at + 5}" cy="42" r="5" fill="{colour}"/>', _text(at + 16, 46, name, anchor="start")]


def _round_steps(top: float) -> list[float]:
    """Five or so round numbers from 0 to at least `top`."""
    if top <= 0:
        return [0.0, 1.0]
    rough = top / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    return [step * count for count in range(math.ceil(top / step * 0.999) + 1)]


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    if value >= 10_000:
        return f"{value / 1000:,.0f} k" if value % 1000 == 0 else f"{value:,.0f}"
    return f"{value:,.0f}" if value >= 100 else f"{value:g}" if value == round(value, 2) else f"{value:.2f}"


def _stroke(x1: float, y1: float, x2: float, y2: float, colour: str, width: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}" stroke-opacity="0.6"/>'


def _text(
    x: float, y: float, text: str, *, size: int = 12, anchor: str = "middle", weight: str = "400", turned: bool = False
) -> str:
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}"'
    return f'<text {place} fill="{GREY}"{turn}>{escape(text)}</text>'
