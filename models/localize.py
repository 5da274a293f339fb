"""Localize: the particles of a frame, by a LodeSTAR network in ONNX Runtime.

The network answers for every cell (2 x 2 pixels) with where it sees a particle and how much that
cell should count (weight w, 0 to 1). A particle is where w is high and neighbouring cells agree:
score = w^alpha c^(1 - alpha), c = 1 / (1 + v / v0), v the variance of the positions that 3 x 3
cells predict (Midtvedt et al. 2022, Methods, "Particle detection criteria", with c scaled to 0..1
so that one cutoff serves all frames). The position is the weighted mean of the cells around a
maximum, less the network's constant offset that training measured (the card's `offset_px`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from livespt.models.session import Session, open_session
from livespt.stream.errors import InputError, ModelError, SettingError
from livespt.stream.types import SPOT

MIN_SIZE = 16  # pixels; fewer hold no background to compare with
DTYPES = ("uint8", "uint16", "float32")
KEYS = (
    "offset_px", "cutoff", "alpha", "variance_px2", "merge_px", "radius_px", "border_px",
    "precision_px",
)  # fmt: skip

Floats = NDArray[np.float32]


class Localizer:
    """Frame in, SPOT rows out, by `y` then `x`; frame, channel, position 0 and track -1.

    Parameters
    ----------
    model : path of the `.onnx` file, or a session on it.
    provider, threads : as in `open_session`.
    cutoff : smallest score of a detection; the card's unless given.
    quantile : take this quantile of a frame's scores as its cutoff instead (the paper's way).

    Raises
    ------
    ModelError : the model cannot be opened or is none for localizing.
    SettingError : a cutoff or quantile that is not between 0 and 1.
    """

    def __init__(
        self,
        model: str | Path | Session,
        *,
        provider: str = "auto",
        threads: int = 1,
        cutoff: float | None = None,
        quantile: float | None = None,
    ) -> None:
        if isinstance(model, Session):
            self.session = model
        else:
            self.session = open_session(model, provider, threads, task="localize")
        card = self.session.card
        missing = [key for key in KEYS if key not in card]
        if missing:
            raise ModelError(f"the card of {self.session.path} lacks {', '.join(missing)}")
        for name, value in (("cutoff", cutoff), ("quantile", quantile)):
            if value is not None and not 0 < value < 1:
                raise SettingError(f"{name} must lie between 0 and 1, got {value}")
        self.quantile = quantile
        self.cutoff = float(card["cutoff"] if cutoff is None else cutoff)
        self._offset = np.array(card["offset_px"], np.float64)
        self._alpha, self._v0 = float(card["alpha"]), float(card["variance_px2"])
        self._merge, self._radius = float(card["merge_px"]), float(card["radius_px"])
        self._border = int(card["border_px"])
        self._floor, self._slope = (float(v) for v in card["precision_px"])

    @property
    def provider(self) -> str:
        """Execution provider that runs: "cpu" or "cuda"."""
        return self.session.provider

    def refuses(self, axes: str, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why frames of that kind cannot be localized; None: they can."""
        if axes != "yx" or len(shape) != 2:
            return f"{self.session.name} localizes in frames (y, x), not in {axes} {list(shape)}"
        if np.dtype(dtype).name not in DTYPES:
            return f"{self.session.name} takes {', '.join(DTYPES)} frames, not {dtype}"
        if min(shape) < MIN_SIZE:
            return f"frames must be at least {MIN_SIZE} pixels on each side, not {list(shape)}"
        return None

    def warm_up(self, shape: tuple[int, int], dtype: str = "uint16") -> None:
        """Compile and allocate now, so that the first frame is not late."""
        ramp = np.arange(shape[0] * shape[1]).reshape(shape) % 251
        self(ramp.astype(dtype))
        measure(ramp.astype(np.float32), np.array([[8.0, 8.0]]), self._radius)

    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        """SPOT rows (n,) of one frame (y, x).

        Pixels that are no numbers count as background; a frame without particles gives no row.
        """
        reason = self.refuses("yx", image.shape, image.dtype.name)
        if reason is not None:
            raise InputError(reason)
        frame = np.ascontiguousarray(image, dtype=np.float32)
        if image.dtype.kind == "f":
            frame = _only_numbers(frame)
        field, noise = self.field(frame)
        cutoff = self._frame_cutoff(field)
        found = detect(field, cutoff, self._alpha, self._v0, self._merge, self._border)
        return self._rows(frame, found, noise)

    def field(self, image: NDArray[Any]) -> tuple[Floats, float]:
        """The network's answer (3, h/2, w/2): dy, dx, rho of each cell; the noise, counts."""
        field, noise = self.session.run(np.ascontiguousarray(image, dtype=np.float32))
        return field[0], float(noise)

    def _frame_cutoff(self, field: Floats) -> float:
        if self.quantile is None:
            return self.cutoff
        scores = _scores(field, 0.0, self._alpha, self._v0, self._border)
        return max(float(np.quantile(scores, self.quantile)), 1e-6)

    def _rows(self, frame: Floats, found: NDArray[np.float64], noise: float) -> NDArray[np.void]:
        points = found[:, :2] - self._offset
        last = np.array(frame.shape) - 0.5
        inside = ((points > -0.5) & (points < last)).all(axis=1)
        points, score = points[inside], found[inside, 2]
        order = np.lexsort((points[:, 1], points[:, 0]))
        points, score = points[order], score[order]
        total, background, pixels = measure(frame, points, self._radius)
        spots = np.zeros(len(points), SPOT)
        spots["track"] = -1
        spots["y"], spots["x"] = points.T
        # white noise of the frame: shot noise of a bright particle itself is not counted
        seen = total != 0
        relative = noise * np.sqrt(pixels[seen]) / np.abs(total[seen])
        precision = np.full(len(points), np.nan)
        precision[seen] = np.sqrt(self._floor**2 + (self._slope * relative) ** 2)
        spots["dy"] = spots["dx"] = precision
        for unknown in ("dz", "sigma", "variance", "polarizability_um3"):
            spots[unknown] = np.nan
        spots["intensity"], spots["background"], spots["score"] = total, background, score
        return spots


