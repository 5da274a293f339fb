"""Features of motion: what each new point of a track says about how the track moves.

The motion networks see tracks only through these numbers. They are computed once, as the point
arrives:

- They look back, never ahead.
- Lengths are measured in the track's own typical step, so neither the pixel size nor D matters.
- Only norms, dot products and angles of displacements are used, so neither the position nor the
  direction of a track matters, in 2-D as in 3-D.
- Where the size of a pixel is known, the typical step in micrometres is one feature more.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit
from livespt.stream.windows import grown

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

RING = 160  # points kept
LAGS = np.array([1, 2, 4, 8, 16, 32, 64, 128])  # points; displacements back over each
STRETCHES = np.array([4, 16, 48])  # points; means over neighbouring stretches: less noise
CENTRES = np.array([4.0, 16.0, 64.0])  # points; memory of the running centres of the track
SPREADS = np.array([8, 32, 128])  # points; radius of gyration over each
EARLIER_STEPS = 3  # whose dot products with the newest are features
STEP_POINTS = 600.0  # over which the typical step is a mean
RECENT_POINTS = 16.0  # over which the recent typical step is a mean
STUCK_STEP_PX = 1e-4  # typical step of a particle that does not move at all
MIN_SQUARE = 0.01  # squared typical steps: a shorter length counts as this
UNKNOWN = -1.0  # log10 of a step in um that is not known; a flag next to it says so

# columns of the features: where each kind begins
LENGTHS = 0  # of displacements over each lag
ANGLES = LENGTHS + len(LAGS)  # with the displacement before, but for the longest lag
STRETCH_LENGTHS = ANGLES + len(LAGS) - 1  # of displacements of means of stretches
STRETCH_ANGLES = STRETCH_LENGTHS + len(STRETCHES)
CENTRE_LENGTHS = STRETCH_ANGLES + len(STRETCHES)  # distances from the running centres
CENTRE_STEPS = CENTRE_LENGTHS + len(CENTRES)  # whether the newest step leads back there
GYRATION = CENTRE_STEPS + len(CENTRES)
PRODUCTS = GYRATION + len(SPREADS)  # of the newest step and those before it
OTHERS = PRODUCTS + EARLIER_STEPS  # eight features of the track as a whole, see `_others`
COUNT = OTHERS + 8

# columns of a point in the ring: position, sums of positions and of squares since the first, frame
AT, SUM, SQUARES, FRAME = 0, 3, 6, 7
# columns of what is kept of a track: number of points, first point, typical step and recent typical
# step (square roots), whether z changed; 3 numbers for each running centre
POINTS, FIRST, SCALE, RECENT_SCALE, HAS_DEPTH = 0, 1, 4, 5, 6
CENTRE = 8
WIDTH = CENTRE + 3 * len(CENTRES)


class FeatureState:
    """What the features of the next point need of every living track, by slot."""

    def __init__(self, capacity: int = 256) -> None:
        self.ring = np.zeros((capacity, RING, 8))
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
        pixel_size_um: float = 0.0,
        rows: int = 0,
    ) -> Features:
        """Add a point to each of some tracks, and return its features.

        Parameters
        ----------
        slots, frames : (n,)
            The tracks, and the frames of the points.
        points : (n, 3)
            Positions z, y, x in pixels.
        pixel_size_um
            Size of a pixel, 0 if it is not known.
        rows
            Rows to return at least: zeros follow the features.

        Returns
        -------
        (max(n, rows), COUNT)
        """
        out = np.zeros((max(rows, len(slots)), COUNT), np.float32)
        _push(self.ring, self.past, slots, frames, points, pixel_size_um, out)
        return out


@njit()
def _push(
    ring: Floats,
    past: Floats,
    slots: NDArray[np.int32],
    frames: NDArray[np.int64],
    points: Floats,
    pixel_size_um: float,
    out: Features,
) -> None:
    for i in range(len(slots)):
        _features(ring[slots[i]], past[slots[i]], frames[i], points[i], pixel_size_um, out[i])


@njit()
def of_tracks(
    offset: NDArray[np.int64],
    frame: NDArray[np.int64],
    point: Floats,
    pixel_size_um: Floats,
    backwards: bool = False,
) -> Features:
    """Return the features of all points of whole tracks.

    Parameters
    ----------
    offset : (tracks + 1,)
        Track i is rows `offset[i]:offset[i + 1]`.
    frame : (total,)
        Frames of the points.
    point : (total, 3)
        Positions z, y, x in pixels.
    pixel_size_um : (tracks,)
        Size of a pixel, 0 if it is not known.
    backwards
        Whether each track is read from its end.

    Returns
    -------
    (total, COUNT)
    """
    out = np.empty((len(point), COUNT), np.float32)
    ring = np.zeros((RING, 8))
    past = np.zeros(WIDTH)
    for i in range(len(offset) - 1):
        past[POINTS] = 0
        for k in range(offset[i + 1] - offset[i]):
            row = offset[i + 1] - 1 - k if backwards else offset[i] + k
            t = -frame[row] if backwards else frame[row]
            _features(ring, past, t, point[row], pixel_size_um[i], out[row])
    return out


@njit()
def _between(ring: Floats, a: int, b: int, axis: int) -> float:
    """Displacement along one axis from the point `b` to the point `a` of the ring."""
    way: float = ring[a % RING, axis] - ring[b % RING, axis]
    return way


# Its parts are inlined, and so is it: calls would cost a sixth of the time. No divisor is ever 0.
@njit(forceinline=True, error_model="numpy")
def _features(
    ring: Floats, past: Floats, frame: int, point: Floats, pixel_size_um: float, out: Features
) -> None:
    """Add a point (3,) to a track, and write its features (COUNT,).

    `ring` (RING, 8) and `past` (WIDTH,) are what is kept of the track.
    """
    n = int(past[POINTS])  # index of this point
    here, last = n % RING, (n - 1) % RING
    square, dt = _add(ring, here, last, past, n, frame, point)
    scale = max(past[SCALE] ** 2, STUCK_STEP_PX) ** 2  # squared typical step
    out[:] = 0.0
    _lags(ring, n, frame, scale, out)
    _stretches(ring, here, n, frame, scale, out)
    _centres(ring, here, last, past, n, scale, dt, out)
    _gyration(ring, here, n, scale, out)
    _products(ring, n, scale, out)
    _others(past, n, square, scale, dt, pixel_size_um, out)
    past[POINTS] = n + 1


@njit(forceinline=True, error_model="numpy")
def _add(
    ring: Floats, here: int, last: int, past: Floats, n: int, frame: int, point: Floats
) -> tuple[float, float]:
    """Add a point to the ring and to the typical steps.

    Returns the squared distance from the first point, and the number of frames since the last.
    """
    if n == 0:
        past[:] = 0
        for axis in range(3):
            past[FIRST + axis] = point[axis]
    square = 0.0
    for axis in range(3):
        x = point[axis] - past[FIRST + axis]
        square += x**2
        ring[here, AT + axis] = x
        ring[here, SUM + axis] = x + (ring[last, SUM + axis] if n else 0.0)
    ring[here, SQUARES] = square + (ring[last, SQUARES] if n else 0.0)
    ring[here, FRAME] = frame
    dt = 1.0
    if n:
        dt = max(frame - ring[last, FRAME], 1.0)
        step = 0.0
        for axis in range(3):
            step += (ring[here, AT + axis] - ring[last, AT + axis]) ** 2
        root = math.sqrt(math.sqrt(step / dt))
        past[SCALE] += (root - past[SCALE]) / min(float(n), STEP_POINTS)
        past[RECENT_SCALE] += (root - past[RECENT_SCALE]) / min(float(n), RECENT_POINTS)
        if ring[here, AT] != ring[last, AT]:
            past[HAS_DEPTH] = 1.0
    return square, dt


@njit(forceinline=True, error_model="numpy")
def _lags(ring: Floats, n: int, frame: int, scale: float, out: Features) -> None:
    """Displacements over each lag, and the angle of each with the one before it."""
    for j in range(len(LAGS)):
        k = LAGS[j]
        if n >= k:
            length = 0.0
            for axis in range(3):
                length += _between(ring, n, n - k, axis) ** 2
            took = max(frame - ring[(n - k) % RING, FRAME], 1.0)
            out[LENGTHS + j] = 0.5 * math.log(length / (scale * took) + MIN_SQUARE)
            if j < len(LAGS) - 1 and n >= 2 * k:
                before, dot = 0.0, 0.0
                for axis in range(3):
                    d = _between(ring, n - k, n - 2 * k, axis)
                    before += d**2
                    dot += d * _between(ring, n, n - k, axis)
                bound = MIN_SQUARE * scale
                out[ANGLES + j] = dot / math.sqrt((length + bound) * (before + bound))


@njit(forceinline=True, error_model="numpy")
def _stretches(ring: Floats, here: int, n: int, frame: int, scale: float, out: Features) -> None:
    """Displacements of the means of neighbouring stretches, and the angles between them."""
    for j in range(len(STRETCHES)):
        k = STRETCHES[j]
        if n + 1 >= 2 * k:
            length, before, dot = 0.0, 0.0, 0.0
            for axis in range(3):
                old = ring[(n - 2 * k) % RING, SUM + axis] if n >= 2 * k else 0.0
                middle = ring[(n - k) % RING, SUM + axis]
                d = (ring[here, SUM + axis] - 2 * middle + old) / k
                length += d**2
                if n + 1 >= 3 * k:
                    oldest = ring[(n - 3 * k) % RING, SUM + axis] if n >= 3 * k else 0.0
                    e = (middle - 2 * old + oldest) / k
                    before += e**2
                    dot += d * e
            took = max(frame - ring[(n - k) % RING, FRAME], 1.0)
            out[STRETCH_LENGTHS + j] = 0.5 * math.log(length / (scale * took) + MIN_SQUARE)
            bound = MIN_SQUARE * scale
            out[STRETCH_ANGLES + j] = dot / math.sqrt((length + bound) * (before + bound))


@njit(forceinline=True, error_model="numpy")
def _centres(
    ring: Floats, here: int, last: int, past: Floats, n: int, scale: float, dt: float, out: Features
) -> None:
    """Distances of the last point from the running centres, and whether the step led back there.

    The centres are those before this point; then it is taken in.
    """
    for j in range(len(CENTRES)):
        far, back = 0.0, 0.0
        for axis in range(3):
            place = CENTRE + 3 * j + axis
            if n:
                d = ring[last, AT + axis] - past[place]
                far += d**2
                back += d * (ring[here, AT + axis] - ring[last, AT + axis])
                past[place] += (ring[here, AT + axis] - past[place]) / min(n + 1.0, CENTRES[j])
            else:
                past[place] = ring[here, AT + axis]
        if n:
            out[CENTRE_LENGTHS + j] = 0.5 * math.log(far / (scale * CENTRES[j]) + MIN_SQUARE)
            out[CENTRE_STEPS + j] = back / math.sqrt((far + MIN_SQUARE * scale) * scale * dt)


@njit(forceinline=True, error_model="numpy")
def _gyration(ring: Floats, here: int, n: int, scale: float, out: Features) -> None:
    """Radius of gyration over some numbers of points."""
    for j in range(len(SPREADS)):
        k = SPREADS[j]
        if n + 1 >= k:
            total = ring[here, SQUARES] - (ring[(n - k) % RING, SQUARES] if n >= k else 0.0)
            mean = 0.0
            for axis in range(3):
                old = ring[(n - k) % RING, SUM + axis] if n >= k else 0.0
                mean += ((ring[here, SUM + axis] - old) / k) ** 2
            gyration = max(total / k - mean, 0.0)
            out[GYRATION + j] = 0.5 * math.log(gyration / (scale * k) + MIN_SQUARE / k)


@njit(forceinline=True, error_model="numpy")
def _products(ring: Floats, n: int, scale: float, out: Features) -> None:
    """Dot products of the newest step with those before it, squeezed to between -2 and 2."""
    for j in range(EARLIER_STEPS):
        if n >= 2 + j:
            dot = 0.0
            for axis in range(3):
                dot += _between(ring, n, n - 1, axis) * _between(ring, n - 1 - j, n - 2 - j, axis)
            dot /= scale
            out[PRODUCTS + j] = 2 * dot / (1 + abs(dot))


@njit(forceinline=True, error_model="numpy")
def _others(
    past: Floats,
    n: int,
    square: float,
    scale: float,
    dt: float,
    pixel_size_um: float,
    out: Features,
) -> None:
    """Features of the track as a whole.

    They are the frames since the last point, the number of points in two forms, whether z changes,
    the distance from the first point, the recent typical step in units of the lasting one, the
    typical step in um, and whether that is known.
    """
    out[OTHERS] = math.log(dt)
    out[OTHERS + 1] = 0.25 * math.log(n + 1.0)
    out[OTHERS + 2] = 1.0 / (n + 1.0)
    out[OTHERS + 3] = past[HAS_DEPTH]
    out[OTHERS + 4] = 0.5 * math.log(square / (scale * max(n, 1)) + MIN_SQUARE)
    out[OTHERS + 5] = 2 * math.log((past[RECENT_SCALE] + 1e-3) / (past[SCALE] + 1e-3))
    if pixel_size_um > 0:
        # before the first step all tracks are alike, whatever the size of a pixel
        length = math.sqrt(scale) * pixel_size_um if n else STUCK_STEP_PX
        out[OTHERS + 6] = math.log10(length) - UNKNOWN
        out[OTHERS + 7] = 1.0
