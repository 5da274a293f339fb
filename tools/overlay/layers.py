"""The layers over the image of a scene: colours, markers and labels.

A state has both a colour and a marker, so that it can be recognized without colour vision.
Positions are in image pixels, sizes and widths in screen pixels; `zoom` is the number of screen
pixels per image pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import MOTIONS
from livespt.tools.overlay.scene import UNCOATING, Scene, flash_frames

NAMES = (*MOTIONS, "unsure")
# the colour-blind safe palette of Okabe and Ito (jfly.uni-koeln.de/color), and grey for unsure
PALETTE = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#A8A8A8")
SYMBOLS = ("disc", "triangle_up", "square", "diamond", "x")
DISC = SYMBOLS.index("disc")
UNCOATED = "#F0E442"
SELECTED = "#FFFFFF"
OTHERS = "#FFFFFF"  # flashes of other events

SHOWN_FROM = 0.15  # p_uncoated below which no ring is drawn
MANY_HEADS = 300  # heads above which markers shrink
MOST_LABELS = 12
LABEL_PX = 13.0
TAIL_PX = (1.5, 2.6)  # width, by zoom
TRANSPARENT = (0.0, 0.0, 0.0, 0.0)


class Marks(NamedTuple):
    """Markers, a row each."""

    xy: NDArray[np.float32]  # (n, 2) x, y
    size: NDArray[np.float32]  # (n,) screen pixels across
    width: NDArray[np.float32]  # (n,) screen pixels of the outline
    symbol: NDArray[np.int8]  # (n,) index into SYMBOLS
    edge: NDArray[np.float32]  # (n, 4) RGBA
    face: NDArray[np.float32]  # (n, 4) RGBA


class Label(NamedTuple):
    """A short text next to a track."""

    x: float  # image pixels, left end
    y: float  # image pixels, base line
    text: str
    colour: str


def rgba(colour: str, alpha: float = 1.0) -> tuple[float, float, float, float]:
    """Return '#RRGGBB' as four numbers from 0 to 1."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue, alpha


COLOURS = np.array([rgba(c) for c in PALETTE], np.float32)  # (5, 4)


def marks(xy: Any, size: Any, width: Any, symbol: Any, edge: Any, face: Any = TRANSPARENT) -> Marks:
    """Return `Marks` from arrays, or from one value for all."""
    xy = np.asarray(xy, np.float32).reshape(-1, 2)
    n = len(xy)

    def full(value: Any, *shape: int, dtype: Any = np.float32) -> NDArray[Any]:
        return np.broadcast_to(np.asarray(value, dtype), (n, *shape))

    return Marks(
        xy, full(size), full(width), full(symbol, dtype=np.int8), full(edge, 4), full(face, 4)
    )


def tails(scene: Scene) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return living tails: ends (n, 2, 2) x, y and their RGBA (n, 2, 4), faded by age."""
    ends = scene.ring.reshape(scene.capacity, 2, 5)
    ends = ends[scene.frame - ends[:, 0, 4] < scene.tail]
    colour = COLOURS[ends[:, :, 3].astype(np.intp)]
    colour[:, :, 3] = np.clip(1 - (scene.frame - ends[:, :, 2]) / scene.tail, 0, 1)
    return ends[:, :, :2], colour


def tail_width(zoom: float) -> float:
    """Return the width of a tail, screen pixels."""
    return float(np.clip(0.9 * zoom, *TAIL_PX))


def head_size(scene: Scene, zoom: float) -> float:
    """Return the size of a head: larger than the particle, smaller in dense frames."""
    shrink = min(1.0, (MANY_HEADS / max(len(scene.heads), 1)) ** 0.5)
    return float(np.clip(7.0 * zoom, 9.0, 24.0) * max(shrink, 0.4))


def heads(scene: Scene, zoom: float) -> Marks:
    """Return the heads of the tracks, which are open, so that the particle stays visible."""
    state = scene.heads["state"]
    return marks(_xy(scene.heads), head_size(scene, zoom), 1.4, state, COLOURS[state])


def rings(scene: Scene, zoom: float) -> Marks:
    """Return a ring for each head that may have uncoated, wider and brighter if more probable."""
    rows = scene.heads[scene.heads["p"] >= SHOWN_FROM]
    size, width, edge = ring_style(rows["p"], head_size(scene, zoom))
    return marks(_xy(rows), size, width, DISC, edge)


def ring_style(
    p: NDArray[np.float32], head: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return size, width and RGBA of the rings, for p_uncoated and the size of the heads."""
    edge = np.tile(np.array(rgba(UNCOATED), np.float32), (len(p), 1))
    edge[:, 3] = 0.2 + 0.7 * p
    return head * (1.3 + 0.6 * p), 0.8 + 0.9 * p, edge


