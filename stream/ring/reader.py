"""The reader of a frame ring: plain, or lossless; `writer` states the invariants of both."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, MicroscopeError, StoreError
from livespt.stream.host import locks, shared_memory
from livespt.stream.ring.layout import (
    ACTIVE,
    CURSOR,
    ENDED,
    HEAD,
    LOST,
    POLL_S,
    PROBE_S,
    READERS,
    REFUSED,
    RingLayout,
)
from livespt.stream.types import Frame

# what `RingReader.waiting` tells of a frame
TIMES = np.dtype(
    [("frame", "<i8"), ("channel", "<i8"), ("position", "<i8"), ("time_s", "<f8"), ("clock", "u1")]
)
_IDLE_POLL_S, _IDLE_AFTER_S = 0.002, 0.05  # polling interval once no frame came for so long


class RingReader:
    """Reads a ring from its oldest frame on, in this process or another.

    Parameters
    ----------
    name : str
        The writer's.
    lossless : bool
        Register with the writer, which then waits a bounded time rather than overwrite.
    max_behind : int, optional
        When more frames than this wait, skip to the newest one.
    wait_s : float
        How long to wait for a writer that is still starting.

    Attributes
    ----------
    lost : int
        Frames overwritten or skipped before they were read.
    ended : bool
        The writer ended and everything was read.
    shape, dtype
        Of a frame.

    Raises
    ------
    StoreError
        There is no such ring, or it has too many lossless readers.
    """

    def __init__(
        self,
        name: str,
        *,
        lossless: bool = False,
        max_behind: int | None = None,
        wait_s: float = 0.0,
    ) -> None:
        if max_behind is not None and (lossless or max_behind < 1):
            raise InputError(f"max_behind={max_behind}: at least 1, and not for a lossless reader")
        self._slots = _attach(name, wait_s)
        self._words = self._slots.words
        self.shape, self.dtype = self._slots.shape, self._slots.dtype
        self.lost, self.ended = 0, False
        self._max_behind = max_behind
        self._cursor: NDArray[np.int64] | None = None
        self._lock: int | None = None
        self._next = max(0, int(self._words[HEAD]) - self._slots.count)
        if lossless:
            self._register()

    @property
    def behind(self) -> int:
        """Frames that wait to be read."""
        return int(self._words[HEAD]) - self._next

    @property
    def refused(self) -> int:
        """Error number for which a lossless reader cannot store what it reads; 0: none."""
        readers = self._slots.readers
        return int((readers[:, REFUSED] * readers[:, ACTIVE]).max())

    def report_error(self, error: int) -> None:
        """Of a lossless reader: why it cannot store what it reads, 0 when it can (again)."""
        if self._cursor is not None:
            self._cursor[REFUSED] = error

    def get(self, timeout_s: float) -> Frame | None:
        """Next frame, a copy; None when none came in time or, see `ended`, none will.

        Raises
        ------
        MicroscopeError
            The writer died without an end, and everything it left was read.
        """
        began = probed = time.monotonic()
        while True:
            over = bool(self._words[ENDED])  # before the head: then the head is final
            shared_memory.fence()
            frame = self._take()
            if frame is not None:
                return frame
            if over:
                self.ended = True
                return None
            now = time.monotonic()
            if now - began >= timeout_s:
                return None
            if now - probed > PROBE_S:
                probed = now
                self._check_writer()
            time.sleep(POLL_S if now - began < _IDLE_AFTER_S else _IDLE_POLL_S)

    def find(self, number: int) -> Frame | None:
        """The frame of this exposure number if the ring still holds it; moves nothing."""
        head = int(self._words[HEAD])
        for k in range(head - 1, max(-1, head - 1 - self._slots.count), -1):
            if self._slots.head[k % self._slots.count, 1] == number:
                frame = self._copy(k)
                if frame is not None and frame.number == number:
                    return frame
        return None

    @property
    def over(self) -> bool:
        """Whether no more frames will come: the writer ended, or it has died."""
        if self._words[ENDED]:
            return True
        try:
            self._check_writer()
        except MicroscopeError:
            return True
        return False

    def waiting(self, most: int) -> NDArray[np.void]:
        """Return the times of the oldest frames that wait, at most so many; moves nothing.

        Returns
        -------
        (n,) TIMES
        """
        head = int(self._words[HEAD])
        found = np.zeros(max(0, min(head - self._next, most)), TIMES)
        for i, row in enumerate(found):
            slot = (self._next + i) % self._slots.count
            _, _, t, channel, position, _, clock, _ = self._slots.head[slot][:8].tolist()
            row["frame"], row["channel"], row["position"], row["clock"] = (
                t,
                channel,
                position,
                clock,
            )
            row["time_s"] = self._slots.times[slot, 5]
        return found

    def pass_over(self, number: int) -> None:
        """Go on after the frame of this exposure number, which is known already: not lost."""
        # from the newest back: the oldest slot may hold, or be getting, a frame that is newer still
        after = int(self._words[HEAD])
        first = max(self._next, after - self._slots.count)
        while after > first and self._slots.head[(after - 1) % self._slots.count, 1] > number:
            after -= 1
        self._move(after, 0)

    def __iter__(self) -> Iterator[Frame]:
        while not self.ended:
            frame = self.get(1.0)
            if frame is not None:
                yield frame

    def close(self) -> None:
        """Let go; the writer no longer waits for this reader."""
        if self._cursor is not None:
            self._cursor[ACTIVE] = 0
            self._cursor = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        del self._words
        self._slots.close()

    def __enter__(self) -> RingReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _register(self) -> None:
        for i in range(READERS):
            self._lock = locks.hold(self._slots.lock(i))
            if self._lock is not None:
                cursor = self._slots.readers[i]
                if cursor[ACTIVE]:  # of a reader that died: what it missed stays counted
                    cursor[LOST] += max(0, self._next - int(cursor[CURSOR]))
                cursor[CURSOR], cursor[REFUSED] = self._next, 0
                shared_memory.fence()
                cursor[ACTIVE] = 1
                self._cursor = cursor
                return
        self.close()
        raise StoreError(f"ring has {READERS} lossless readers already: end one of them first")

    def _take(self) -> Frame | None:
        head = int(self._words[HEAD])
        if self._max_behind is not None and head - self._next > self._max_behind:
            self._move(head - 1, head - 1 - self._next)
        while self._next < head:
            oldest = head - self._slots.count
            if self._next < oldest:
                self._move(oldest, oldest - self._next)
            frame = self._copy(self._next)
            self._move(self._next + 1, 0 if frame is not None else 1)
            if frame is not None:
                return frame
            head = int(self._words[HEAD])
        return None

    def _move(self, to: int, lost: int) -> None:
        self.lost += lost
        self._next = to
        if self._cursor is not None:
            self._cursor[LOST] += lost  # over all readers that had this place
            shared_memory.fence()
            self._cursor[CURSOR] = to

    def _copy(self, k: int) -> Frame | None:
        """Frame k, None when it was overwritten, also while it was copied."""
        slot, whole = k % self._slots.count, 2 * k + 2
        head = self._slots.head[slot]
        if head[0] != whole:
            return None
        shared_memory.fence()
        _, number, t, channel, position, _, clock, captured_ns = head[:8].tolist()
        time_s = float(self._slots.times[slot, 5])
        image = self._slots.images[slot].copy()
        shared_memory.fence()
        if head[0] != whole:
            return None
        return Frame(number, t, channel, position, time_s, image, clock, captured_ns)

    def _check_writer(self) -> None:
        if self._slots.block.owned() or self._words[ENDED] or self.behind:
            return
        raise MicroscopeError(
            f"the process that fed ring {self._slots.block.path.stem!r} died after "
            f"{int(self._words[HEAD])} frames: start the acquisition again"
        )


def _attach(name: str, wait_s: float) -> RingLayout:
    deadline = time.monotonic() + wait_s
    while True:
        with contextlib.suppress(StoreError):
            return RingLayout.attach(name)
        if time.monotonic() >= deadline:
            raise StoreError(f"no ring named {name!r}: is the acquisition running?")
        time.sleep(0.01)
