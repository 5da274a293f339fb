"""The localizer: a network in ONNX Runtime finds the particles of a frame, a fit refines them.

There are two kinds of networks: LodeSTAR, trained on one crop (its output is decoded by
lodestar_peaks.py), and small student networks (student_peaks.py). If the card states that particles
are spots of light, or if the user requests it, positions are refined by a fit (refinement.py).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.absent import Measured, fill_absent, of_measured
from livespt.models.localize.lodestar_peaks import detect, scores
from livespt.models.localize.neighbourhood import beyond_lines, clearly, shared_noise
from livespt.models.localize.radial_symmetry import radial_symmetry
from livespt.models.localize.refinement import fit_gaussian
from livespt.models.localize.student_peaks import decode, interleave
from livespt.models.runtime.session import Session, open_session
from livespt.stream.compiled import njit
from livespt.stream.errors import InputError, ModelError, SettingError
from livespt.stream.types import SPOT

MIN_SIGNAL_TO_NOISE = 4.85  # of the intensity of a particle
CLEAN = 1.2  # mean squared residual of a fit up to which there is no edge or line in its pixels
MIN_SIZE = 16  # least side of a frame in pixels, needed to measure the background
DTYPES = ("uint8", "uint16", "float32")
COMMON = ("cutoff", "merge_px", "radius_px")
KEYS = {
    "lodestar": (*COMMON, "offset_px", "alpha", "variance_px2", "border_px", "precision_px"),
    "student": (*COMMON, "stride_px"),
}
REFINE = ("auto", "gauss", "radial", "none")
EXTRAS = {"z": "z", "polarizability": "polarizability_um3"} | {n: n for n in ("dz", "dy", "dx")}
COUNTS_PER_NOISE, MEDIAN_COUNT = 50.0, 10_000  # of uint16 frames made from float32

Floats = NDArray[np.float32]


class Found(NamedTuple):
    """Particles decoded from the output of a network, one row each."""

    points: NDArray[np.float64]  # (n, 2) y, x, pixels
    score: NDArray[np.float64]  # (n,)
    variance: NDArray[np.float64]  # (n,) self-consistency, pixels^2
    extras: NDArray[np.float64]  # (n, e)


class Localizer:
    """Returns the SPOT rows of a frame, sorted by `y` then `x`, with frame 0 and track -1.

    Parameters
    ----------
    model : path of the `.onnx` file, or an open session of it.
    provider, threads : as in `open_session`.
    cutoff : least score of a detection; by default that of the card.
    quantile : use this quantile of the scores of each frame as the cutoff, as in the paper
        (LodeSTAR only).
    refine : "gauss" fits a Gaussian to every spot, "radial" uses the centre of radial symmetry,
        "none" keeps the positions of the network, and "auto" follows the card.

    Raises
    ------
    ModelError : the model cannot be opened or is not a localizer.
    SettingError : a cutoff or quantile is not between 0 and 1, or the refinement is unknown.
    """

    def __init__(
        self,
        model: str | Path | Session,
        *,
        provider: str = "auto",
        threads: int = 1,
        cutoff: float | None = None,
        quantile: float | None = None,
        refine: str = "auto",
    ) -> None:
        if isinstance(model, Session):
            self.session = model
        else:
            self.session = open_session(model, provider, threads, task="localize")
        card = self.session.card
        self.decoder = str(card.get("decoder", "lodestar"))
        if self.decoder not in KEYS:
            raise ModelError(
                f"{self.session.path} needs a decoder '{self.decoder}': update livespt"
            )
        missing = [key for key in KEYS[self.decoder] if key not in card]
        missing += [f"'{name}' (an extra)" for name in card.get("extras", ()) if name not in EXTRAS]
        if missing:
            raise ModelError(f"the card of {self.session.path} lacks {', '.join(missing)}")
        for name, value in (("cutoff", cutoff), ("quantile", quantile)):
            if value is not None and not 0 < value < 1:
                raise SettingError(f"{name} must be between 0 and 1, got {value}")
        if quantile is not None and self.decoder != "lodestar":
            raise SettingError(f"{self.session.name} takes a cutoff, not a quantile")
        if refine not in REFINE:
            raise SettingError(f"refine must be one of {', '.join(REFINE)}, got '{refine}'")
        named = card.get("refine", "none") if refine == "auto" else refine
        self.refine = "gauss" if named is True else str(named or "none")
        has_threshold = quantile is not None or cutoff is not None
        self.quantile = quantile if has_threshold else card.get("quantile")
        self.cutoff = float(card["cutoff"] if cutoff is None else cutoff)
        # answers of the network, and the probability that such a spot is real
        self._scale = np.array(card.get("score_scale", ((0.0, 1.0), (0.0, 1.0))))
        self._axes = str(card["input"].get("axes", "yx"))
        self._raw = card["input"].get("dtype") == "uint16"  # whether the graph takes raw pixels
        self._radius = float(card["radius_px"])
        self._width = _width(card)

    @property
    def provider(self) -> str:
        """Execution provider in use: "cpu" or "cuda"."""
        return self.session.provider

    def refuses(self, axes: str, shape: tuple[int, ...], dtype: str) -> str | None:
        """Why frames of this kind cannot be analyzed; None if they can."""
        name, own = self.session.name, self._axes
        if axes != own or len(shape) != len(own):
            return f"{name} localizes in frames ({', '.join(own)}), not in {axes} {list(shape)}"
        channels = int(self.session.card.get("channels", 1))
        if own == "cyx" and shape[0] != channels:
            return f"{name} takes frames of {channels} channels, not of {shape[0]}"
        if np.dtype(dtype).name not in (DTYPES if own == "yx" else DTYPES[2:]):
            return f"{name} takes {', '.join(DTYPES)} frames, not {dtype}"
        if min(shape[-2:]) < MIN_SIZE:
            return f"frames must be at least {MIN_SIZE} pixels on each side, not {list(shape)}"
        return None

    def warm_up(self, shape: tuple[int, ...], dtype: str = "uint16") -> None:
        """Compile and allocate now, so that the first frame is not late."""
        count = int(np.prod(shape))
        ramp = (np.arange(count).reshape(shape) % 251).astype(dtype)
        self(ramp)
        flat = np.ascontiguousarray(ramp[0] if len(shape) == 3 else ramp)
        middle = np.array([[8.0, 8.0]])
        measure(flat, middle, self._radius)
        if self.refine == "gauss":
            fit_gaussian(flat, middle, 1.0)
        elif self.refine == "radial":
            radial_symmetry(flat, middle, self._radius)

    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        """Return the SPOT rows (n,) of one frame (y, x), or (c, y, x) if the card states channels.

        Pixels that were not measured (NaN, borders of one value, masks) hold no spots.
        """
        reason = self.refuses(self._axes, image.shape, image.dtype.name)
        if reason is not None:
            raise InputError(reason)
        frame = np.ascontiguousarray(image, dtype=image.dtype.newbyteorder("="))
        measured = _measured(frame)
        if measured is None:
            return np.zeros(0, SPOT)
        frame = measured.frame
        field, noise = self.field(frame)
        found = self._found(field, (frame.shape[-2], frame.shape[-1]))
        if self._axes == "cyx":
            frame = frame[int(self.session.card.get("intensity_channel", 0))]
        spots = self._rows(frame, found, noise)
        return spots if measured.absent is None else of_measured(spots, measured.absent)

    def field(self, image: NDArray[Any]) -> tuple[Floats, float]:
        """Output of the network (3 + e, h', w') and noise of the frame, counts.

        The output holds dy, dx and rho of each cell, and the e `extras` that the card names.
        """
        if not self._raw:
            field, noise = self._run(np.ascontiguousarray(image, dtype=np.float32))
            return field, noise
        if image.dtype.kind == "f":
            counts, scale = _quantized(image)
        else:
            counts, scale = np.ascontiguousarray(image, dtype=np.uint16), 1.0
        field, noise = self._run(counts)
        split = self.session.card.get("split", 1) == 2
        return interleave(field) if split else field, noise / scale

    def _run(self, frame: NDArray[Any]) -> tuple[Floats, float]:
        """Output (k, h', w') of the network and noise, after a check of their shapes.

        A card guarantees that the file is the one it was made for, not that this is a localizer.
        """
        outputs = self.session.run(frame)
        shapes = [output.shape for output in outputs]
        card = self.session.card
        need = (3 + len(card.get("extras", ()))) * (4 if card.get("split", 1) == 2 else 1)
        if (
            len(outputs) != 2
            or len(shapes[0]) != 4
            or shapes[0][:2] != (1, need)
            or outputs[1].size != 1
        ):
            raise ModelError(f"{self.session.path} has outputs {shapes}: it is not a localizer")
        return outputs[0][0], float(outputs[1].reshape(()))

    def _found(self, field: Floats, shape: tuple[int, int]) -> Found:
        """Decode the output: particles inside the frame, sorted by y then x."""
        card = self.session.card
        merge = float(card["merge_px"])
        if self.decoder == "student":
            least = float(np.interp(self.cutoff, self._scale[1], self._scale[0]))
            rows = decode(field, least, float(card["stride_px"]), merge)
            rows[:, 2] = np.interp(rows[:, 2], *self._scale)
        else:
            alpha, v0 = float(card["alpha"]), float(card["variance_px2"])
            border, cutoff = int(card["border_px"]), self.cutoff
            if self.quantile is not None:
                every = scores(field, 0.0, alpha, v0, border)
                cutoff = max(float(np.quantile(every, self.quantile)), 1e-6)
            rows = detect(field, cutoff, alpha, v0, merge, border)
            rows[:, :2] -= card["offset_px"]
        inside = ((rows[:, :2] > -0.5) & (rows[:, :2] < np.array(shape) - 0.5)).all(axis=1)
        rows = rows[inside]
        rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
        return Found(rows[:, :2].copy(), rows[:, 2], rows[:, 3], rows[:, 4:])

    def _rows(self, frame: NDArray[Any], found: Found, noise: float) -> NDArray[np.void]:
        spots = np.zeros(len(found.points), SPOT)
        spots["track"] = -1
        for unknown in ("dz", "sigma", "polarizability_um3"):
            spots[unknown] = np.nan
        spots["y"], spots["x"] = found.points.T
        spots["score"], spots["variance"] = found.score, found.variance
        rest = np.ones(len(spots), np.bool_)
        speck = ~rest
        if self.refine == "radial":
            spots["y"], spots["x"] = radial_symmetry(frame, found.points, self._radius).T
        elif self.refine == "gauss":
            fits = fit_gaussian(frame, found.points, noise, sigma_px=self._width)
            shared = shared_noise(frame, fits.width) if len(found.points) else 1.0
            # intensity of a spot, in units of the noise of a matched filter where it is
            level = max(noise, 1e-9)
            around = clearly(shared) * level * clearly(fits.noise / level)
            clear = fits.intensity / (2 * math.sqrt(math.pi) * fits.width * around)
            good, rest = fits.good, ~fits.good
            asked = good & (fits.misfit > CLEAN)
            alone = beyond_lines(frame, fits.points, asked, fits.width, noise)
            speck = fits.speck | (good & (np.abs(clear) < MIN_SIGNAL_TO_NOISE))
            speck |= good & (alone * np.sign(fits.intensity) < MIN_SIGNAL_TO_NOISE)
            spots["y"][good], spots["x"][good] = fits.points[good].T
            spots["dy"][good], spots["dx"][good] = fits.spread[good].T
            for name in ("sigma", "intensity", "background"):
                spots[name][good] = getattr(fits, name)[good]
        total, background, pixels = measure(frame, found.points[rest], self._radius)
        spots["intensity"][rest], spots["background"][rest] = total, background
        spots["dy"][rest] = spots["dx"][rest] = self._precision(total, pixels, noise)
        if self.refine == "gauss":  # without a fit and with little intensity: hot pixels, streaks
            speck[rest] = np.abs(total) < MIN_SIGNAL_TO_NOISE * noise * np.sqrt(pixels)
        self._put_extras(spots, found.extras)
        spots = spots[~speck]
        return spots[np.lexsort((spots["x"], spots["y"]))]

    def _precision(self, total: Floats, pixels: Floats, noise: float) -> Floats:
        """Standard deviation of the positions of the network (pixels), from the noise of the disc.

        It accounts for the white noise of the frame, not for the shot noise of the particle.
        """
        floor, slope = self.session.card.get("precision_px", (0.05, 1.5))
        precision = np.full(len(total), np.nan, np.float32)
        seen = total != 0
        relative = noise * np.sqrt(pixels[seen]) / np.abs(total[seen])
        precision[seen] = np.sqrt(floor**2 + (slope * relative) ** 2)
        return precision

    def _put_extras(self, spots: NDArray[np.void], extras: NDArray[np.float64]) -> None:
        """Store further outputs of the network, in the units of SPOT."""
        card = self.session.card
        for k, name in enumerate(card.get("extras", ())):
            factor, offset = card["extras_calibration"][k]
            spots[EXTRAS[name]] = factor * extras[:, k] + offset


def _width(card: dict[str, Any]) -> tuple[float, float]:
    """Least and greatest sigma to expect of a spot of light, pixels."""
    if "sigma_px" in card:
        low, high = card["sigma_px"]
        return float(low), float(high)
    sigma = max(float(card.get("fwhm_px", 3.0)) / 2.355, 0.8)
    return sigma / 1.5, sigma * 1.5


def _quantized(frame: Floats) -> tuple[NDArray[np.uint16], float]:
    """Convert `frame` to uint16; also return the factor by which its counts were multiplied.

    One count is 1 / STEPS of the pixel noise, so no precision is lost. Values that are too far from
    the median for 16 bits are clipped.
    """
    some = frame[::3, ::3].astype(np.float64)
    middle = float(np.median(some))
    rough = np.abs(np.diff(frame[::3].astype(np.float64), 2, axis=1))
    noise = float(np.median(rough)) / 1.652  # sqrt(6) 0.6745: the filter is 1, -2, 1
    span = float(np.abs(some - middle).max())
    if noise <= 0:
        noise = span / 500
    scale = COUNTS_PER_NOISE / noise if noise > 0 else 1.0
    counts = (frame.astype(np.float64) - middle) * scale + MEDIAN_COUNT
    return np.clip(counts, 0, 65535).astype(np.uint16), scale


def _measured(frame: NDArray[Any]) -> Measured | None:
    """The frame without absent pixels; those of (c, y, x) are replaced by the mean of a channel."""
    if frame.ndim == 2:
        return fill_absent(frame)
    good = np.isfinite(frame)
    if good.all():
        return Measured(frame, None)
    means = [
        c[g].mean(dtype=np.float64) if g.any() else 0.0 for c, g in zip(frame, good, strict=True)
    ]
    filled = np.where(good, frame, np.array(means, np.float32)[:, None, None])
    return Measured(filled, None)


@njit()
def measure(
    frame: NDArray[Any], points: NDArray[np.float64], radius: float
) -> tuple[Floats, Floats, Floats]:
    """Intensity in a disc, background (median of the ring up to 2 radii), and number of pixels."""
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
