"""A microscope: a core that is ready, and how images are acquired from it.

All cores are driven through pycromanager. It receives lists of events, so that the camera runs on
its own clock (a hardware sequence). Its output is kept off the terminal. Its errors, some of which
it only prints or loses, become one MicroscopeError.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from livespt.acquisition.microscope.events import (
    Event,
    plane_values,
    refusal,
    sequences,
    time_points,
)
from livespt.acquisition.microscope.hook import Hook, Put
from livespt.acquisition.microscope.movie_camera import MoviePlayer
from livespt.stream.errors import InputError, MicroscopeError

BURST = 10_000  # events in one list, which is one hardware sequence: 40 us of start delay for each
_POLL_S = 0.05


class Acquired(NamedTuple):
    """Result of an acquisition."""

    frames: int  # that were put
    lost: int  # exposures that the camera made and the core did not deliver
    errors: int  # images that could not be used
    last_error: str
    stopped: bool  # whether it was stopped before its end
    late: int = 0  # images that came twice or out of order


class Microscope:
    """A camera that is ready. `close` (or the end of a `with`) releases core and devices.

    Attributes
    ----------
    core
        MMCore with snake_case names.
    name : str
        Stored as `Start.source`.
    shape, dtype
        Shape (y, x) and type (uint8, uint16 or float32) of a camera image.
    pixel_size_um : float or None
        As configured for the objective; None if unknown.
    exposure_ms : float
    n_frames : int or None
        Length of the movie that a simulated camera plays; None for a camera without an end.
    """

    def __init__(
        self,
        core: Any,
        name: str,
        *,
        release: Callable[[], None],
        player: MoviePlayer | None = None,
        n_frames: int | None = None,
        port: int | None = None,
    ) -> None:
        self.core, self.name, self.n_frames = core, name, n_frames
        self._release, self._player, self._port = release, player, port
        depth, components = int(core.get_bytes_per_pixel()), int(core.get_number_of_components())
        dtypes = {1: "uint8", 2: "uint16", 4: "float32"}
        if components != 1 or depth not in dtypes:
            self.close()
            raise MicroscopeError(
                f"the camera gives pixels of {components} components and {depth} bytes: set its "
                "pixel type to 8-bit, 16-bit or 32-bit grey"
            )
        self.dtype = np.dtype(dtypes[depth])
        self.shape = (int(core.get_image_height()), int(core.get_image_width()))
        self.pixel_size_um = float(core.get_pixel_size_um()) or None
        self.exposure_ms = float(core.get_exposure())

    def frame_shape(self, events: Sequence[Event] | None = None) -> tuple[int, ...]:
        """Shape of the frames of these events: (y, x), or (z, y, x) for stacks."""
        planes = plane_values(events or ())
        return (len(planes), *self.shape) if len(planes) > 1 else self.shape

    def acquire(
        self,
        put: Put,
        n_frames: int | None = None,
        *,
        interval_ms: float = 0.0,
        exposure_ms: float | None = None,
        events: Sequence[Event] | None = None,
        stop: Callable[[], bool] = lambda: False,
        burst: int = BURST,
    ) -> Acquired:
        """Acquire frames and put each one as it arrives. Ctrl-C has the same effect as `stop`.

        Parameters
        ----------
        put : callable
            Takes the frames, in a thread of pycromanager: `RingWriter.put`.
        n_frames : int, optional
            Number of time points; None: all frames of the movie, or until `stop`.
        interval_ms : float
            0: the camera sets the pace, as fast as the exposure allows; otherwise software does.
        exposure_ms : float, optional
            Exposure to set before the acquisition.
        events : sequence of dict, optional
            Events of pycromanager in place of time points, for channels, stacks and stage
            positions. They give frames of `frame_shape(events)`.
        stop : callable
            Called about 20 times a second; the acquisition ends when it returns true.
        burst : int
            Time points of one hardware sequence. A few frame intervals pass between bursts.

        Raises
        ------
        InputError
            More frames were requested than the movie has, or the events form incomplete stacks.
        MicroscopeError
            The acquisition ended early, or no frame could be put.
        """
        if self.n_frames is not None and (n_frames or 0) > self.n_frames:
            raise InputError(
                f"{n_frames} frames were requested, the movie has {self.n_frames}: request fewer"
            )
        if events is not None and (reason := refusal(events)):
            raise InputError(reason)
        if exposure_ms is not None:
            self.core.set_exposure(float(exposure_ms))
            self.exposure_ms = float(self.core.get_exposure())
        if self._player is not None:
            self._player.rewind()
        lists: Iterator[list[Event]]
        if events is None:
            lists = time_points(n_frames or self.n_frames, interval_ms, burst)
        else:
            lists = iter([list(events)] if self.java else sequences(self.core, events))
        hook = Hook(put, planes=plane_values(events or ()))
        stopped = self._run(hook, lists, stop)
        if hook.errors and not hook.frames:
            raise MicroscopeError(f"none of {hook.seen} images could be used: {hook.last_error}")
        return Acquired(hook.frames, hook.lost, hook.errors, hook.last_error, stopped, hook.late)

    @property
    def java(self) -> bool:
        """Whether the core runs in the Java program, which is another process."""
        return self._port is not None

    def close(self) -> None:
        """Release core and devices; a Micro-Manager program (Java) keeps running."""
        self._release()
        self._release = nothing

    def __enter__(self) -> Microscope:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _run(
        self,
        hook: Hook,
        lists: Iterator[list[Event]],
        stop: Callable[[], bool],
    ) -> bool:
        """Feed events to the engine until it has finished; return whether it was stopped."""
        from pycromanager import Acquisition

        over = threading.Event()

        def notice(notification: Any) -> None:
            if notification.is_acquisition_finished_notification():
                over.set()

        options: dict[str, Any] = {"show_display": False, "port": self._port} if self.java else {}
        with quiet() as chatter:
            acquisition = Acquisition(
                image_process_fn=hook, notification_callback_fn=notice, **options
            )
            feed = _Feed(acquisition, lists)
            stopped = True
            try:
                while not over.wait(_POLL_S if feed.queued else 0) and not stop():
                    feed.give(hook.seen)
                stopped = not over.is_set()
            except KeyboardInterrupt:
                pass
            finally:
                if not over.is_set():
                    acquisition.abort()
                feed.end()
                failure = _completed(acquisition)
        # the engine does not report errors of the hardware: the number of images reveals them
        if failure or (not stopped and hook.seen < feed.queued):
            raise self._broken(hook.seen, feed.queued, failure, chatter)
        return stopped

    def _broken(
        self, seen: int, requested: int, text: str, chatter: io.StringIO
    ) -> MicroscopeError:
        lines = [line.strip() for line in [*chatter.getvalue().splitlines(), text] if line.strip()]
        reason = lines[-1] if lines else "no reason was given, see the log of Micro-Manager"
        if self._player is not None and self._player.error:
            reason = self._player.error
        if "overflow" in reason:
            reason += ", the camera is too fast for the computer: lower its rate or the image size"
        reason = re.sub(r"^[\w.]+(Exception|Error): ", "", reason)
        return MicroscopeError(
            f"acquisition broke off after {seen} of {requested} images: {reason}"
        )


class _Feed:
    """Passes lists of events to an acquisition, a limited number of images ahead of the camera."""

    def __init__(self, acquisition: Any, lists: Iterator[list[Event]]) -> None:
        self.queued = 0  # images requested
        self._acquisition, self._lists = acquisition, lists
        self._ended = False

    def give(self, seen: int) -> None:
        while not self._ended and self.queued - seen <= BURST:
            events = next(self._lists, None)
            if events is None:
                self.end()
            else:
                self.queued += len(events)
                self._acquisition.acquire(events)

    def end(self) -> None:
        if not self._ended:
            self._ended = True
            self._acquisition.mark_finished()


def _completed(acquisition: Any) -> str:
    """Wait until every image was handled; return the error message, empty if there was none."""
    try:
        acquisition.await_completion()
    except Exception as error:  # pycromanager raises nothing more precise
        return str(error) or "no reason was given"
    return ""


def nothing() -> None:
    """Release nothing: the Micro-Manager program keeps running."""


@contextlib.contextmanager
def quiet() -> Iterator[io.StringIO]:
    """Keep the output of pycromanager, including tracebacks of threads, off the terminal."""
    chatter = io.StringIO()
    with contextlib.redirect_stdout(chatter), contextlib.redirect_stderr(chatter):
        yield chatter
