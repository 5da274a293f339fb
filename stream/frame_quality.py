"""Frame quality: what is the matter with a frame that is analyzed all the same, as bits.

A frame is never rejected because of its pixels: it is analyzed as it is, the `quality` field of its
row in `frames` records what was found, and a notice reports it once. Frames out of order, which no
linker could use, are stored and not analyzed (`Analyzer.refuses`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.types import Frame

NUMBERS, SATURATED, FLAT, STUCK, BACK = 1, 2, 4, 8, 16  # bits of FRAME["quality"]
NAMES = {NUMBERS: "pixels", SATURATED: "saturated", FLAT: "flat", STUCK: "stuck", BACK: "clock"}
TOP = (255, 1023, 4095, 16383, 65535)  # full scale of cameras of 8 to 16 bits
FEW = 16  # pixels at full scale that say nothing: hot ones
STUCK_EVERY = 500  # frames between two checks for stuck pixels, which stay: 6 ms at 512 x 512
FAR = 12.0  # times the noise that such a pixel is off, and this often what its neighbours are off
SHARP = 4.0


def inspect_frame(frame: Frame, last_s: float) -> int:
    """Return the bits of what is unusual; `last_s` is the time of the frame analyzed before."""
    image = frame.image
    if image.size == 0:
        return FLAT
    found = 0
    low, high = image.min(), image.max()  # NaN where one pixel is
    if image.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):
            found |= NUMBERS
            numbers = image[np.isfinite(image)]
            low, high = (numbers.min(), numbers.max()) if numbers.size else (0, 0)
    elif int(high) in TOP and np.count_nonzero(image == high) >= FEW:
        found |= SATURATED
    if low == high:
        found = (found | FLAT) & ~SATURATED if high == 0 else found | FLAT
    elif frame.number % STUCK_EVERY == 0 and _stuck(image):
        found |= STUCK
    if frame.clock and (not math.isfinite(frame.time_s) or frame.time_s < last_s):
        found |= BACK
    return found


def _stuck(image: NDArray[Any]) -> bool:
    """Whether single pixels stick out: no spot of light is narrower than its pixel."""
    plane = (image if image.ndim == 2 else image[len(image) // 2]).astype(np.float32)
    if min(plane.shape) < 5:
        return False
    plane[~np.isfinite(plane)] = 0
    level = np.float32(np.median(plane[::3, ::3]))
    noise = np.float32(1.4826 * np.median(np.abs(plane[::3, ::3] - level)) + 1e-6)
    off = np.abs(plane - level)
    around = np.zeros_like(off[1:-1, 1:-1])
    for y in (0, 1, 2):
        for x in (0, 1, 2):
            if (y, x) != (1, 1):
                part = off[y : y + around.shape[0], x : x + around.shape[1]]
                np.maximum(around, part, out=around)
    return bool((off[1:-1, 1:-1] > np.maximum(FAR * noise, SHARP * around)).any())
