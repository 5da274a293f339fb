"""Connect to a microscope: Micro-Manager in its three forms, or a simulated one.

- `attach` connects to the running Micro-Manager program (Java); `start_java` starts it headless.
- `open_python` loads a core in this process, with the user's installation and configuration.
- `demo_microscope` and `simulated_microscope` load a core in this process with Micro-Manager's
  demo camera, or with a camera that plays a movie. They need no installation and no hardware.

Each returns a `Microscope`. A process can hold one Python core at a time.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from livespt.acquisition.microscope import movie_camera
from livespt.acquisition.microscope.microscope import Microscope, nothing, quiet
from livespt.stream.errors import MicroscopeError

PORT = 4827  # default port of the server in Micro-Manager
_CONFIG = """\
Device,DHub,DemoCamera,DHub
Device,Camera,DemoCamera,DCam
Device,Z,DemoCamera,DStage
Device,XY,DemoCamera,DXYStage
Device,Objective,DemoCamera,DObjective
Property,Core,Initialize,1
Property,Core,Camera,Camera
Property,Core,Focus,Z
Property,Core,XYStage,XY
Property,Core,AutoShutter,0
ConfigPixelSize,Simulated,Objective,State,0
PixelSize_um,Simulated,{pixel_size_um}
"""


def attach(port: int = PORT) -> Microscope:
    """Connect to the Micro-Manager program that runs on this machine.

    Raises
    ------
    MicroscopeError
        Nothing answers at the port, or what answers is not a usable Micro-Manager.
    """
    if not is_listening(port):
        raise MicroscopeError(
            f"no Micro-Manager answers at 127.0.0.1:{port}: start it and tick Tools > Options > "
            f"Run server on port {PORT}, or load a core here with --mm-dir and --mm-config"
        )
    from pycromanager import Core

    with quiet():
        try:
            core = Core(port=port)
            return Microscope(core, "micromanager", release=nothing, port=port)
        except Exception as error:  # pycromanager raises nothing more precise
            raise MicroscopeError(
                f"the program that answers at 127.0.0.1:{port} is not Micro-Manager, or a version "
                f"that pycromanager does not support ({_first_line(error)}): check port and version"
            ) from error


def is_listening(port: int = PORT, timeout_s: float = 0.5) -> bool:
    """Whether a ZeroMQ server, such as that of Micro-Manager, listens at this port of this machine.

    This uses plain TCP, because pycromanager needs seconds to give up and leaves threads behind. A
    ZeroMQ server at once sends ten bytes, the first 0xff and the last 0x7f (ZMTP 3.0, RFC 23).
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            greeting = b""
            while len(greeting) < 10 and (more := connection.recv(10 - len(greeting))):
                greeting += more
    except OSError:
        return False
    return greeting[:1] == b"\xff" and greeting[9:10] == b"\x7f"


def start_java(
    mm_dir: Path, config: Path, *, java: str | None = None, port: int = PORT
) -> Microscope:
    """Start an installed Micro-Manager (Java) without its windows, and connect to it."""
    from pycromanager import start_headless, stop_headless

    with quiet(), _named_errors(f"cannot start Micro-Manager of {mm_dir} with {config}"):
        start_headless(
            str(mm_dir), str(config.absolute()), java_loc=java, python_backend=False, port=port
        )
    microscope = attach(port)
    microscope._release = stop_headless
    return microscope


def open_python(mm_dir: Path, config: Path, *, buffer_mb: int = 512) -> Microscope:
    """Load a core in this process, with the device adapters of `mm_dir` (of its device API)."""
    with _python_core(mm_dir, config, buffer_mb) as core:
        return Microscope(core, "micromanager", release=_stop_python)


def demo_microscope(
    shape: tuple[int, int] = (512, 512),
    *,
    exposure_ms: float = 10.0,
    pixel_size_um: float = 0.1,
    mode: str = "Artificial Waves",
    buffer_mb: int = 256,
) -> Microscope:
    """Load a core in this process with Micro-Manager's demo camera, 16 bit."""
    properties = {
        "PixelType": "16bit",
        "OnCameraCCDYSize": shape[0],
        "OnCameraCCDXSize": shape[1],
        "Mode": mode,
    }
    with (
        _config(pixel_size_um) as config,
        _python_core(Path(_adapters()), config, buffer_mb) as core,
    ):
        for name, value in properties.items():
            core.set_property("Camera", name, str(value))
        core.set_exposure(exposure_ms)
        return Microscope(core, "demo camera", release=_stop_python)


def simulated_microscope(
    movie: Callable[[int], NDArray[Any]],
    n_frames: int,
    shape: tuple[int, int],
    dtype: str,
    interval_s: float,
    *,
    pixel_size_um: float = 0.1,
    buffer_mb: int = 256,
) -> Microscope:
    """Load a core in this process whose camera plays a movie.

    The frames are `movie(0)` to `movie(n_frames - 1)`, each (y, x). Each `acquire` starts at frame
    0; a frame is due every `interval_s` seconds (0: as fast as possible).
    """
    _refuse_second_core()
    try:
        with _config(pixel_size_um) as config, _named_errors("the simulated camera cannot start"):
            core, player = movie_camera.movie_core(
                movie,
                shape,
                dtype,
                interval_s,
                adapters=_adapters(),
                config=config,
                buffer_mb=buffer_mb,
            )
            movie_camera.be_polite(core)
            return Microscope(
                core, "simulated", release=_stop_python, player=player, n_frames=n_frames
            )
    except MicroscopeError:
        _stop_python()
        raise


def _adapters() -> str:
    import mm_test_adapters

    return str(mm_test_adapters.device_adapter_path())


@contextlib.contextmanager
def _config(pixel_size_um: float) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="livespt-") as folder:
        path = Path(folder) / "demo.cfg"
        path.write_text(_CONFIG.format(pixel_size_um=pixel_size_um))
        yield path


@contextlib.contextmanager
def _python_core(mm_dir: Path, config: Path, buffer_mb: int) -> Iterator[Any]:
    """Start a core; an error inside the context becomes a MicroscopeError and ends the core."""
    from pycromanager import Core, start_headless

    _refuse_second_core()
    try:
        with _named_errors(f"the core cannot load {config} with the devices of {mm_dir}"):
            start_headless(
                str(mm_dir),
                str(config.absolute()),
                python_backend=True,
                buffer_size_mb=buffer_mb,
            )
            core = Core()
            movie_camera.be_polite(core)
            yield core
    except MicroscopeError:
        _stop_python()
        raise


def _refuse_second_core() -> None:
    from mmpycorex import is_pymmcore_active

    if is_pymmcore_active():
        raise MicroscopeError("this process already has a Micro-Manager core: close that one first")


def _stop_python() -> None:
    from pycromanager import stop_headless
    from pycromanager.acquisition.acq_eng_py.internal.engine import Engine

    stop_headless()
    if hasattr(Engine, "singleton"):
        del Engine.singleton  # it keeps the dead core, with which the next start fails


@contextlib.contextmanager
def _named_errors(what: str) -> Iterator[None]:
    try:
        yield
    except MicroscopeError:
        raise
    except Exception as error:  # pycromanager and MMCore raise nothing more precise
        raise MicroscopeError(f"{what}: {_first_line(error)}") from error


def _first_line(error: object) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
