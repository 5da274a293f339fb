"""The movie camera: a camera in the real Micro-Manager core that plays a movie.

Its frames pass through core, acquisition engine and hook exactly as those of a real camera. The
camera is a Python device of `unicore`, which is experimental in pymmcore-plus. The core is given
the snake_case names and the few methods that pycromanager expects. This module uses private names
of other packages: `mmpycorex.launcher._camel_to_snake` and `._PYMMCORES`, `Engine` and
`Engine.singleton`.
"""

from __future__ import annotations

import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from livespt.acquisition.microscope.hook import CAMERA_MS

LABEL = "MovieCamera"
_POLL_S = 0.0002


class MoviePlayer:
    """The next frame of a movie; `error` is the reason why a frame failed."""

    def __init__(self, movie: Callable[[int], NDArray[Any]], interval_s: float) -> None:
        self.interval_s, self.error = interval_s, ""
        self._movie, self._next = movie, 0

    def rewind(self) -> None:
        """Go back to frame 0."""
        self._next = 0

    def play(self, buffer: NDArray[Any]) -> int | None:
        """Fill the buffer with the next frame; return its number, or None if it failed."""
        frame = self._next
        try:
            buffer[:] = self._movie(frame)
        except Exception as error:  # otherwise it ends as a traceback of a thread
            self.error = f"frame {frame} of the movie failed: {error}"
            return None
        self._next = frame + 1
        return frame


def movie_core(
    movie: Callable[[int], NDArray[Any]],
    shape: tuple[int, int],
    dtype: str,
    interval_s: float,
    *,
    adapters: str,
    config: Path,
    buffer_mb: int,
) -> tuple[Any, MoviePlayer]:
    """Start a core whose camera plays `movie(0), movie(1), ...`, and register it with pycromanager.

    Parameters
    ----------
    movie : callable
        Returns the pixels (y, x) of a frame, from its index.
    interval_s : float
        Frames are due at multiples of this time after the start.
    adapters, config
        Folder of the device adapters, and configuration file of the other devices.

    Returns
    -------
    core, player
        The core, and the state of its camera.
    """
    from mmpycorex import launcher
    from pycromanager.acquisition.acq_eng_py.internal.engine import Engine

    core = _core_class()()
    core.setDeviceAdapterSearchPaths([adapters])
    core.loadSystemConfiguration(str(config))
    player = MoviePlayer(movie, interval_s)
    camera = _camera_class()(player, shape, np.dtype(dtype))
    core.loadPyDevice(LABEL, camera)
    core.initializeDevice(LABEL)
    core.setCameraDevice(LABEL)
    core.setCircularBufferMemoryFootprint(buffer_mb)
    core.get_tagged_image = types.MethodType(launcher.get_tagged_image, core)
    core.TaggedImage = launcher.TaggedImage
    launcher._PYMMCORES.append(core)
    Engine(core)
    return core, player


def be_polite(core: Any) -> None:
    """Let the engine sleep while it waits for an image; otherwise it keeps a CPU core busy.

    The engine polls for the next image and ignores the error of an empty buffer. The method bound
    to this core sleeps first if there is no image. It also keeps the elapsed time of the camera,
    which the engine overwrites. No package is patched.
    """
    import pymmcore
    from mmpycorex.launcher import TaggedImage

    def pop_next_tagged_image(self: Any) -> Any:
        if self.getRemainingImageCount() == 0:
            time.sleep(_POLL_S)
        metadata = pymmcore.Metadata()
        pixels = self.popNextImageMD(0, 0, metadata)
        tags: dict[str, Any] = {
            key: metadata.GetSingleTag(key).GetValue() for key in metadata.GetKeys()
        }
        if "ElapsedTime-ms" in tags:
            tags[CAMERA_MS] = float(tags["ElapsedTime-ms"])
        return TaggedImage(tags, pixels)

    core.pop_next_tagged_image = types.MethodType(pop_next_tagged_image, core)


def _core_class() -> type[Any]:
    """UniMMCore with a snake_case name for every public method, inherited ones included."""
    from mmpycorex.launcher import _camel_to_snake
    from pymmcore_plus.experimental.unicore import UniMMCore

    methods = {
        _camel_to_snake(name): getattr(UniMMCore, name)
        for name in dir(UniMMCore)
        if not name.startswith("_") and callable(getattr(UniMMCore, name))
    }
    # the engine calls this method; it does nothing in MMCore, and pymmcore-plus warns about it
    methods["prepare_sequence_acquisition"] = lambda self, camera: None
    return type("MovieCore", (UniMMCore,), methods)


def _camera_class() -> type[Any]:
    from pymmcore_plus.experimental.unicore import CameraDevice

    class MovieCamera(CameraDevice):
        """Delivers each frame at its due time; this time is absolute, so delays do not add up."""

        def __init__(
            self, player: MoviePlayer, shape: tuple[int, int], dtype: np.dtype[Any]
        ) -> None:
            super().__init__()
            self._player, self._shape, self._dtype = player, shape, dtype
            self._exposure_ms = player.interval_s * 1e3

        def get_exposure(self) -> float:
            return self._exposure_ms

        def set_exposure(self, exposure: float) -> None:
            self._exposure_ms = exposure

        def shape(self) -> tuple[int, int]:
            return self._shape

        def dtype(self) -> DTypeLike:
            return self._dtype

        def start_sequence(
            self, n: int | None, get_buffer: Callable[[Sequence[int], DTypeLike], NDArray[Any]]
        ) -> Iterator[Mapping[str, str]]:
            start_s, i = time.perf_counter(), 0
            while n is None or i < n:
                frame = self._player.play(get_buffer(self._shape, self._dtype))
                if frame is None:
                    return
                i += 1
                due_s = start_s + i * self._player.interval_s
                time.sleep(max(0.0, due_s - time.perf_counter()))
                yield {"MovieFrame": str(frame)}

    return MovieCamera
