"""Panels of the movie's name, of motions and their counts, of the rings of uncoating."""

from __future__ import annotations

import numpy as np

from livespt.tools.overlay import layers
from livespt.tools.overlay.layers import NAMES, PALETTE, UNCOATED, rgba
from livespt.tools.overlay.primitives import DIM, INK, PLATE, Box, Path, Sheet, Text, clip, title
from livespt.tools.overlay.scene import UNSURE, Scene


def draw_header(out: Sheet, scene: Scene, x: float, span: float) -> float:
    start = scene.start
    out.texts.append(Text(x, 32, clip(start.source, span, 17), 17, INK, bold=True))
    facts = [f"{' x '.join(str(n) for n in start.shape)} px"]
    if start.pixel_size_um:
        facts.append(f"{start.pixel_size_um:.3g} µm/px")
    if start.frame_interval_s:
        facts.append(f"{start.frame_interval_s * 1000:.3g} ms/frame")
    out.texts.append(Text(x, 53, clip("   ".join(facts), span, 12), 12, DIM))
    return 68.0


def draw_motions(out: Sheet, scene: Scene, x: float, y: float, span: float, _: float) -> float:
    """The legend: line, marker, name, and how many tracks move like that now."""
    title(out, x, y, "Motion")
    out.texts.append(Text(x + span, y, "tracks", 12, DIM, "right"))
    counts = np.bincount(scene.heads["state"], minlength=len(NAMES))
    most = max(int(counts.max()), 1)
    for i, name in enumerate(NAMES):
        row = y + 23 + 21 * i
        line = np.array([[x, row - 4.5], [x + 30, row - 4.5]], np.float32)
        out.paths.append(Path(line, 2.0, rgba(PALETTE[i], 0.75)))
        plate = layers.marks(
            [[x + 30, row - 4.5]], 15, 0, layers.DISC, layers.TRANSPARENT, rgba(PLATE)
        )
        mark = layers.marks([[x + 30, row - 4.5]], 12, 1.6, i, rgba(PALETTE[i]))
        out.marks.extend([plate, mark])
        out.texts.append(Text(x + 48, row, name, 13, INK if i < UNSURE else DIM))
        free = span - 150 - 40
        bar = free * counts[i] / most
        out.boxes.append(Box(x + 150, row - 9, bar, 9, rgba(PALETTE[i], 0.55)))
        out.texts.append(Text(x + span, row, str(counts[i]), 13, INK, "right"))
    return y + 23 + 21 * len(NAMES) - 4


def draw_rings(out: Sheet, scene: Scene, x: float, y: float, span: float, _: float) -> float:
    """The legend of the rings."""
    title(out, x, y, "Uncoating")
    p = np.array([0.25, 0.6, 1.0], np.float32)
    size, width, edge = layers.ring_style(p, 13.0)
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
