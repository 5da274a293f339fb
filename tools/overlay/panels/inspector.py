"""Panel of the selected track: its probabilities now, and how they came."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import MOTIONS
from livespt.tools.overlay import layers
from livespt.tools.overlay.layers import PALETTE, UNCOATED, rgba
from livespt.tools.overlay.primitives import BACK, DIM, INK, LINE, Box, Path, Sheet, Text, title
from livespt.tools.overlay.scene import UNSURE, Scene

CURVE = 200  # points of a track that the inspector shows


def draw_track(out: Sheet, scene: Scene, x: float, y: float, span: float, _: float) -> float:
    """The inspector of the selected track: probabilities now, and p_uncoated so far."""
    if scene.selected is None:
        title(out, x, y, "Track")
        out.texts.append(Text(x, y + 22, "click a track", 12, DIM))
        return y + 36
    title(out, x, y, f"Track {scene.selected}")
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
    p = float(now["p_uncoated"])
    text = "p -" if math.isnan(p) else f"p {p:.2f}"
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
    known = np.isfinite(y)  # NaN: nobody looked for uncoating
    x, y = x[known], y[known]
    if not len(y):
        return
    if len(y) > 1:
        points = np.stack([x, y], axis=1).astype(np.float32)
        out.paths.append(Path(points, 1.8, rgba(UNCOATED)))
    tip = layers.marks([[x[-1], y[-1]]], 7, 0, layers.DISC, layers.TRANSPARENT, rgba(UNCOATED))
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
