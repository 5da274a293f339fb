"""The panel: everything drawn in canvas pixels: legend, inspector, events, scale bar, status line.

`sheet` turns a scene into boxes, paths, marks and texts, which a renderer only has to draw. The
origin is the upper left corner of the canvas, y points down, and the y of a text is its base line.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import KINDS, MOTIONS
from livespt.tools import layers
from livespt.tools.layers import NAMES, PALETTE, UNCOATED, Marks, rgba
from livespt.tools.scene import UNCOATING, UNSURE, Scene

Colour = tuple[float, float, float, float]

STATUS = 30  # height of the status line, pixels
NARROW, WIDE = 300, 470  # width of the panel, pixels
PAD = 18
BACK, PLATE, LINE = "#0C0F12", "#1B2128", "#39434E"
INK, DIM = "#F1F3F5", "#A3AEB9"
CURVE = 200  # points of a track that the inspector shows
EM = 0.56  # mean width of a character, in units of its size

KEYS = (
    ("space", "pause, go on"),
    ("left  right", "one frame back, on (stored run)"),
    ("home  end", "first, last frame"),
    ("wheel  drag", "zoom, pan;  f  fits the image"),
    ("click", "select a track"),
    ("t  m  u", "tails, markers, uncoating rings"),
    ("l  p", "labels, panel"),
    ("c", "hold the contrast"),
    ("s", "save a screenshot"),
    ("?", "these keys"),
)


class Text(NamedTuple):
    x: float
    y: float
    text: str
    size: float  # pixels
    colour: str
    align: str = "left"  # or "center", "right"
    bold: bool = False


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    colour: Colour


class Path(NamedTuple):
    points: NDArray[np.float32]  # (n, 2) x, y
    width: float
    colour: Colour


class Place(NamedTuple):
    """Position and zoom of the image on the canvas."""

    x: float  # x and y of the outer corner of its first pixel
    y: float
    zoom: float  # canvas pixels per image pixel


class Sheet(NamedTuple):
    """What to draw, in this order."""

    boxes: list[Box]
    paths: list[Path]
    marks: list[Marks]
    texts: list[Text]


def view(scene: Scene, size: tuple[int, int], panel: bool = True) -> tuple[int, int, int, int]:
    """Return x, y, width and height of the part of the canvas for the image."""
    width, height = size[0], size[1] - STATUS
    if not panel:
        return 0, 0, max(width, 1), max(height, 1)
    rows, columns = scene.image.shape
    spare = width - round(height * columns / max(rows, 1))
    return 0, 0, max(width - int(np.clip(spare, NARROW, WIDE)), 1), max(height, 1)


def fit(scene: Scene, size: tuple[int, int], panel: bool = True) -> Place:
    """Return the place of an image that fills its part of the canvas, centred."""
    x, y, width, height = view(scene, size, panel)
    rows, columns = scene.image.shape
    zoom = min(width / columns, height / rows)
    return Place(x + (width - zoom * columns) / 2, y + (height - zoom * rows) / 2, zoom)


def sheet(
    scene: Scene,
    size: tuple[int, int],
    place: Place,
    *,
    panel: bool = True,
    keys: bool = False,
    note: str = "",
) -> Sheet:
    """Return what to draw around and over the image.

    Parameters
    ----------
    size : (int, int)
        Canvas width and height, pixels.
    place : Place
        Position and zoom of the image.
    panel, keys : bool
        Whether to show the panel, and the key map.
    note : str
        Additional text for the status line.
    """
    out = Sheet([], [], [], [])
    _, _, width, height = view(scene, size, panel)
    rows, columns = scene.image.shape
    seen = (
        max(place.x, 0.0),
        max(place.y, 0.0),
        min(place.x + columns * place.zoom, width),
        min(place.y + rows * place.zoom, height),
    )
    _stamp(out, scene, seen)
    _scale_bar(out, scene, seen, place.zoom)
    _status(out, scene, size, note)
    if panel:
        left, span = width + PAD, size[0] - width - 2 * PAD
        out.boxes.append(Box(width, 0, size[0] - width, height, rgba(PLATE)))
        y = _header(out, scene, left, span)
        for draw, need in ((_motions, 150), (_probability, 92), (_track, 216), (_events, 70)):
            if y + need <= height:
                out.boxes.append(Box(left, y, span, 1, rgba(LINE)))
                y = draw(out, scene, left, y + 26, span, height)
    if keys:
        _keys(out, width, height)
    return out


def clip(text: str, pixels: float, size: float) -> str:
    """Return the text, shortened in its middle to fit."""
    most = max(int(pixels / (EM * size)), 5)
    if len(text) <= most:
        return text
    return text[: (most - 1) // 2] + "…" + text[-(most // 2) :]


def round_length(most: float) -> float:
    """Return the greatest 1, 2 or 5 times a power of ten that is not above `most`."""
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most * (1 + 1e-9))


def clock(scene: Scene) -> str:
    """Return the time of the frame, or its number if the time is unknown."""
    if not scene.start.frame_interval_s and not scene.time_s:
        return f"frame {scene.frame}"
    minutes, seconds = divmod(scene.time_s, 60)
    return f"{int(minutes)}:{seconds:05.2f} min" if minutes else f"{seconds:.2f} s"


def status(scene: Scene, note: str = "") -> str:
    """Return the status line."""
    parts = [f"frame {scene.frame}"]
    fps = scene.fps()
    if fps:
        parts.append(f"{fps:.3g} frames/s")
    parts += [f"{len(scene.heads)} tracks", f"{scene.lost} lost"]
    if scene.degraded:
        parts.append(f"{scene.degraded} spots linked in a crowd")
    known = np.array([ms for ms in scene.latency if not math.isnan(ms)])
    if len(known):
        parts.append("latency {:.0f} / {:.0f} ms".format(*np.percentile(known, (50, 99))))
    parts += [f"{scene.announced} events", scene.start.mode, f"run {scene.start.run}", note]
    return "    ".join(part for part in parts if part)


def _stamp(out: Sheet, scene: Scene, seen: tuple[float, float, float, float]) -> None:
    text, x, y = clock(scene), seen[0] + 12, seen[1] + 12
    out.boxes.append(Box(x, y, EM * 17 * len(text) + 20, 30, rgba(BACK, 0.72)))
    out.texts.append(Text(x + 10, y + 21, text, 17, INK))


def _scale_bar(
    out: Sheet, scene: Scene, seen: tuple[float, float, float, float], zoom: float
) -> None:
    unit_um = scene.start.pixel_size_um
    unit = unit_um or 1.0
    length = round_length(max(0.22 * (seen[2] - seen[0]) / zoom * unit, 1e-6))
    bar = length / unit * zoom
    text = f"{length:g} {'µm' if unit_um else 'px'}"
    plate = max(bar, EM * 17 * len(text)) + 24
    x, y = seen[2] - 12 - plate, seen[3] - 12 - 44
    out.boxes.append(Box(x, y, plate, 44, rgba(BACK, 0.72)))
    out.boxes.append(Box(x + (plate - bar) / 2, y + 30, bar, 4, rgba(INK)))
    out.texts.append(Text(x + plate / 2, y + 21, text, 17, INK, "center"))


def _status(out: Sheet, scene: Scene, size: tuple[int, int], note: str) -> None:
    out.boxes.append(Box(0, size[1] - STATUS, size[0], STATUS, rgba(BACK)))
    out.boxes.append(Box(0, size[1] - STATUS, size[0], 1, rgba(LINE)))
    text = clip(status(scene, note), size[0] - 24, 12)
    out.texts.append(Text(12, size[1] - 10, text, 12, DIM))


def _title(out: Sheet, x: float, y: float, text: str) -> None:
    out.texts.append(Text(x, y, text, 14, INK, bold=True))


def _header(out: Sheet, scene: Scene, x: float, span: float) -> float:
    start = scene.start
    out.texts.append(Text(x, 32, clip(start.source, span, 17), 17, INK, bold=True))
    facts = [f"{' x '.join(str(n) for n in start.shape)} px"]
    if start.pixel_size_um:
        facts.append(f"{start.pixel_size_um:.3g} µm/px")
    if start.frame_interval_s:
        facts.append(f"{start.frame_interval_s * 1000:.3g} ms/frame")
    out.texts.append(Text(x, 53, clip("   ".join(facts), span, 12), 12, DIM))
    return 68.0


def _motions(out: Sheet, scene: Scene, x: float, y: float, span: float, _: float) -> float:
    """The legend: line, marker, name, and the number of tracks with each motion."""
    _title(out, x, y, "Motion")
    out.texts.append(Text(x + span, y, "tracks", 12, DIM, "right"))
    counts = np.bincount(scene.heads["state"], minlength=len(NAMES))
    most = max(int(counts.max()), 1)
    for i, name in enumerate(NAMES):
        row = y + 23 + 21 * i
        line = np.array([[x, row - 4.5], [x + 30, row - 4.5]], np.float32)
        out.paths.append(Path(line, 2.0, rgba(PALETTE[i], 0.75)))
        plate = layers.marks([[x + 30, row - 4.5]], 15, 0, layers.DISC, layers.CLEAR, rgba(PLATE))
        mark = layers.marks([[x + 30, row - 4.5]], 12, 1.6, i, rgba(PALETTE[i]))
        out.marks.extend([plate, mark])
        out.texts.append(Text(x + 48, row, name, 13, INK if i < UNSURE else DIM))
        free = span - 150 - 40
        bar = free * counts[i] / most
        out.boxes.append(Box(x + 150, row - 9, bar, 9, rgba(PALETTE[i], 0.55)))
        out.texts.append(Text(x + span, row, str(counts[i]), 13, INK, "right"))
    return y + 23 + 21 * len(NAMES) - 4


def _probability(out: Sheet, scene: Scene, x: float, y: float, span: float, _: float) -> float:
    """The legend of the rings."""
    _title(out, x, y, "Uncoating")
    p = np.array([0.25, 0.6, 1.0], np.float32)
    size, width, edge = layers.ring_look(p, 13.0)
    step = (span - 16) / 4
    xy = np.array([[x + 16 + step * i, y + 30] for i in range(4)], np.float32)
    out.marks.append(layers.marks(xy[:3], size, width, layers.DISC, edge))
    for at, value in zip(xy[:3], p, strict=True):
        out.texts.append(Text(at[0] + 20, at[1] + 5, f"p {value:.3g}", 12, DIM))
    for at_size, alpha in ((34, 0.9), (44, 0.35)):
        out.marks.append(
            layers.marks(
                xy[3:], at_size, 2, layers.DISC, rgba(UNCOATED, alpha), rgba(UNCOATED, 0.1)
            )
        )
    out.texts.append(Text(xy[3][0] + 28, xy[3][1] + 5, "event", 12, DIM))
    return y + 64


def _track(out: Sheet, scene: Scene, x: float, y: float, span: float, _: float) -> float:
    """The inspector of the selected track: current probabilities, and p_uncoated by frame."""
    if scene.selected is None:
        _title(out, x, y, "Track")
        out.texts.append(Text(x, y + 22, "click a track", 12, DIM))
        return y + 36
    _title(out, x, y, f"Track {scene.selected}")
    rows = scene.history(scene.selected)
    age = f"{len(rows)} frames seen" if len(rows) else ""
    rows = rows[-CURVE:]
    if not len(rows):
        out.texts.append(Text(x, y + 22, "not seen yet", 12, DIM))
        return y + 36
    now, first, last = rows[-1], int(rows["frame"][0]), int(rows["frame"][-1])
    age += "" if last == scene.frame else f", the last was {last}"
    out.texts.append(Text(x + span, y, age, 12, DIM, "right"))
    for i, name in enumerate(MOTIONS):
        at = x + 7 + span / 5 * i
        out.marks.append(layers.marks([[at, y + 18]], 11, 1.5, i, rgba(PALETTE[i])))
        value = f"{float(now[f'p_{name}']):.2f}"
        out.texts.append(Text(at + 11, y + 22.5, value, 12, INK))
    text = f"p {float(now['p_uncoated']):.2f}"
    out.texts.append(Text(x + span, y + 22.5, text, 12, UNCOATED, "right"))
    _curve(out, rows, Box(x, y + 40, span - 26, 100, rgba(BACK)))
    _ribbon(out, rows, x, y + 144, span - 26)
    out.texts.append(Text(x, y + 168, f"{first}", 12, DIM))
    out.texts.append(Text(x + (span - 26) / 2, y + 168, "p(uncoated) by frame", 12, DIM, "center"))
    out.texts.append(Text(x + span - 26, y + 168, f"{last}", 12, DIM, "right"))
    return y + 182


def _curve(out: Sheet, rows: NDArray[np.void], box: Box) -> None:
    out.boxes.append(box)
    for level in (0.0, 0.5, 1.0):
        line = box.y + 4 + (box.height - 8) * (1 - level)
        out.boxes.append(Box(box.x, line, box.width, 1, rgba(LINE)))
        out.texts.append(Text(box.x + box.width + 26, line + 4, f"{level:g}", 12, DIM, "right"))
    frame = rows["frame"].astype(np.float64)
    span = max(float(frame[-1] - frame[0]), 1.0)
    x = box.x + (frame - frame[0]) / span * box.width
    y = box.y + 4 + (box.height - 8) * (1 - rows["p_uncoated"])
    if len(rows) > 1:
        points = np.stack([x, y], axis=1).astype(np.float32)
        out.paths.append(Path(points, 1.8, rgba(UNCOATED)))
    tip = layers.marks([[x[-1], y[-1]]], 7, 0, layers.DISC, layers.CLEAR, rgba(UNCOATED))
    out.marks.append(tip)


def _ribbon(out: Sheet, rows: NDArray[np.void], left: float, y: float, width: float) -> None:
    """The motion at each frame, as colours in a row."""
    state = np.where(rows["state"] < 0, UNSURE, rows["state"])
    begins = np.flatnonzero(np.append(True, state[1:] != state[:-1]))
    frame = np.append(rows["frame"], rows["frame"][-1] + 1).astype(np.float64)
    scale = width / (frame[-1] - frame[0])
    for begin, end in zip(begins, np.append(begins[1:], len(rows)), strict=True):
        at, to = (frame[[begin, end]] - frame[0]) * scale
        out.boxes.append(Box(left + at, y, to - at, 9, rgba(PALETTE[state[begin]])))


def _events(out: Sheet, scene: Scene, x: float, y: float, span: float, height: float) -> float:
    _title(out, x, y, "Events")
    out.texts.append(Text(x + span, y, "frame", 12, DIM, "right"))
    room = int((height - y - 10) // 20)
    for i, event in enumerate(list(scene.recent)[::-1][:room]):
        row = y + 22 + 20 * i
        loud = event["kind"] == UNCOATING
        name = KINDS[event["kind"]]
        if event["amends"] >= 0:
            name += f" (amends {event['amends']})"
        out.texts.append(Text(x, row, name, 13, UNCOATED if loud else DIM))
        out.texts.append(Text(x + 0.44 * span, row, f"track {event['track']}", 13, INK))
        if np.isfinite(event["probability"]):
            p = f"{event['probability']:.2f}"
            out.texts.append(Text(x + 0.8 * span, row, p, 13, INK, "right"))
        out.texts.append(Text(x + span, row, str(event["frame"]), 13, INK, "right"))
    if not scene.recent:
        out.texts.append(Text(x, y + 22, "none yet", 12, DIM))
    return height


def _keys(out: Sheet, width: int, height: int) -> None:
    tall, broad = 24 * len(KEYS) + 28, 390
    x, y = (width - broad) / 2, (height - tall) / 2
    out.boxes.append(Box(x, y, broad, tall, rgba(BACK, 0.92)))
    for i, (key, does) in enumerate(KEYS):
        out.texts.append(Text(x + 130, y + 32 + 24 * i, key, 14, INK, "right", True))
        out.texts.append(Text(x + 152, y + 32 + 24 * i, does, 14, INK))