def _only_numbers(frame: Floats) -> Floats:
    """`frame` with the mean of its numbers where it holds NaN or infinity."""
    good = np.isfinite(frame)
    if good.all():
        return frame
    mean = frame[good].mean(dtype=np.float64) if good.any() else 0.0
    return np.where(good, frame, np.float32(mean))


@njit(cache=True)
def _sigmoid(rho: float) -> float:
    return 1.0 / (1.0 + math.exp(-rho)) if rho > -700.0 else 0.0


@njit(cache=True)
def _logit(weight: float) -> float:
    return math.log(weight / (1.0 - weight))


@njit(cache=True)
def _scores(field: Floats, cutoff: float, alpha: float, v0: float, border: int) -> Floats:
    """(h', w') scores; 0 where they cannot reach `cutoff` and within `border` cells of an edge."""
    height, width = field.shape[1:]
    score = np.zeros((height, width), np.float32)
    # c <= 1, so the weight alone must reach the cutoff; rho is its logit
    least = _logit(cutoff ** (1.0 / alpha)) if cutoff > 0 else -np.inf
    for i in range(border, height - border):
        for j in range(border, width - border):
            if not field[2, i, j] > least:
                continue
            weight = _sigmoid(field[2, i, j])
            n, sy, sx, syy, sxx = 0, 0.0, 0.0, 0.0, 0.0
            for k in range(max(i - 1, 0), min(i + 2, height)):
                for m in range(max(j - 1, 0), min(j + 2, width)):
                    y = field[0, k, m] + 2.0 * (k - i)
                    x = field[1, k, m] + 2.0 * (m - j)
                    n += 1
                    sy += y
                    sx += x
                    syy += y * y
                    sxx += x * x
            variance = max((syy + sxx) / n - (sy * sy + sx * sx) / (n * n), 0.0)
            score[i, j] = weight**alpha * (1.0 / (1.0 + variance / v0)) ** (1.0 - alpha)
    return score


