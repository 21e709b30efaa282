"""Outlines of everyday things: what the built-in objects are drawn from.

Each maker takes random numbers and gives one exemplar as a list of parts, in a square from -1 to 1 with y
down, from back to front. Proportions vary between exemplars; colours are named by role and chosen by whoever
draws.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]

BODY, TRIM, DARK, LIGHT = range(4)


@dataclass(frozen=True)
class Part:
    """One filled outline (width 0) or a stroke of that width.

    Attributes:
        role: which of the object's four colours it has.
        points: (K, 2) corners.
        width: of the stroke, 0 for a filled outline.
        closed: whether the stroke returns to its start.
    """

    role: int
    points: Points
    width: float = 0.0
    closed: bool = False


Shape = list[Part]
Maker = Callable[[np.random.Generator], Shape]


def _fill(role: int, *corners: tuple[float, float]) -> Part:
    return Part(role, np.array(corners, float))


def _line(role: int, width: float, *corners: tuple[float, float]) -> Part:
    return Part(role, np.array(corners, float), width)


def _box(role: int, left: float, top: float, right: float, bottom: float) -> Part:
    return _fill(role, (left, top), (right, top), (right, bottom), (left, bottom))


def _arc(x: float, y: float, rx: float, ry: float, start: float = 0.0, end: float = 360.0) -> Points:
    """Points of an ellipse's arc, degrees clockwise from the right."""
    angle = np.radians(np.linspace(start, end, max(8, int(abs(end - start) / 12))))
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], 1)


def _disc(role: int, x: float, y: float, rx: float, ry: float | None = None) -> Part:
    return Part(role, _arc(x, y, rx, rx if ry is None else ry))


def _ring(role: int, width: float, x: float, y: float, rx: float, ry: float) -> Part:
    return Part(role, _arc(x, y, rx, ry), width, closed=True)


def _turned(role: int, profile: list[tuple[float, float]]) -> Part:
    """The outline of something turned on a lathe, from (half width, y) downwards, corners rounded."""
    widths, heights = np.array(profile, float).T
    y = np.linspace(heights[0], heights[-1], 28)
    half = np.convolve(np.pad(np.interp(y, heights, widths), 1, mode="edge"), [0.25, 0.5, 0.25], mode="valid")
    return Part(role, np.concatenate([np.stack([half, y], 1), np.stack([-half, y], 1)[::-1]]))


def _cup(r: np.random.Generator) -> Shape:
    half, high, foot = r.uniform(0.4, 0.6), r.uniform(0.4, 0.75), r.uniform(0.55, 1.0)
    reach = r.uniform(0.22, 0.38)
    parts = [
        _ring(BODY, r.uniform(0.09, 0.16), half * (0.5 + foot / 2), r.uniform(-0.1, 0.1), reach, high * 0.55)
    ]
    parts.append(
        _turned(BODY, [(half, -high), (half * (0.35 + 0.65 * foot), 0.2 * high), (half * foot, high)])
    )
    parts.append(_disc(BODY, 0, high, half * foot, 0.07))
    if r.random() < 0.5:
        top = r.uniform(-0.3, 0.2)
        parts.append(_box(TRIM, -half * 0.9 * foot, top, half * 0.9 * foot, top + r.uniform(0.1, 0.3)))
    parts.append(_disc(LIGHT, 0, -high, half, r.uniform(0.08, 0.16)))
    parts.append(_disc(DARK, 0, -high, half * 0.86, 0.08))
    return parts


def _house(r: np.random.Generator) -> Shape:
    half, top, bottom = r.uniform(0.5, 0.75), r.uniform(-0.3, 0.0), r.uniform(0.65, 0.85)
    peak, ridge = r.uniform(0.4, 0.65), r.uniform(0, 0.7) * half
    parts = []
    if r.random() < 0.6:
        x = r.uniform(0.15, 0.4)
        parts.append(_box(DARK, x, top - peak * 0.9, x + 0.16, top))
    eaves = half * r.uniform(1.05, 1.25)
    parts.append(_box(BODY, -half, top, half, bottom))
    parts.append(_fill(TRIM, (-eaves, top), (-ridge, top - peak), (ridge, top - peak), (eaves, top)))
    door, high = r.uniform(-0.6, 0.4) * half, r.uniform(0.3, 0.5)
    parts.append(_box(DARK, door, bottom - high, door + 0.25 * half, bottom))
    columns, rows = int(r.integers(2, 4)), int(r.integers(1, 3))
    for i in range(columns):
        for j in range(rows):
            x, y = -half + (2 * i + 1) * half / columns, top + 0.12 + j * 0.3
            parts.append(_box(LIGHT, x - 0.09, y, x + 0.09, y + 0.18))
            parts.append(_line(DARK, 0.02, (x, y), (x, y + 0.18)))
    return parts


