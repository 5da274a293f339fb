"""Follow: what the motion networks carry of every living track, from point to point.

A new point costs one step of each network, however long its track. `push` takes the points of a
frame and says at once how each moves; `read` says it again of a point some points back, knowing
what came since. What is carried depends on the points of its own track alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from livespt.models import traits
from livespt.models.session import Session
from livespt.stream.errors import ModelError

ROWS, BATCH = 16, 256  # rows come in multiples of ROWS: then none depends on how many others
FARTHEST = 1e9  # pixels; beyond, a place says nothing
TAPS = 5  # as models/deepspt.py has it


class Network:
    """One network that follows tracks: `.onnx` file as `models.motion_graph.follow` writes it.

    Attributes
    ----------
    hidden, message, outputs : int
        Numbers carried of a track, told of a point, and answered.
    unknown : float
        Answer where there is nothing to go by.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        try:
            told = session.width("traits"), session.width("taps")
            names = ("carried", "message", "now")
            self.hidden, self.message, self.outputs = (session.width(name) for name in names)
        except KeyError as error:
            raise ModelError(
                f"{session.path} does not follow tracks (no {error}): it is of an older livespt or "
                "of another kind, train it again or name another model"
            ) from error
        if told != (traits.COUNT, TAPS * self.message):
            raise ModelError(f"{session.path} reads other traits of tracks: train it again")
        self.unknown = 1 / self.outputs if self.outputs > 1 else 0.0

    def step(self, told: NDArray[np.float32], hidden: NDArray[np.float32]) -> list[NDArray[Any]]:
        """Carried, message and answer (n, ...) after the traits `told` (n, traits.COUNT)."""
        blank = np.zeros((ROWS, TAPS * self.message), np.float32), np.zeros(ROWS, np.int64)
        return self._run(("carried", "message", "now"), (told, hidden), blank, last=False)

    def then(self, taps: NDArray[np.float32], age: NDArray[np.int64]) -> NDArray[np.float32]:
        """Answers (n, outputs) about points `age` (n,) points back."""
        blank = (
            np.zeros((ROWS, traits.COUNT), np.float32),
            np.zeros((ROWS, self.hidden), np.float32),
        )
        answer: NDArray[np.float32] = self._run(("then",), (taps, age), blank, last=True)[0]
        return answer

    def _run(
        self,
        outputs: tuple[str, ...],
        arrays: tuple[NDArray[Any], ...],
        blank: tuple[NDArray[Any], ...],
        last: bool,
    ) -> list[NDArray[Any]]:
        """Run on `arrays`, rows padded to a multiple of ROWS; `blank` fills the other inputs."""
        n = len(arrays[0])
        parts = []
        for low in range(0, n, BATCH):
            some = [padded(array[low : low + BATCH]) for array in arrays]
            got = self.session.named(outputs, [*blank, *some] if last else [*some, *blank])
            parts.append([array[: n - low] for array in got])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]


class Following:
    """The networks' memory of the tracks of one channel and position, by slot.

    Parameters
    ----------
    networks : sequence of Network
        Each answers with its own columns of a reading, in this order.
    lag : int
        Points back that `read` is asked about at most.
    pixel_size_um : float, optional
        None: nobody knows.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        lag: int,
        pixel_size_um: float | None = None,
        capacity: int = 256,
    ) -> None:
        self.networks = networks
        self.lag = lag
        self.um = pixel_size_um or 0.0
        self.memory = traits.Memory(capacity)
        self._hidden = [np.zeros((capacity, net.hidden), np.float32) for net in networks]
        # of the newest lag + 1 points, each in the place of its number modulo lag + 1
        self._message = [np.zeros((capacity, lag + 1, net.message), np.float32) for net in networks]
        self._blind = np.zeros((capacity, lag + 1), bool)  # points that say nothing
        self._count = np.zeros(capacity, np.int64)  # points taken

    def clear(self, slots: NDArray[np.int32]) -> None:
        """Forget the tracks in `slots` (n,)."""
        self.memory.clear(slots)
        self._count[slots] = 0
        for hidden, message in zip(self._hidden, self._message, strict=True):
            hidden[slots] = 0
            message[slots] = 0

    def push(
        self, slots: NDArray[np.int32], frames: NDArray[np.int64], points: NDArray[np.float64]
    ) -> NDArray[np.float32]:
        """Take one more point (n, 3) z, y, x in pixels of each of `slots` (n,); read it.

        A place that is NaN, infinite or beyond 1e9 pixels says nothing, now and later: its own
        reading is that of someone who knows nothing, the others go on as if it were not there.
        """
        self._reserve(int(slots.max(initial=-1)) + 1)
        seen = np.all(np.abs(points) < FARTHEST, axis=1)  # NaN compares as False
        good = slots[seen]
        told = self.memory.push(good, frames[seen], points[seen], self.um)
        column = self._count[slots] % (self.lag + 1)
        before = (self._count[slots] - 1) % (self.lag + 1)
        self._blind[slots, column] = ~seen
        answers = []
        for net, hidden, message in zip(self.networks, self._hidden, self._message, strict=True):
            answer = np.full((len(slots), net.outputs), net.unknown, np.float32)
            message[slots[~seen], column[~seen]] = message[slots[~seen], before[~seen]]
            if len(good):
                carried, told_on, now = net.step(told, hidden[good])
                hidden[good] = carried
                message[good, column[seen]] = told_on
                answer[seen] = now
            answers.append(answer)
        self._count[slots] += 1
        return np.concatenate(answers, axis=1)

    def read(self, slots: NDArray[np.int32], ages: NDArray[np.int64]) -> NDArray[np.float32]:
        """Readings (n, outputs) of the points that lie `ages` (n,) points back in `slots` (n,)."""
        blind = self._blind[slots, (self._count[slots] - 1 - ages) % (self.lag + 1)]
        answers = []
        for net, message in zip(self.networks, self._message, strict=True):
            answer = np.full((len(slots), net.outputs), net.unknown, np.float32)
            if len(slots):
                taps = _taps(message, self._count, slots, ages)
                answer = np.where(blind[:, None], answer, net.then(taps, ages))
            answers.append(answer)
        return np.concatenate(answers, axis=1)

    def _reserve(self, need: int) -> None:
        self.memory.reserve(need)
        while need > len(self._count):
            for part in (self._hidden, self._message):
                part[:] = [np.concatenate([array, np.zeros_like(array)]) for array in part]
            self._blind = np.concatenate([self._blind, np.zeros_like(self._blind)])
            self._count = np.concatenate([self._count, np.zeros_like(self._count)])


def padded(array: NDArray[Any]) -> NDArray[Any]:
    """The rows and zeros up to a multiple of ROWS."""
    out = np.zeros((-(-len(array) // ROWS) * ROWS, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out


@njit(cache=True)
def _taps(
    message: NDArray[np.float32],
    count: NDArray[np.int64],
    slots: NDArray[np.int32],
    ages: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Messages (n, TAPS * width) on the way from the newest point to the one asked for."""
    _, held, width = message.shape
    out = np.empty((len(slots), TAPS * width), np.float32)
    for i in range(len(slots)):
        newest = count[slots[i]] - 1
        for k in range(TAPS):
            back = (ages[i] * k + 2) // (TAPS - 1)
            out[i, k * width : (k + 1) * width] = message[slots[i], max(newest - back, 0) % held]
    return out
