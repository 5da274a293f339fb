"""The hook that Micro-Manager calls with every image: it copies the image, returns, never raises.

One hook serves all backends. A hook that raises, or that is slower than the camera, aborts the
acquisition, and the images in the buffer of the core are lost. Therefore nothing is analyzed here,
and errors are counted instead of raised. Metadata come in two schemas: those of a hardware sequence
are strings, and the image number restarts with each burst; those of snapped images are numbers,
without an image number.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError
from livespt.stream.types import CLOCKS

MAX_REORDERED = 16  # images that a driver may mix up; a restarted camera goes back further
MOST_EXPOSURES = 1 << 48
CAMERA_MS = "livespt-camera-ms"  # ElapsedTime-ms of the camera, which the engine overwrites


class Put(Protocol):
    """Takes one frame; `RingWriter.put`."""

    def __call__(
        self,
        image: NDArray[Any],
        /,
        *,
        number: int,
        t: int,
        channel: int,
        position: int,
        time_s: float,
        clock: int,
        captured_ns: int,
    ) -> None: ...


class Hook:
    """Turns images and metadata into frames, in the order in which they arrive.

    Parameters
    ----------
    put : callable
        Takes each frame.
    planes : sequence, optional
        Values of the z axis, in order. With two or more, images become planes of (z, y, x) frames.
    keep : bool
        Return the image, so that Micro-Manager saves it. This is for acquisitions of your own, such
        as `Acquisition(folder, name, image_process_fn=Hook(ring.put, keep=True))`.

    Attributes
    ----------
    seen, frames : int
        Number of images that arrived; number of frames that were put.
    lost : int
        Exposures that the camera made and the core did not deliver.
    late : int
        Images that came twice or out of order.
    errors, last_error : int, str
        Number of images that could not be used, and the message of the last error.
    """

    def __init__(self, put: Put, *, planes: Sequence[Any] = (), keep: bool = False) -> None:
        self.seen = self.frames = self.lost = self.late = self.errors = 0
        self.last_error = ""
        self._put = put
        self._keep = keep
        self._planes = {value: i for i, value in enumerate(planes)} if len(planes) > 1 else {}
        self._stack: NDArray[Any] | None = None
        self._filled: set[int] = set()
        self._stack_of: tuple[int, int, int] | None = None
        self._names: dict[tuple[str, Any], int] = {}
        self._number = -1
        self._base, self._in_burst = 0, -1  # number of the burst's first image; the last in it
        self._clock = Clock()

    def __call__(
        self, image: NDArray[Any], metadata: dict[str, Any]
    ) -> tuple[NDArray[Any], dict[str, Any]] | None:
        captured_ns = time.monotonic_ns()
        self.seen += 1
        try:
            self._take(image, metadata, captured_ns)
        except Exception as error:  # anything raised would abort the run and lose images
            self.errors += 1
            self.last_error = str(error) or type(error).__name__
        return (image, metadata) if self._keep else None

    def _take(self, image: NDArray[Any], tags: Mapping[str, Any], captured_ns: int) -> None:
        number = self._unroll(tags.get("ImageNumber")) // max(1, len(self._planes))
        time_s, clock = self._clock.read(tags, captured_ns)
        axes = tags.get("Axes", {})
        t = self._index(axes, "time", number)
        channel, position = self._index(axes, "channel", 0), self._index(axes, "position", 0)
        pixels = image
        if self._planes:
            stack = self._add_plane(image, axes["z"], (t, channel, position))
            if stack is None:
                return
            pixels = stack
        self._put(
            pixels,
            number=number,
            t=t,
            channel=channel,
            position=position,
            time_s=time_s,
            clock=clock,
            captured_ns=captured_ns,
        )
        self.frames += 1

    def _unroll(self, image_number: str | int | None) -> int:
        """Number of the exposure over the whole run; a gap means that exposures were lost.

        An image number that has occurred before, or is a little lower than the last, belongs to an
        image that comes twice or late. It counts as one more exposure, and no other number changes.
        A number that is 0 or much lower begins a new burst, or comes from a restarted camera.
        """
        if image_number is None:  # snapped: the core waits for each exposure
            self._in_burst = -1
            self._number += 1
            return self._number
        n = int(image_number)
        if not 0 <= n < MOST_EXPOSURES:
            raise InputError(f"image number {n} is not valid: check the camera and its driver")
        if 0 < n <= self._in_burst < n + MAX_REORDERED:
            self.late += 1
            self._base, self._number = self._base + 1, self._number + 1
            return self._number
        if n <= self._in_burst or self._in_burst < 0:
            self._base = self._number + 1
        self._in_burst = n
        self.lost += self._base + n - self._number - 1
        self._number = self._base + n
        return self._number

    def _index(self, axes: Mapping[str, Any], axis: str, missing: int) -> int:
        """Position on an axis; names (channels, stage positions) count as they first appear."""
        value = axes.get(axis, missing)
        if isinstance(value, int | np.integer):
            return int(value)
        count = sum(known == axis for known, _ in self._names)
        return self._names.setdefault((axis, value), count)

    def _add_plane(
        self, image: NDArray[Any], z: Any, of: tuple[int, int, int]
    ) -> NDArray[Any] | None:
        """Collect the planes of a stack; return the stack when it is complete."""
        if of != self._stack_of:
            unfinished = len(self._filled)
            self._stack_of, self._filled = of, set()
            self._stack = np.empty((len(self._planes), *image.shape), image.dtype)
            if unfinished:
                self.errors += 1
                self.last_error = f"a stack had {unfinished} of {len(self._planes)} planes"
        if self._stack is None or z not in self._planes:
            raise InputError(f"image at z={z!r} belongs to no stack of this acquisition")
        if image.shape != self._stack.shape[1:] or image.dtype != self._stack.dtype:
            raise InputError(
                f"plane of {image.dtype} {image.shape} in a stack of {self._stack.dtype} "
                f"{self._stack.shape}: start a new run after changing the camera"
            )
        self._stack[self._planes[z]] = image
        self._filled.add(self._planes[z])
        if len(self._filled) < len(self._planes):
            return None
        self._filled, self._stack_of = set(), None
        return self._stack


class Clock:
    """Seconds since the first frame, from the best clock that advances.

    Each step uses the first of these clocks that both frames have and that has advanced: camera
    time, time of reception by the core, host time. Each can be useless: cameras restart their
    time with every burst, the engine gives all images of a burst the same time, and snapped images
    have host time only (micro-manager/micro-manager#2188).
    """

    def __init__(self) -> None:
        self._time_s = 0.0
        self._last: dict[str, float] = {}

    def read(self, tags: Mapping[str, Any], captured_ns: int) -> tuple[float, int]:
        """Time of this frame in seconds and the clock it came from (index into CLOCKS)."""
        now: dict[str, float] = {}
        camera_ms, received = tags.get(CAMERA_MS), tags.get("TimeReceivedByCore")
        if isinstance(camera_ms, float) and np.isfinite(camera_ms):
            now["camera"] = camera_ms / 1e3
        if (core_s := _timestamp(received)) is not None:
            now["core"] = core_s
        now["host"] = captured_ns / 1e9
        used = next((name for name in now if now[name] > self._last.get(name, np.inf)), "host")
        if self._last:
            self._time_s += max(0.0, now[used] - self._last[used])
        else:
            used = next(iter(now))
        self._last = now
        return self._time_s, CLOCKS.index(used)


def _timestamp(received: object) -> float | None:
    """Seconds from a local time of Micro-Manager, such as '2026-01-31 12:00:00.123456'."""
    try:
        return datetime.fromisoformat(str(received)).timestamp()
    except ValueError:
        return None
