"""The follower of tracks: hidden states of the motion networks, updated point by point.

A new point costs one step of each network, whatever the length of its track. `push` adds the points
of a frame and predicts at once how each moves; `read` predicts an earlier point again, with the
points that came since. The hidden state of a track depends on its own points alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion import features, intensity_features
from livespt.models.runtime.session import Session
from livespt.stream.compiled import njit
from livespt.stream.errors import ModelError
from livespt.stream.windows import grown

ROWS, BATCH = 16, 256  # rows come in multiples of ROWS: then none depends on how many others
MAX_POSITION_PX = 1e9  # a position beyond is not used
TAPS = 5  # as models/networks/motion.py has it


class Network:
    """One network that follows tracks: `.onnx` file as `models.networks.motion_graph.follow` writes
    it.

    Attributes
    ----------
    hidden, message, outputs : int
        Numbers of the hidden state of a track, of the message of a point, and of a prediction.
    reads_intensity : bool
        The intensity features of each point follow its motion features.
    unknown : float
        Prediction for a track without points.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.sha256 = session.sha256
        try:
            widths = session.width("traits"), session.width("taps")
            names = ("carried", "message", "now")
            self.hidden, self.message, self.outputs = (session.width(name) for name in names)
        except KeyError as error:
            raise ModelError(
                f"{session.path} does not follow tracks (no {error}): it is of an older livespt or "
                "of another kind, train it again or name another model"
            ) from error
        self.reads_intensity = widths[0] == features.COUNT + intensity_features.COUNT
        if (
            not (widths[0] == features.COUNT or self.reads_intensity)
            or widths[1] != TAPS * self.message
        ):
            raise ModelError(f"{session.path} needs other features of tracks: train it again")
        self.unknown = 1 / self.outputs if self.outputs > 1 else 0.0
        # one graph both updates and predicts: a row of zeros for the half that is not needed
        self._no_taps = np.zeros((1, widths[1]), np.float32), np.zeros(1, np.int64)
        self._no_features = (
            np.zeros((1, widths[0]), np.float32),
            np.zeros((1, self.hidden), np.float32),
        )

    def step(self, inputs: NDArray[np.float32], hidden: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Hidden state, message and prediction (m, ...) after a point with `inputs` (m, n).

        `m` is a multiple of ROWS, as is that of `then`.
        """
        return self.session.named(("carried", "message", "now"), (inputs, hidden, *self._no_taps))

    def then(self, taps: NDArray[np.float32], age: NDArray[np.int64]) -> NDArray[np.float32]:
        """Predictions (m, outputs) of the points `age` (m,) points before the newest."""
        prediction: NDArray[np.float32]
        (prediction,) = self.session.named(("then",), (*self._no_features, taps, age))
        return prediction


class TrackFollower:
    """The networks' state of the tracks of one channel and position, by slot.

    Parameters
    ----------
    networks : sequence of Network
        Each predicts its own columns, in this order.
    lag : int
        Greatest age of a point that `read` predicts, in points before the newest.
    pixel_size_um : float, optional
        None if it is unknown.
    blank : int
        Columns of NaN that follow those of the networks: of what nobody asked for.
    """

    CONSTANTS = ("networks", "lag", "pixel_size_um", "_nothing")

    def __init__(
        self,
        networks: Sequence[Network],
        lag: int,
        pixel_size_um: float | None = None,
        capacity: int = 256,
        blank: int = 0,
    ) -> None:
        self.networks = networks
        self.lag = lag
        self.pixel_size_um = pixel_size_um or 0.0
        self.feature_state = features.FeatureState(capacity)
        self.intensity_state = intensity_features.IntensityState(capacity)
        self._hidden = [np.zeros((capacity, net.hidden), np.float32) for net in networks]
        # of the newest lag + 1 points, in the column of their number modulo lag + 1
        self._message = [np.zeros((capacity, lag + 1, net.message), np.float32) for net in networks]
        self._blind = np.zeros((capacity, lag + 1), bool)  # points that cannot be used
        self._count = np.zeros(capacity, np.int64)  # points taken
        nothing = [np.full(net.outputs, net.unknown, np.float32) for net in networks]
        self._nothing = np.concatenate([*nothing, np.full(blank, np.nan, np.float32)])

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self._reserve(int(slots.max(initial=-1)) + 1)
        self.feature_state.clear(slots)
        self.intensity_state.clear(slots)
        self._count[slots] = 0
        for hidden, message in zip(self._hidden, self._message, strict=True):
            hidden[slots] = 0
            message[slots] = 0

    def push(
        self,
        slots: NDArray[np.int32],
        frames: NDArray[np.int64],
        points: NDArray[np.float64],
        intensity: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Add a point (n, 3) z, y, x in pixels to each of `slots` (n,); return its prediction.

        Networks that use intensities are given `intensity` (n,), NaN or None where it is unknown.

        A position that is NaN, infinite or beyond 1e9 pixels is not used: its own prediction is
        that of a track without points, and later predictions are as if it did not exist.
        """
        self._reserve(int(slots.max(initial=-1)) + 1)
        predictions = self._unknown(len(slots))
        seen = usable(points)
        rows = np.flatnonzero(seen)
        good = slots[rows]
        motion_features = self.feature_state.push(
            good, frames[rows], points[rows], self.pixel_size_um, _rounded(len(good))
        )
        all_features = motion_features
        if any(net.reads_intensity for net in self.networks):
            known = None if intensity is None else intensity[rows]
            more = self.intensity_state.push(good, known, len(motion_features))
            all_features = np.concatenate([motion_features, more], axis=1)
        column = self._count[slots] % (self.lag + 1)
        self._blind[slots, column] = ~seen
        for net, hidden, message, own in self._parts():
            inputs = all_features if net.reads_intensity else motion_features
            for part in _parted(len(good)):
                at = good[part]
                past = _gathered(hidden, at, _rounded(len(at)))
                here = inputs[part.start : part.start + len(past)]
                carried, messages, now = net.step(here, past)
                _kept(hidden, message, at, column[rows[part]], carried, messages)
                predictions[rows[part], own] = now[: len(at)]
            if len(good) < len(slots):  # column -1 is the last: the ring's neighbour of column 0
                message[slots[~seen], column[~seen]] = message[slots[~seen], column[~seen] - 1]
        self._count[slots] += 1
        return predictions

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        """Predictions (n, outputs) of the points `ages` (n,) points back in `slots` (n,)."""
        predictions = self._unknown(len(slots))
        blind = self._blind[slots, (self._count[slots] - 1 - ages) % (self.lag + 1)]
        padded_ages = np.zeros(_rounded(len(slots)), np.int64)
        padded_ages[: len(slots)] = ages
        for net, _, message, own in self._parts():
            for part in _parted(len(slots)):
                age = padded_ages[part.start : part.start + BATCH]
                taps = _taps(message, self._count, slots[part], age)
                predictions[part, own] = net.then(taps, age)[: part.stop - part.start]
        if blind.any():
            predictions[blind] = self._unknown(int(blind.sum()))
        return predictions

    def _unknown(self, n: int) -> NDArray[np.float32]:
        """Predictions (n, outputs) for tracks without points."""
        predictions = np.empty((n, len(self._nothing)), np.float32)
        predictions[:] = self._nothing
        return predictions

    def _parts(self) -> Iterator[tuple[Network, NDArray[Any], NDArray[Any], slice]]:
        """Each network, its hidden states and messages, and its columns of a prediction."""
        end = 0
        for net, hidden, message in zip(self.networks, self._hidden, self._message, strict=True):
            yield net, hidden, message, slice(end, end + net.outputs)
            end += net.outputs

    def _reserve(self, need: int) -> None:
        self.feature_state.reserve(need)
        self.intensity_state.reserve(need)
        self._blind, self._count = grown(self._blind, need), grown(self._count, need)
        self._hidden = [grown(array, need) for array in self._hidden]
        self._message = [grown(array, need) for array in self._message]


@njit()
def usable(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which positions (n, 3) can be used: not NaN, infinite or beyond FARTHEST."""
    out = np.empty(len(points), np.bool_)
    for i in range(len(points)):
        y, x = abs(points[i, 1]), abs(points[i, 2])
        out[i] = abs(points[i, 0]) < MAX_POSITION_PX and y < MAX_POSITION_PX and x < MAX_POSITION_PX
    return out


def _rounded(n: int) -> int:
    """Up to a multiple of ROWS."""
    return -(-n // ROWS) * ROWS


def padded(array: NDArray[Any]) -> NDArray[Any]:
    """The rows and zeros up to a multiple of ROWS."""
    out = np.zeros((_rounded(len(array)), *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


def _parted(n: int) -> Iterator[slice]:
    """Rows 0 to n, up to BATCH at a time."""
    return (slice(low, min(low + BATCH, n)) for low in range(0, n, BATCH))


@njit()
def _gathered(
    table: NDArray[np.float32], slots: NDArray[np.int32], rows: int
) -> NDArray[np.float32]:
    """Rows (rows, width) of `slots` (n,), zeros behind."""
    out = np.empty((rows, table.shape[1]), np.float32)
    for i in range(rows):
        for j in range(table.shape[1]):
            out[i, j] = table[slots[i], j] if i < len(slots) else np.float32(0)
    return out


@njit()
def _kept(
    hidden: NDArray[np.float32],
    message: NDArray[np.float32],
    slots: NDArray[np.int32],
    column: NDArray[np.int64],
    carried: NDArray[np.float32],
    messages: NDArray[np.float32],
) -> None:
    """Store the hidden state (m, hidden) of `slots` (n,), and their message in its `column`."""
    for i in range(len(slots)):
        for j in range(hidden.shape[1]):
            hidden[slots[i], j] = carried[i, j]
        for j in range(message.shape[2]):
            message[slots[i], column[i], j] = messages[i, j]


@njit()
def _taps(
    message: NDArray[np.float32],
    count: NDArray[np.int64],
    slots: NDArray[np.int32],
    ages: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Messages (m, TAPS * width) from the newest point of `slots` (n,) to the predicted one."""
    _, held, width = message.shape
    out = np.zeros((len(ages), TAPS * width), np.float32)
    for i in range(len(slots)):
        newest = count[slots[i]] - 1
        for k in range(TAPS):
            row = message[slots[i], max(newest - (ages[i] * k + 2) // (TAPS - 1), 0) % held]
            for j in range(width):
                out[i, k * width + j] = row[j]
    return out
