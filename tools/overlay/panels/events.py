"""Panel of the newest events."""

from __future__ import annotations

import numpy as np

from livespt.stream.types import KINDS
from livespt.tools.overlay.layers import UNCOATED
from livespt.tools.overlay.primitives import DIM, INK, Sheet, Text, title
from livespt.tools.overlay.scene import UNCOATING, Scene


def draw_events(out: Sheet, scene: Scene, x: float, y: float, span: float, height: float) -> float:
    title(out, x, y, "Events")
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
