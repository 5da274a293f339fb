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

NOT_FINITE, SATURATED, FLAT, STUCK, CLOCK_BACKWARDS = 1, 2, 4, 8, 16  # bits of FRAME["quality"]
NAMES = {
    NOT_FINITE: "pixels",
    SATURATED: "saturated",
    FLAT: "flat",
    STUCK: "stuck",
    CLOCK_BACKWARDS: "clock",
}
FULL_SCALES = (255, 1023, 4095, 16383, 65535)  # of cameras of 8 to 16 bits
MIN_SATURATED_PIXELS = 16  # fewer may be hot pixels
STUCK_EVERY = 500  # frames between two checks for stuck pixels, which stay: 6 ms at 512 x 512
# deviation of a stuck pixel, in units of the noise and of the greatest one of its neighbours
STUCK_OVER_NOISE, STUCK_OVER_NEIGHBOURS = 12.0, 4.0


def inspect_frame(frame: Frame, last_s: float) -> int:
    """Return the bits of what is unusual; `last_s` is the time of the frame analyzed before."""
    image = frame.image
    if image.size == 0:
        return FLAT
    found = 0
    low, high = image.min(), image.max()  # NaN where one pixel is
    if image.dtype.kind == "f":
        if not (np.isfinite(low) and np.isfinite(high)):
            found |= NOT_FINITE
            numbers = image[np.isfinite(image)]
            low, high = (numbers.min(), numbers.max()) if numbers.size else (0, 0)
    elif int(high) in FULL_SCALES and np.count_nonzero(image == high) >= MIN_SATURATED_PIXELS:
        found |= SATURATED
    if low == high:
        found = (found | FLAT) & ~SATURATED if high == 0 else found | FLAT
    elif frame.number % STUCK_EVERY == 0 and _stuck(image):
        found |= STUCK
    if frame.clock and (not math.isfinite(frame.time_s) or frame.time_s < last_s):
        found |= CLOCK_BACKWARDS
    return found


def _stuck(image: NDArray[Any]) -> bool:
    """Whether single pixels stick out: no spot of light is narrower than its pixel."""
    plane = (image if image.ndim == 2 else image[len(image) // 2]).astype(np.float32)
    if min(plane.shape) < 5:
        return False
    plane[~np.isfinite(plane)] = 0
    level = np.float32(np.median(plane[::3, ::3]))
    noise = np.float32(1.4826 * np.median(np.abs(plane[::3, ::3] - level)) + 1e-6)
    deviation = np.abs(plane - level)
    around = np.zeros_like(deviation[1:-1, 1:-1])
    for y in (0, 1, 2):
        for x in (0, 1, 2):
            if (y, x) != (1, 1):
                part = deviation[y : y + around.shape[0], x : x + around.shape[1]]
                np.maximum(around, part, out=around)
    limit = np.maximum(STUCK_OVER_NOISE * noise, STUCK_OVER_NEIGHBOURS * around)
    return bool((deviation[1:-1, 1:-1] > limit).any())
