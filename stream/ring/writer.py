"""The writer of a frame ring: the newest frames in shared memory, many readers, no torn read.

Invariants:

- The writer counts its frames k = 0, 1, ...; frame k lies in slot k % slots. A slot's `seq` is
  2k + 1 while frame k is being written and 2k + 2 when it is whole (a seqlock); the head counter,
  frames put so far, is stored last. A reader copies and then looks at `seq` again: a frame that was
  overwritten meanwhile counts as lost and is never returned.
- For each reader, frames returned plus `lost` is all frames put since the oldest one it found.
- Plain readers never hold the writer. Lossless readers publish a cursor: where the next frame would
  overwrite one that such a reader still needs, the writer waits, but in all no longer than
  `lossless_wait_s` until that reader has caught up with half of the ring; then it goes on and the
  reader counts what it missed. So a slow, stalled or dead recorder costs the microscope that once.
- Nobody waits for the dead: death is seen through locks that the system releases.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livespt.stream.errors import InputError
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
    RingLayout,
)

MAX_NUMBER = 1 << 53  # beyond it, numbers in JSON are not exact


class RingWriter:
    """Owns the shared memory of a ring. One thread may put.

    Parameters
    ----------
    name : str
        By which readers find the ring; unique on the machine.
    slots : int
        Frames held.
    shape : tuple of int
        Of a frame, (y, x) or (z, y, x).
    dtype : str
        Of a frame: uint8, uint16 or float32.
    lossless_wait_s : float
        How long, in all, a lossless reader that lags may hold the writer; `math.inf`: until it has
        read (recorded sources, which can wait).

    Raises
    ------
    InputError
        Shape, dtype or number of slots make no ring.
    StoreError
        No room for it, or another living writer has this name.
    """

    def __init__(
        self,
        name: str,
        slots: int,
        shape: tuple[int, ...],
        dtype: str,
        lossless_wait_s: float = 0.05,
    ) -> None:
        self.name = name
        self._slots = RingLayout.create(name, slots, shape, dtype)
        self._words = self._slots.words
        self._wait_s = lossless_wait_s
        self._patience = [lossless_wait_s] * READERS  # what is left of it, for each reader
        self._count, self._last = 0, -1

    @property
    def count(self) -> int:
        """Frames put so far."""
        return self._count

    @property
    def overwritten(self) -> int:
        """Frames that registered lossless readers missed."""
        gone = self._count - self._slots.count
        readers = self._slots.readers.tolist()
        return sum(lost + active * max(0, gone - cursor) for active, cursor, lost, *_ in readers)

    def put(
        self,
        image: ArrayLike,
        *,
        number: int,
        t: int,
        channel: int = 0,
        position: int = 0,
        time_s: float = 0.0,
        clock: int = 0,
        captured_ns: int = 0,
    ) -> None:
        """Copy one frame in; fields as in `types.Frame`.

        Raises
        ------
        InputError
            Another shape or dtype than the ring's, or a number that does not follow the last: all
            that reads the ring, and all that is stored, knows frames by their numbers.
        """
        pixels = np.asarray(image)
        if pixels.shape != self._slots.shape or pixels.dtype != self._slots.dtype:
            raise InputError(
                f"frame is {pixels.shape} {pixels.dtype}, the ring was made for "
                f"{self._slots.shape} {self._slots.dtype}: start a new run"
            )
        if not self._last < number < MAX_NUMBER:
            raise InputError(
                f"frame number {number} does not follow {self._last}: count exposures on"
            )
        k = self._count
        self._await_readers(k)
        slot = k % self._slots.count
        head = self._slots.head[slot]
        head[0] = 2 * k + 1
        shared_memory.fence()
        head[1:8] = (number, t, channel, position, 0, clock, captured_ns)
        self._slots.times[slot, 5] = time_s
        np.copyto(self._slots.images[slot], pixels)
        shared_memory.fence()
        head[0] = 2 * k + 2
        self._count, self._last = k + 1, number
        shared_memory.fence()
        self._words[HEAD] = k + 1

    def end(self) -> None:
        """Say that no frame follows: readers finish after the last one."""
        shared_memory.fence()
        self._words[ENDED] = 1

    def close(self) -> None:
        """End, and remove the name; readers that are attached can still read what is there."""
        self.end()
        del self._words
        self._slots.close()

    def __enter__(self) -> RingWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _await_readers(self, k: int) -> None:
        """Wait, as long as patience lasts, for lossless readers that need the slot of frame k."""
        if not self._slots.readers[:, ACTIVE].any():
            return
        last = probed = time.monotonic()
        while (held_by := np.flatnonzero(self._held_by(k))).size:
            time.sleep(POLL_S / 2)
            now = time.monotonic()
            for i in held_by:
                self._patience[i] -= now - last
            last = now
            if now - probed > PROBE_S or any(self._patience[i] <= 0 for i in held_by):
                self._dismiss_dead(k)
                probed = now

    def _held_by(self, k: int) -> NDArray[np.bool_]:
        """Which lossless readers still need the slot of frame k and may hold the writer."""
        readers = self._slots.readers
        behind = (k - readers[:, CURSOR]) * readers[:, ACTIVE]
        for i in np.flatnonzero(2 * behind <= self._slots.count):
            self._patience[i] = self._wait_s
        held: NDArray[np.bool_] = (behind >= self._slots.count) & (np.array(self._patience) > 0)
        return held

    def _dismiss_dead(self, k: int) -> None:
        for i, reader in enumerate(self._slots.readers):
            if reader[ACTIVE] and not locks.held(self._slots.lock(i)):
                reader[LOST] += max(0, k - self._slots.count - int(reader[CURSOR]))
                reader[ACTIVE] = 0
