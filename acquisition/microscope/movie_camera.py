"""The movie camera: plays a movie as a camera in the real Micro-Manager core.

Frames then pass core, acquisition engine and hook exactly as those of a real camera do. The camera
is a Python device of pymmcore-plus' experimental `unicore`; the core gets the snake_case names and
the few additions that pycromanager expects of a core. Private names of other packages that are
touched: `mmpycorex.launcher._camel_to_snake` and `._PYMMCORES`, `Engine` and `Engine.singleton`.
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
    """Where a movie stands; `error` says why it failed."""

    def __init__(self, movie: Callable[[int], NDArray[Any]], interval_s: float) -> None:
        self.interval_s, self.error = interval_s, ""
        self._movie, self._next = movie, 0

    def rewind(self) -> None:
        """Go back to frame 0."""
        self._next = 0

    def play(self, buffer: NDArray[Any]) -> int | None:
        """Fill the buffer with the next frame; its number, None if it failed."""
        frame = self._next
        try:
            buffer[:] = self._movie(frame)
        except Exception as error:  # whatever a movie raises would end in a thread's traceback
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
        Frame index to (y, x) pixels.
    interval_s : float
        Frames are due at multiples of it after the start.
    adapters, config
        Folder of device adapters and configuration of the other devices.

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
    """Let the engine sleep while it waits for an image; it burns a whole CPU core otherwise.

    The engine asks for the next image again and again and ignores the error of an empty buffer. A
    method bound to this core sleeps first when there is none, keeps the camera's elapsed time,
    which the engine overwrites, and patches no package.
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
    # the engine calls it, MMCore does nothing in it, pymmcore-plus warns of it
    methods["prepare_sequence_acquisition"] = lambda self, camera: None
    return type("MovieCore", (UniMMCore,), methods)


def _camera_class() -> type[Any]:
    from pymmcore_plus.experimental.unicore import CameraDevice

    class MovieCamera(CameraDevice):
        """Each frame is ready at its due time, which is absolute, so that delays do not add up."""

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