def _car(r: np.random.Generator) -> Shape:
    top, bottom, roof = r.uniform(-0.15, 0.05), r.uniform(0.25, 0.4), r.uniform(-0.5, -0.3)
    nose, wheel = r.uniform(0.0, 0.2), r.uniform(0.17, 0.25)
    back, front = r.uniform(-0.85, -0.5), r.uniform(0.3, 0.55)
    parts = [_fill(BODY, (back, top), (back + r.uniform(0.05, 0.3), roof), (front - 0.3, roof), (front, top))]
    parts.append(
        _fill(
            LIGHT,
            (back + 0.14, top),
            (back + 0.3, roof + 0.07),
            (front - 0.33, roof + 0.07),
            (front - 0.1, top),
        )
    )
    middle = (back + front) / 2 + r.uniform(-0.1, 0.1)
    parts.append(_line(BODY, 0.06, (middle, roof), (middle, top)))
    parts.append(
        _fill(
            BODY,
            (-0.95, top),
            (front, top),
            (0.92, top + nose),
            (0.97, bottom),
            (-0.95, bottom),
            (-0.98, top + 0.1),
        )
    )
    parts.append(_box(TRIM, -0.9, bottom - 0.16, 0.93, bottom - 0.1))
    for x in (r.uniform(-0.65, -0.5), r.uniform(0.45, 0.62)):
        parts += [_disc(DARK, x, bottom, wheel), _disc(LIGHT, x, bottom, wheel * r.uniform(0.4, 0.6))]
    parts.append(_disc(LIGHT, 0.9, top + nose + 0.08, 0.05))
    return parts


def _tree(r: np.random.Generator) -> Shape:
    trunk = r.uniform(0.06, 0.13)
    parts = [_fill(DARK, (-trunk, 0.0), (trunk, 0.0), (trunk * 1.5, 0.92), (-trunk * 1.5, 0.92))]
    if r.random() < 0.4:
        layers, half = int(r.integers(2, 5)), r.uniform(0.45, 0.7)
        for i in range(layers):
            low = 0.55 - i * 1.1 / layers
            wide = half * (1 - 0.75 * i / layers)
            parts.append(_fill(BODY if i % 2 else TRIM, (-wide, low), (0, low - 1.7 / layers), (wide, low)))
        return parts
    for x in (-0.3, 0.3):
        parts.append(_line(DARK, 0.06, (0, 0.35), (x, 0.0)))
    spread = r.uniform(0.25, 0.45)
    for i in range(int(r.integers(6, 10))):
        x, y = r.uniform(-spread, spread), r.uniform(-0.55, 0.0)
        parts.append(_disc(BODY if i % 3 else TRIM, x, y, r.uniform(0.2, 0.38), r.uniform(0.2, 0.32)))
    return parts


def _chair(r: np.random.Generator) -> Shape:
    half, seat, slant, back = (
        r.uniform(0.35, 0.5),
        r.uniform(0.0, 0.2),
        r.uniform(0.1, 0.25),
        r.uniform(-0.95, -0.65),
    )
    leg, wide = r.uniform(0.06, 0.1), r.uniform(0.08, 0.13)
    up = seat - 0.15
    parts = [_line(DARK, leg, (x + slant, up), (x + slant, 0.72)) for x in (-half, half)]
    parts += [_line(BODY, wide, (x + slant, up), (x + slant * 1.2, back)) for x in (-half, half)]
    if r.random() < 0.5:
        for y in np.linspace(back + 0.08, up - 0.2, int(r.integers(2, 5))):
            parts.append(_line(TRIM, 0.1, (-half + slant * 1.1, y), (half + slant * 1.1, y)))
    else:
        parts.append(_box(TRIM, -half + slant * 1.1, back, half + slant * 1.1, up - r.uniform(0.1, 0.35)))
    low = seat + 0.12
    parts.append(
        _fill(BODY, (-half + slant, up), (half + slant, up), (half - slant, low), (-half - slant, low))
    )
    parts.append(_box(TRIM, -half - slant, low, half - slant, low + 0.08))
    parts += [_line(BODY, leg, (x - slant, low), (x - slant, 0.95)) for x in (-half + 0.04, half - 0.04)]
    return parts