def flashes(scene: Scene, zoom: float) -> Marks:
    """Return recent events: rings that widen and fade, small ones except for uncoating."""
    rows = scene.flashes
    age = (scene.frame - rows["born"]) / flash_frames(rows["kind"])  # 0 to 1
    big = rows["kind"] == UNCOATING
    head = head_size(scene, zoom)
    size = head * np.where(big, 2.6 + 3.4 * age, 1.5 + 1.0 * age)
    edge = np.where(big[:, None], rgba(UNCOATED), rgba(OTHERS)).astype(np.float32)
    edge[:, 3] = (1 - age) * np.where(big, 1.0, 0.7)
    face = edge * np.array([1, 1, 1, 0.16], np.float32) * big[:, None]
    return marks(_xy(rows), size, np.where(big, 2.4, 1.0), DISC, edge, face)


def selection(scene: Scene, zoom: float) -> Marks:
    """Return the ring around the selected track."""
    rows = scene.heads[scene.heads["track"] == (-1 if scene.selected is None else scene.selected)]
    return marks(_xy(rows), head_size(scene, zoom) * 2.5, 1.2, DISC, rgba(SELECTED))


def overlay(scene: Scene, zoom: float, hidden: str = "") -> Marks:
    """Return all marks in drawing order; `hidden`: "u" leaves out uncoating, "m" the heads."""
    shown = [] if "u" in hidden else [flashes, rings]
    shown += [] if "m" in hidden else [heads]
    return stack([layer(scene, zoom) for layer in (*shown, selection)])


def stack(parts: Sequence[Marks]) -> Marks:
    """Concatenate marks."""
    return Marks(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def labels(scene: Scene, zoom: float) -> list[Label]:
    """Return labels of the selected track, and of tracks that flash because they uncoated.

    A label is at one of the four corners of its track, where it does not cover another head or
    label. A track without such a corner gets no label, except for the selected one.
    """
    rows = scene.heads
    chosen = rows["track"] == (-1 if scene.selected is None else scene.selected)
    flash = scene.flashes["track"][scene.flashes["kind"] == UNCOATING]
    wanted = np.flatnonzero(chosen | np.isin(rows["track"], flash))
    gap = 0.8 * head_size(scene, zoom) / zoom
    tall = 0.8 * LABEL_PX / zoom
    busy = np.stack([rows["x"] - gap, rows["y"] - gap, rows["x"] + gap, rows["y"] + gap], axis=1)
    out: list[Label] = []
    for i in wanted[np.argsort(~chosen[wanted], kind="stable")][:MOST_LABELS]:
        text, x, y = str(rows["track"][i]), float(rows["x"][i]), float(rows["y"][i])
        wide = 0.6 * LABEL_PX * len(text) / zoom
        corners = [
            (left, base)
            for base in (y - gap, y + gap + tall)
            for left in (x + gap, x - gap - wide)
            if _free(busy, left, base - tall, left + wide, base)
        ]
        if not corners and chosen[i]:
            corners = [(x + gap, y - gap)]
        if corners:
            left, base = corners[0]
            busy = np.vstack([busy, (left, base - tall, left + wide, base)])
            out.append(Label(left, base, text, SELECTED if chosen[i] else UNCOATED))
    return out


def _free(busy: NDArray[Any], left: float, top: float, right: float, bottom: float) -> bool:
    apart = (busy[:, 0] >= right) | (busy[:, 2] <= left)
    apart |= (busy[:, 1] >= bottom) | (busy[:, 3] <= top)
    return bool(apart.all())


def _xy(rows: NDArray[np.void]) -> NDArray[np.float32]:
    return np.stack([rows["x"], rows["y"]], axis=1)
