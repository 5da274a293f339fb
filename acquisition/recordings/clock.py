"""The clock of a recorded movie: one rule for the times of its frames, whatever its format.

The best times that a file has count: those of its frames, where it holds them; else the interval
that it states. An interval that the user states rules both. The interval is the median step between
time points, so that a pause or a lost frame does not change it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.frame_times import PAUSE_S, PAUSE_STEPS, differ, lane_steps, median_step


class StatedInterval(NamedTuple):
    """Seconds from one time point to the next that somebody states, and who does."""

    s: float | None = None
    origin: str = ""  # "TimeIncrement"


class MovieClock(NamedTuple):
    """Times of the frames of a movie."""

    time_s: NDArray[np.float64]  # (n,), of each frame since the first; 0 where nothing is known
    interval_s: float | None
    origin: str  # where the times come from; empty: they are unknown
    notices: tuple[str, ...]

    @property
    def known(self) -> bool:
        """Whether the frames have times."""
        return bool(self.origin)


def movie_clock(
    t: NDArray[np.int64],
    lane: NDArray[np.int64],
    measured_s: NDArray[np.float64] | None,
    measured_by: str,
    stated: StatedInterval,
    user: float | None = None,
) -> MovieClock:
    """Find the times of the frames of a movie.

    Parameters
    ----------
    t : (n,)
        Time point of each frame.
    lane : (n,)
        Frames of one channel and position have the same number; each lane has times of its own.
    measured_s : (n,), optional
        Times that the file holds, seconds; NaN: none for this frame.
    measured_by : str
        What holds them: "DeltaT of the planes".
    stated : StatedInterval
        What the file says of the interval beside the times of its frames.
    user : float, optional
        The interval that the user states, seconds.
    """
    if user is not None:
        return _of_user(t, lane, measured_s, measured_by, stated, user)
    notices: list[str] = []
    if measured_s is not None:
        measured, told = usable(t, lane, measured_s, measured_by)
        notices += told
        if measured is not None:
            interval = median_step(t, lane, measured)
            if stated.s and interval and differ(stated.s, interval):
                notices.append(
                    f"{stated.origin} states {_ms(stated.s)} from frame to frame, {measured_by} "
                    f"says {_ms(interval)}: {_ms(interval)} is taken"
                )
            notices += pauses(t, lane, measured, interval)
            return MovieClock(measured, interval or stated.s, measured_by, tuple(notices))
    if stated.s:
        return MovieClock(_regular(t, stated.s), stated.s, stated.origin, tuple(notices))
    return MovieClock(np.zeros(len(t)), None, "", tuple(notices))


def usable(
    t: NDArray[np.int64], lane: NDArray[np.int64], times: NDArray[np.float64], origin: str
) -> tuple[NDArray[np.float64] | None, list[str]]:
    """Times since the first frame, and what to say of them; None: they are no times.

    Frames without a time are placed between their neighbours, which is said. Times of a lane that
    do not rise are none.
    """
    known = np.isfinite(times)
    if known.sum() < 2:
        return None, []
    out = np.array(times, np.float64)
    for one in np.unique(lane):
        mine = np.flatnonzero((lane == one) & known)
        order = mine[np.argsort(t[mine], kind="stable")]
        if len(order) > 1 and not (np.diff(out[order]) > 0).all():
            if not np.ptp(out[order]) > 0:
                return None, []  # a constant that nobody measured
            return None, [f"{origin} does not rise from frame to frame: it is not used"]
    missing = np.flatnonzero(~known)
    told = []
    if len(missing):
        told.append(
            f"{len(missing)} of {len(t)} frames have no time of their own in {origin}: they are "
            "placed between their neighbours"
        )
        order = np.flatnonzero(known)[np.argsort(t[known], kind="stable")]
        step = (out[order[-1]] - out[order[0]]) / max(int(t[order[-1]] - t[order[0]]), 1)
        inside = np.interp(t[missing], t[order], out[order])
        before = np.minimum(t[missing] - t[order[0]], 0) * step
        beyond = np.maximum(t[missing] - t[order[-1]], 0) * step
        out[missing] = inside + before + beyond
    return out - out.min(), told


def pauses(
    t: NDArray[np.int64],
    lane: NDArray[np.int64],
    time_s: NDArray[np.float64],
    interval: float | None,
) -> list[str]:
    """Say where much more time passed than an interval."""
    if interval is None:
        return []
    found = {
        int(at): float(step)
        for points, each in lane_steps(t, lane, time_s)
        for at, step in zip(points, each, strict=True)
        if step > max(PAUSE_S, PAUSE_STEPS * interval)
    }
    if not found:
        return []
    at, step = min(found.items())
    others = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return [f"a pause of {step:.4g} s before time point {at}{others}"]


def _of_user(
    t: NDArray[np.int64],
    lane: NDArray[np.int64],
    measured_s: NDArray[np.float64] | None,
    measured_by: str,
    stated: StatedInterval,
    user: float,
) -> MovieClock:
    interval, origin = stated
    if measured_s is not None:
        measured, _ = usable(t, lane, measured_s, measured_by)
        if measured is not None:
            interval, origin = median_step(t, lane, measured), measured_by
    notices: tuple[str, ...] = ()
    if interval and differ(interval, user):
        notices = (f"{origin} says {_ms(interval)} from frame to frame; your {_ms(user)} is taken",)
    return MovieClock(_regular(t, user), user, "what you state", notices)


def _regular(t: NDArray[np.int64], interval_s: float) -> NDArray[np.float64]:
    return np.asarray((t - t.min(initial=0)) * interval_s, np.float64)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.4g} ms"