def _bottle(r: np.random.Generator) -> Shape:
    half, neck, shoulder = r.uniform(0.2, 0.36), r.uniform(0.07, 0.12), r.uniform(-0.4, 0.0)
    waist = half * r.uniform(0.8, 1.1)
    profile = [(neck, -0.9), (neck, shoulder - 0.2), (half, shoulder), (waist, 0.4), (half, 0.92)]
    parts = [
        _turned(BODY, profile),
        _box(DARK, -neck * 1.25, -0.97, neck * 1.25, -0.97 + r.uniform(0.1, 0.2)),
    ]
    top = r.uniform(shoulder + 0.1, 0.3)
    label = min(half, waist) * 0.97
    parts.append(_box(LIGHT, -label, top, label, top + r.uniform(0.25, 0.5)))
    parts.append(_box(TRIM, -label * 0.7, top + 0.07, label * 0.7, top + 0.14))
    return parts


def _lamp(r: np.random.Generator) -> Shape:
    top, low = r.uniform(0.15, 0.4), r.uniform(0.4, 0.65)
    start, end = -0.9, r.uniform(-0.3, 0.0)
    base = r.uniform(0.25, 0.42)
    parts = [_line(DARK, r.uniform(0.06, 0.14), (0, end - 0.1), (0, 0.85)), _disc(DARK, 0, 0.85, base, 0.1)]
    if r.random() < 0.5:
        parts.append(_disc(TRIM, 0, r.uniform(0.3, 0.6), r.uniform(0.15, 0.28), r.uniform(0.15, 0.3)))
    parts.append(_fill(BODY, (-top, start), (top, start), (low, end), (-low, end)))
    parts.append(_line(LIGHT, 0.07, (-low, end), (low, end)))
    if r.random() < 0.5:
        parts.append(
            _line(TRIM, 0.06, (-(top + low) / 2, (start + end) / 2), ((top + low) / 2, (start + end) / 2))
        )
    return parts


def _boat(r: np.random.Generator) -> Shape:
    deck, keel, mast = r.uniform(0.3, 0.45), r.uniform(0.7, 0.9), r.uniform(-0.15, 0.15)
    left, right = r.uniform(-0.95, -0.75), r.uniform(0.75, 0.95)
    parts = [_line(DARK, 0.06, (mast, -0.95), (mast, deck))]
    parts.append(
        _fill(
            LIGHT, (mast + 0.06, -0.9), (mast + r.uniform(0.45, 0.7), deck - 0.12), (mast + 0.06, deck - 0.12)
        )
    )
    if r.random() < 0.75:
        high = r.uniform(-0.8, -0.3)
        parts.append(
            _fill(
                TRIM,
                (mast - 0.06, high),
                (mast - 0.06, deck - 0.12),
                (mast - r.uniform(0.3, 0.6), deck - 0.12),
            )
        )
    parts.append(
        _fill(BODY, (left, deck), (right, deck), (right - 0.3, keel), (left + r.uniform(0.15, 0.3), keel))
    )
    parts.append(_line(TRIM, 0.07, (left + 0.05, deck + 0.1), (right - 0.07, deck + 0.1)))
    return parts


def _umbrella(r: np.random.Generator) -> Shape:
    half, high, edge = r.uniform(0.7, 0.92), r.uniform(0.5, 0.75), r.uniform(-0.2, 0.1)
    panels = int(r.integers(4, 8))
    hook = r.uniform(0.1, 0.18)
    parts = [
        _line(DARK, 0.06, (0, edge), (0, 0.8)),
        _line(DARK, 0.05, (0, edge - high - 0.12), (0, edge - high)),
    ]
    parts.append(Part(DARK, _arc(hook, 0.8, hook, hook, 180, 0), 0.08))
    corners = half * np.sin(np.linspace(-np.pi / 2, np.pi / 2, panels + 1))
    for i in range(panels):
        angle = np.linspace(0, np.pi / 2, 9)
        left = np.stack([corners[i] * np.sin(angle), edge - high * np.cos(angle)], 1)
        right = np.stack([corners[i + 1] * np.sin(angle), edge - high * np.cos(angle)], 1)[::-1]
        wide = corners[i + 1] - corners[i]
        scallop = _arc((corners[i] + corners[i + 1]) / 2, edge, wide / 2, 0.09, 180, 360)
        parts.append(Part((BODY, TRIM)[i % 2], np.concatenate([left, scallop, right])))
    return parts


