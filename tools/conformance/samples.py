"""Samples: frames and updates of known content, as a source yields and a sink takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from livespt.stream.types import CLOCKS, EVENT, SPOT, STATE, Frame, Start, Update

INTERVAL_S = 0.05
SHAPE = (24, 32)  # pixels
NUMBERS = (0, 1, 2, 3, 6, 7, 8, 9)  # exposures 4 and 5 were lost


def start_of(frames: Sequence[Frame], run: str = "conformance") -> Start:
    """Return the first word of a run of these frames."""
    image = frames[0].image
    axes = "yx" if image.ndim == 2 else "zyx"
    return Start(run, "replay", "samples", axes, image.shape, image.dtype.str, 0.1, INTERVAL_S)


def sample_frames(
    numbers: Sequence[int] = NUMBERS,
    shape: tuple[int, ...] = SHAPE,
    dtype: str = "uint16",
    channels: int = 2,
) -> list[Frame]:
    """Return frames whose images differ from each other and from pixel to pixel.

    Parameters
    ----------
    numbers : sequence of int
        Of the exposures; a time point has one in each channel.
    shape : tuple of int
        (y, x) or (z, y, x), pixels.
    dtype : str
    channels : int
    """
    ramp = np.arange(np.prod(shape)).reshape(shape)
    clock = CLOCKS.index("camera")
    frames = []
    for number in numbers:
        t, channel = divmod(number, channels)
        image = ((7 * ramp + 13 * number) % 251).astype(dtype)
        frames.append(Frame(number, t, channel, 1, t * INTERVAL_S, image, clock))
    return frames


def sample_updates(frames: Sequence[Frame]) -> list[Update]:
    """Return what might be found in these frames: none to six rows of a table in each."""
    updates, last, seq = [], -1, 0
    for frame in frames:
        n = frame.number
        spots = np.zeros(5 * n % 7, SPOT)
        spots["track"], spots["x"] = np.arange(len(spots)), n / 3
        states = np.zeros(3 * n % 5, STATE)
        states["track"], states["p_normal"], states["made"] = np.arange(len(states)), 1, frame.t
        events = np.zeros(n % 3, EVENT)
        events["seq"] = seq + np.arange(len(events))
        events["other"] = events["amends"] = -1
        for rows in (spots, states, events):
            rows["frame"], rows["channel"], rows["position"] = frame.t, frame.channel, 1
        updates.append(Update(*frame[:5], n - last - 1, spots, states, events))
        last, seq = n, seq + len(events)
    return updates


def last_update(frames: Sequence[Frame]) -> Update:
    """Return the rows that the end of a run of these frames settles."""
    states = np.zeros(3, STATE)
    states["frame"], states["settled"], states["p_directed"] = frames[-1].t, 1, 1
    return Update(*frames[-1][:5], 0, np.zeros(0, SPOT), states, np.zeros(0, EVENT))
