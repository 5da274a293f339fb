"""Features of the motion of a track, computed once for each new point, as it arrives.

The motion networks see tracks only through these numbers. None depends on later points;
lengths are measured in the track's own typical step, and only norms, dot products and angles of
displacements are used. So neither pixel size nor D, neither position nor direction of a track
matter, in 2-D as in 3-D. If the pixel size is known, the typical step in um is a further feature.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.windows import grown

Floats = NDArray[np.float64]

RING = 160  # points kept
LAGS = np.array([1, 2, 4, 8, 16, 32, 64, 128])  # points; displacements back over each
STRETCHES = np.array([4, 16, 48])  # points; means over neighbouring stretches: less noise
CENTRES = np.array([4.0, 16.0, 64.0])  # points; memory of the running centres of the track
SPREADS = np.array([8, 32, 128])  # points; radius of gyration over each
BACK = 3  # steps before the newest whose dot product with it is a feature
LASTING = 600.0  # points over which the typical step is a mean
RECENT = 16.0  # points of the recent one
STUCK = 1e-4  # pixels: typical step of a particle that does not move at all
QUIET = 0.01  # squared typical steps: below this a length counts as nothing
COUNT = 2 * len(LAGS) - 1 + 2 * len(STRETCHES) + 2 * len(CENTRES) + len(SPREADS) + BACK + 8
UNKNOWN = -1.0  # log10 of a step in um of unknown length, next to a flag that it is unknown

# columns of the memory of a slot
POINTS, FIRST, SCALE, NEAR, SOLID, SUMSQ = 0, 1, 4, 5, 6, 7
CENTRE = 8  # 3 numbers for each of CENTRES
WIDTH = CENTRE + 3 * len(CENTRES)


class FeatureState:
    """What the traits of the next point need of every living track, by slot."""

    def __init__(self, capacity: int = 256) -> None:
        self.ring = np.zeros((capacity, RING, 8))  # z y x, their running sums, of squares, frame
        self.past = np.zeros((capacity, WIDTH))

    def reserve(self, need: int) -> None:
        """Make room for slots below `need`."""
        self.ring, self.past = grown(self.ring, need), grown(self.past, need)

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self.past[slots, POINTS] = 0

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: Floats,
        um: float = 0.0,
        rows: int = 0,
    ) -> NDArray[np.float32]:
        """Traits (n, COUNT) of one more point (n, 3) z, y, x in pixels of each of `slots` (n,).

        `um` is the pixel size in micrometres, 0 if it is unknown. Zeros follow up to `rows`.
        """
        out = np.zeros((max(rows, len(slots)), COUNT), np.float32)
        _push(self.ring, self.past, slots, frames, points, um, out)
        return out


@njit()
def _push(
    ring: Floats,
    past: Floats,
    slots: NDArray[np.int32],
    frames: NDArray[np.int64],
    points: Floats,
    um: float,
    out: NDArray[np.float32],
) -> None:
    for i in range(len(slots)):
        _traits(ring[slots[i]], past[slots[i]], frames[i], points[i], um, out[i])


@njit()
def of_tracks(
    offset: NDArray[np.int64],
    frame: NDArray[np.int64],
    point: Floats,
    um: Floats,
    backwards: bool = False,
) -> NDArray[np.float32]:
    """Traits (total, COUNT) of whole tracks: track i is rows `offset[i]:offset[i + 1]`.

    `um` (tracks,) is the pixel size, 0 if unknown. With `backwards`, each track is
    processed from its last point to its first.
    """
    out = np.empty((len(point), COUNT), np.float32)
    ring = np.zeros((RING, 8))
    past = np.zeros(WIDTH)
    for i in range(len(offset) - 1):
        past[POINTS] = 0
        for k in range(offset[i + 1] - offset[i]):
            row = offset[i + 1] - 1 - k if backwards else offset[i] + k
            t = -frame[row] if backwards else frame[row]
            _traits(ring, past, t, point[row], um[i], out[row])
    return out


@njit()
def _between(ring: Floats, a: int, b: int, axis: int) -> float:
    """Displacement along one axis from the point `b` to the point `a` of the ring."""
    way: float = ring[a % RING, axis] - ring[b % RING, axis]
    return way


@njit()
def _traits(
    ring: Floats, past: Floats, frame: int, point: Floats, um: float, out: NDArray[np.float32]
) -> None:
    n = int(past[POINTS])  # index of this point
    if n == 0:
        past[:] = 0
        for axis in range(3):
            past[FIRST + axis] = point[axis]
    here = ring[n % RING]
    last = ring[(n - 1) % RING]
    x = np.empty(3)
    square = 0.0
    for axis in range(3):
        x[axis] = point[axis] - past[FIRST + axis]
        square += x[axis] ** 2
        here[axis] = x[axis]
        here[3 + axis] = x[axis] + (last[3 + axis] if n else 0.0)
    here[6] = square + (last[6] if n else 0.0)
    here[7] = frame
    out[:] = 0.0
    dt = 1.0
    if n:
        dt = max(frame - last[7], 1.0)
        step = 0.0
        for axis in range(3):
            step += (here[axis] - last[axis]) ** 2
        root = math.sqrt(math.sqrt(step / dt))
        past[SCALE] += (root - past[SCALE]) / min(float(n), LASTING)
        past[NEAR] += (root - past[NEAR]) / min(float(n), RECENT)
        if here[0] != last[0]:
            past[SOLID] = 1.0
    scale = max(past[SCALE] ** 2, STUCK) ** 2  # squared typical step
    at = 0

    # displacements over each lag, and the angle with the one before it
    for j in range(len(LAGS)):
        k = LAGS[j]
        if n >= k:
            length = 0.0
            for axis in range(3):
                length += _between(ring, n, n - k, axis) ** 2
            took = max(frame - ring[(n - k) % RING, 7], 1.0)
            out[at] = 0.5 * math.log(length / (scale * took) + QUIET)
            if j < len(LAGS) - 1 and n >= 2 * k:
                before, dot = 0.0, 0.0
                for axis in range(3):
                    d = _between(ring, n - k, n - 2 * k, axis)
                    before += d**2
                    dot += d * _between(ring, n, n - k, axis)
                bound = QUIET * scale
                out[at + len(LAGS)] = dot / math.sqrt((length + bound) * (before + bound))
        at += 1
    at += len(LAGS) - 1

    # means of neighbouring stretches
    for j in range(len(STRETCHES)):
        k = STRETCHES[j]
        if n + 1 >= 2 * k:
            length, before, dot = 0.0, 0.0, 0.0
            for axis in range(3):
                old = ring[(n - 2 * k) % RING, 3 + axis] if n >= 2 * k else 0.0
                middle = ring[(n - k) % RING, 3 + axis]
                d = (here[3 + axis] - 2 * middle + old) / k
                length += d**2
                if n + 1 >= 3 * k:
                    oldest = ring[(n - 3 * k) % RING, 3 + axis] if n >= 3 * k else 0.0
                    e = (middle - 2 * old + oldest) / k
                    before += e**2
                    dot += d * e
            took = max(frame - ring[(n - k) % RING, 7], 1.0)
            out[at] = 0.5 * math.log(length / (scale * took) + QUIET)
            bound = QUIET * scale
            out[at + len(STRETCHES)] = dot / math.sqrt((length + bound) * (before + bound))
        at += 1
    at += len(STRETCHES)

    # running centres as they stood: how far away, and whether the step led back
    for j in range(len(CENTRES)):
        far, back = 0.0, 0.0
        for axis in range(3):
            column = CENTRE + 3 * j + axis
            if n:
                d = last[axis] - past[column]
                far += d**2
                back += d * (x[axis] - last[axis])
                past[column] += (x[axis] - past[column]) / min(n + 1.0, CENTRES[j])
            else:
                past[column] = x[axis]
        if n:
            out[at] = 0.5 * math.log(far / (scale * CENTRES[j]) + QUIET)
            out[at + len(CENTRES)] = back / math.sqrt((far + QUIET * scale) * scale * dt)
        at += 1
    at += len(CENTRES)

    # radius of gyration
    for j in range(len(SPREADS)):
        k = SPREADS[j]
        if n + 1 >= k:
            total = here[6] - (ring[(n - k) % RING, 6] if n >= k else 0.0)
            mean = 0.0
            for axis in range(3):
                old = ring[(n - k) % RING, 3 + axis] if n >= k else 0.0
                mean += ((here[3 + axis] - old) / k) ** 2
            out[at] = 0.5 * math.log(max(total / k - mean, 0.0) / (scale * k) + QUIET / k)
        at += 1

    # the step and those before it
    for j in range(BACK):
        if n >= 2 + j:
            dot = 0.0
            for axis in range(3):
                dot += _between(ring, n, n - 1, axis) * _between(ring, n - 1 - j, n - 2 - j, axis)
            dot /= scale
            out[at] = 2 * dot / (1 + abs(dot))
        at += 1

    out[at] = math.log(dt)
    out[at + 1] = 0.25 * math.log(n + 1.0)
    out[at + 2] = 1.0 / (n + 1.0)
    out[at + 3] = past[SOLID]
    out[at + 4] = 0.5 * math.log(square / (scale * max(n, 1)) + QUIET)
    out[at + 5] = 2 * math.log((past[NEAR] + 1e-3) / (past[SCALE] + 1e-3))
    if um > 0:
        length = math.sqrt(scale) * um if n else STUCK  # no step yet: alike, whatever the pixels
        out[at + 6] = math.log10(length) - UNKNOWN
        out[at + 7] = 1.0
    past[POINTS] = n + 1