def _clock(r: np.random.Generator) -> Shape:
    radius, rim = r.uniform(0.6, 0.8), r.uniform(0.08, 0.16)
    parts = []
    if r.random() < 0.4:
        parts += [_line(DARK, 0.12, (0, 0), (x, 0.95)) for x in (-0.55, 0.55)]
        parts += [_disc(TRIM, x, -radius, 0.25, 0.2) for x in (-0.4, 0.4)]
    if r.random() < 0.3:
        parts.append(_box(BODY, -radius - rim, -radius - rim, radius + rim, radius + rim))
    parts += [_disc(BODY, 0, 0, radius + rim), _disc(LIGHT, 0, 0, radius)]
    for hour in range(12):
        x, y = np.cos(hour * np.pi / 6), np.sin(hour * np.pi / 6)
        parts.append(
            _line(
                DARK,
                0.06 if hour % 3 == 0 else 0.03,
                (0.8 * radius * x, 0.8 * radius * y),
                (0.93 * radius * x, 0.93 * radius * y),
            )
        )
    for length, width in ((0.5, 0.09), (0.75, 0.05)):
        angle = r.uniform(0, 2 * np.pi)
        parts.append(
            _line(TRIM, width, (0, 0), (length * radius * np.cos(angle), length * radius * np.sin(angle)))
        )
    parts.append(_disc(DARK, 0, 0, 0.06))
    return parts


def _key(r: np.random.Generator) -> Shape:
    bow, wide = r.uniform(0.2, 0.32), r.uniform(0.09, 0.16)
    x = -0.92 + bow
    parts = [_line(BODY, r.uniform(0.1, 0.16), (x + bow, 0), (0.92, 0))]
    if r.random() < 0.4:
        # Three lobes; two would be eyes to a face detector.
        for angle in (-90, 180, 90):
            lobe_x, lobe_y = np.cos(np.radians(angle)), np.sin(np.radians(angle))
            parts.append(_disc(BODY, x + 0.5 * bow * lobe_x, 0.6 * bow * lobe_y, 0.55 * bow))
        parts.append(_disc(DARK, x - 0.45 * bow, 0, 0.25 * bow))
    else:
        parts.append(_ring(BODY, wide, x, 0, bow, bow * r.uniform(0.8, 1.4)))
    parts.append(_box(TRIM, x + bow + 0.05, -0.13, x + bow + 0.13, 0.13))
    teeth = int(r.integers(2, 5))
    for i in range(teeth):
        left = 0.9 - (i + 1) * 0.15
        parts.append(_box(BODY, left, 0, left + 0.1, r.uniform(0.18, 0.42)))
    return parts


def _shoe(r: np.random.Generator) -> Shape:
    ankle, toe, heel = r.uniform(-0.65, -0.2), r.uniform(0.0, 0.2), r.uniform(0.0, 0.35)
    opening = r.uniform(-0.3, -0.1)
    bridge = ankle + r.uniform(0.0, 0.15)
    parts = [
        _fill(
            BODY,
            (-0.85, ankle), (-0.6, ankle + 0.08), (opening, bridge), (0.3, toe), (0.7, toe + 0.05),
            (0.92, toe + 0.25), (0.95, 0.5), (-0.88, 0.5 - heel * 0.4), (-0.92, 0.1),
        )
    ]  # fmt: skip
    parts.append(
        _fill(TRIM, (0.55, toe + 0.03), (0.75, toe + 0.07), (0.92, toe + 0.25), (0.95, 0.5), (0.5, 0.5))
    )
    parts.append(
        _fill(DARK, (-0.9, 0.46 - heel * 0.4), (-0.2, 0.46), (0.96, 0.46), (0.96, 0.58), (-0.2, 0.58))
    )
    parts.append(_box(DARK, -0.9, 0.46 - heel * 0.4, -0.45, 0.58))
    for t in np.linspace(0.15, 0.85, int(r.integers(3, 6))):
        x, y = opening + t * (0.3 - opening), bridge + t * (toe - bridge)
        parts.append(_line(LIGHT, 0.05, (x, y), (x - 0.18, y + 0.16)))
    return parts


def _aeroplane(r: np.random.Generator) -> Shape:
    thick, tail, span = r.uniform(0.13, 0.2), r.uniform(0.35, 0.55), r.uniform(0.45, 0.75)
    parts = [_fill(TRIM, (0.15, 0), (-0.1, -span * 0.55), (-0.28, -span * 0.55), (-0.12, 0))]
    parts.append(_fill(BODY, (-0.62, 0), (-0.9, -tail), (-1.0, -tail), (-0.95, 0)))
    nose = _arc(0.65, 0, 0.33, thick, -90, 90)
    parts.append(Part(BODY, np.concatenate([nose, [(-0.6, thick), (-1.0, -0.05), (-0.95, -thick * 0.8)]])))
    parts.append(_fill(TRIM, (0.2, 0.04), (-0.25, span), (-0.48, span), (-0.2, 0.04)))
    parts.append(_fill(TRIM, (-0.75, 0), (-1.0, 0.2), (-1.05, 0.2), (-0.95, 0)))
    for x in np.linspace(-0.5, 0.55, int(r.integers(4, 9))):
        parts.append(_disc(DARK, x, -thick * 0.35, 0.035))
    parts.append(_fill(LIGHT, (0.7, -thick * 0.9), (0.9, -0.05), (0.7, -0.05)))
    return parts


