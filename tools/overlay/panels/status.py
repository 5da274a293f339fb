"""What lies over the image and under it: time, scale bar, key map, status line."""

from __future__ import annotations

import math

import numpy as np

from livespt.tools.overlay.layers import rgba
from livespt.tools.overlay.primitives import (
    BACK,
    DIM,
    EM,
    INK,
    LINE,
    STATUS,
    Box,
    Sheet,
    Text,
    clip,
)
from livespt.tools.overlay.scene import Scene

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
    parts += [f"{len(scene.heads)} tracks", f"{scene.lost} skipped or lost"]
    if scene.degraded:
        parts.append(f"{scene.degraded} spots linked in dense regions")
    known = np.array([ms for ms in scene.latency if not math.isnan(ms)])
    if len(known):
        parts.append("latency {:.0f} / {:.0f} ms".format(*np.percentile(known, (50, 99))))
    parts += [f"{scene.announced} events", scene.start.mode, f"run {scene.start.run}", note]
    return "    ".join(part for part in parts if part)


def draw_stamp(out: Sheet, scene: Scene, seen: tuple[float, float, float, float]) -> None:
    text, x, y = clock(scene), seen[0] + 12, seen[1] + 12
    out.boxes.append(Box(x, y, EM * 17 * len(text) + 20, 30, rgba(BACK, 0.72)))
    out.texts.append(Text(x + 10, y + 21, text, 17, INK))


def draw_scale_bar(
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


def draw_status(out: Sheet, scene: Scene, size: tuple[int, int], note: str) -> None:
    out.boxes.append(Box(0, size[1] - STATUS, size[0], STATUS, rgba(BACK)))
    out.boxes.append(Box(0, size[1] - STATUS, size[0], 1, rgba(LINE)))
    text = clip(status(scene, note), size[0] - 24, 12)
    out.texts.append(Text(12, size[1] - 10, text, 12, DIM))


def draw_keys(out: Sheet, width: int, height: int) -> None:
    tall, broad = 24 * len(KEYS) + 28, 390
    x, y = (width - broad) / 2, (height - tall) / 2
    out.boxes.append(Box(x, y, broad, tall, rgba(BACK, 0.92)))
    for i, (key, does) in enumerate(KEYS):
        out.texts.append(Text(x + 130, y + 32 + 24 * i, key, 14, INK, "right", True))
        out.texts.append(Text(x + 152, y + 32 + 24 * i, does, 14, INK))