@njit(cache=True)
def detect(
    field: Floats, cutoff: float, alpha: float, v0: float, merge: float, border: int
) -> NDArray[np.float64]:
    """(n, 3) y, x, score of the maxima, the better of two closer than `merge` pixels."""
    score = _scores(field, cutoff, alpha, v0, border)
    height, width = score.shape
    # of 2 x 2 cells, cut short at an odd edge too, at most one is a peak
    found = np.empty((((height + 1) // 2) * ((width + 1) // 2), 3))
    n = 0
    for i in range(height):
        for j in range(width):
            if score[i, j] >= cutoff and score[i, j] > 0 and _is_peak(score, i, j):
                found[n, 0], found[n, 1] = _position(field, score.shape, i, j, merge)
                found[n, 2] = score[i, j]
                n += 1
    found = found[:n]
    order = np.argsort(-found[:, 2], kind="mergesort")  # equal scores: in order of the grid
    side = max(merge, 1.0)
    first = np.full((int(2 * height / side) + 3, int(2 * width / side) + 3), -1, np.int64)
    after = np.full(n, -1, np.int64)  # chains of kept detections, one a square of `side` pixels
    kept = np.zeros(n, np.bool_)
    for k in order:
        y = min(max(int(found[k, 0] / side) + 1, 1), first.shape[0] - 2)
        x = min(max(int(found[k, 1] / side) + 1, 1), first.shape[1] - 2)
        kept[k] = not _has_near(found, first, after, y, x, k, merge)
        if kept[k]:
            after[k] = first[y, x]
            first[y, x] = k
    return found[kept]


@njit(cache=True)
def _is_peak(score: Floats, i: int, j: int) -> bool:
    """Whether no neighbour is higher; of equal neighbours the first counts."""
    for k in range(max(i - 1, 0), min(i + 2, score.shape[0])):
        for m in range(max(j - 1, 0), min(j + 2, score.shape[1])):
            if score[k, m] > score[i, j]:
                return False
            if score[k, m] == score[i, j] and (k < i or (k == i and m < j)):
                return False
    return True


@njit(cache=True)
def _position(
    field: Floats, shape: tuple[int, int], i: int, j: int, reach: float
) -> tuple[float, float]:
    """Weighted mean of what the cells around (i, j) predict within `reach` of its prediction."""
    y0 = 2.0 * i + 0.5 + field[0, i, j]
    x0 = 2.0 * j + 0.5 + field[1, i, j]
    total, sy, sx = 0.0, 0.0, 0.0
    for k in range(max(i - 2, 0), min(i + 3, shape[0])):
        for m in range(max(j - 2, 0), min(j + 3, shape[1])):
            y = 2.0 * k + 0.5 + field[0, k, m]
            x = 2.0 * m + 0.5 + field[1, k, m]
            if (y - y0) ** 2 + (x - x0) ** 2 <= reach * reach:
                weight = _sigmoid(field[2, k, m])
                total += weight
                sy += weight * y
                sx += weight * x
    if not total > 0.0:
        return y0, x0
    return sy / total, sx / total


@njit(cache=True)
def _has_near(
    found: NDArray[np.float64],
    first: NDArray[np.int64],
    after: NDArray[np.int64],
    y: int,
    x: int,
    k: int,
    merge: float,
) -> bool:
    for a in range(y - 1, y + 2):
        for b in range(x - 1, x + 2):
            other = first[a, b]
            while other >= 0:
                gap = (found[other, 0] - found[k, 0]) ** 2 + (found[other, 1] - found[k, 1]) ** 2
                if gap < merge * merge:
                    return True
                other = after[other]
    return False


@njit(cache=True)
def measure(
    frame: Floats, points: NDArray[np.float64], radius: float
) -> tuple[Floats, Floats, Floats]:
    """Counts above background in a disc, background (median of the ring to 2 radii), pixels."""
    n = len(points)
    total, background = np.zeros(n, np.float32), np.zeros(n, np.float32)
    pixels = np.zeros(n, np.float32)
    reach = int(2 * radius + 1)
    ring = np.empty((2 * reach + 1) ** 2, np.float32)
    for p in range(n):
        cy, cx = round(points[p, 0]), round(points[p, 1])
        m, inner, disc = 0, 0, 0.0
        for y in range(max(cy - reach, 0), min(cy + reach + 1, frame.shape[0])):
            for x in range(max(cx - reach, 0), min(cx + reach + 1, frame.shape[1])):
                r2 = (y - points[p, 0]) ** 2 + (x - points[p, 1]) ** 2
                if r2 <= radius * radius:
                    inner += 1
                    disc += frame[y, x]
                elif r2 <= 4 * radius * radius:
                    ring[m] = frame[y, x]
                    m += 1
        level = np.median(ring[:m]) if m else 0.0
        total[p], background[p], pixels[p] = disc - inner * level, level, inner
    return total, background, pixels