def _fish(r: np.random.Generator) -> Shape:
    long, high, tail = r.uniform(0.55, 0.68), r.uniform(0.25, 0.48), r.uniform(0.25, 0.45)
    parts = [_fill(TRIM, (-long * 0.7, 0), (-0.98, -tail), (-0.85, 0), (-0.98, tail))]
    parts.append(_fill(TRIM, (-0.3, -high * 0.8), (r.uniform(-0.2, 0.2), -high - 0.25), (0.3, -high * 0.8)))
    parts.append(_fill(TRIM, (-0.1, high * 0.8), (-0.2, high + 0.2), (0.15, high * 0.8)))
    parts.append(Part(BODY, _arc(0.1, 0, long, high)))
    for i in range(int(r.integers(0, 4))):
        x = -0.25 + 0.2 * i
        half = high * np.sqrt(max(0.05, 1 - ((x - 0.1) / long) ** 2)) * 0.9
        parts.append(_line(TRIM, 0.07, (x, -half), (x, half)))
    parts.append(_fill(TRIM, (0.15, 0), (-0.1, 0.15), (0.0, -0.02)))
    parts += [
        _disc(LIGHT, 0.1 + long * 0.65, -high * 0.25, 0.08),
        _disc(DARK, 0.1 + long * 0.67, -high * 0.25, 0.045),
    ]
    return parts


def _mushroom(r: np.random.Generator) -> Shape:
    half, high, edge = r.uniform(0.55, 0.9), r.uniform(0.45, 0.8), r.uniform(-0.05, 0.2)
    stem = r.uniform(0.12, 0.28)
    parts = [_turned(LIGHT, [(stem * 0.8, edge), (stem * 0.8, 0.5), (stem * r.uniform(1.0, 1.6), 0.9)])]
    parts.append(_disc(DARK, 0, edge, half * 0.95, 0.1))
    parts.append(Part(BODY, _arc(0, edge, half, high, 180, 360)))
    for _ in range(int(r.integers(0, 7))):
        angle, reach = r.uniform(np.pi * 1.1, np.pi * 1.9), r.uniform(0.2, 0.8)
        x, y = reach * half * np.cos(angle), edge + reach * high * np.sin(angle)
        parts.append(_disc(TRIM, x, y, r.uniform(0.05, 0.11)))
    return parts


def _guitar(r: np.random.Generator) -> Shape:
    lower, upper, waist = r.uniform(0.36, 0.46), r.uniform(0.26, 0.34), r.uniform(0.18, 0.25)
    neck = r.uniform(0.06, 0.09)
    parts = [
        _turned(BODY, [(upper * 0.3, -0.2), (upper, 0.0), (waist, 0.3), (lower, 0.6), (lower * 0.4, 0.95)])
    ]
    parts += [_disc(BODY, 0, 0.03, upper, 0.26), _disc(BODY, 0, 0.6, lower, 0.35)]
    parts += [_disc(DARK, 0, 0.25, r.uniform(0.1, 0.16)), _box(TRIM, -0.16, 0.62, 0.16, 0.7)]
    parts.append(_box(DARK, -neck, -0.8, neck, 0.15))
    parts.append(_fill(TRIM, (-neck, -0.75), (neck, -0.75), (neck * 1.8, -0.98), (-neck * 1.8, -0.98)))
    parts += [_line(LIGHT, 0.015, (x, -0.8), (x, 0.62)) for x in (-neck * 0.5, 0, neck * 0.5)]
    return parts


MAKERS: dict[str, Maker] = {
    "aeroplane": _aeroplane,
    "boat": _boat,
    "bottle": _bottle,
    "car": _car,
    "chair": _chair,
    "clock": _clock,
    "cup": _cup,
    "fish": _fish,
    "guitar": _guitar,
    "house": _house,
    "key": _key,
    "lamp": _lamp,
    "mushroom": _mushroom,
    "shoe": _shoe,
    "tree": _tree,
    "umbrella": _umbrella,
}
