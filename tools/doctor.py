"""`livespt doctor`: tests what this computer can do.

Tests that may crash or hang (drivers, device libraries) run in a child process with a time limit. A
failing test does not stop the others.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from livespt.stream.errors import LiveSptError, ModelError
from livespt.stream.host import shared_memory
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.types import Frame

Finding = dict[str, str]  # name; state "ok", "warn" or "missing"; value; advice, empty if ok
SHAPE = (512, 512)
CHILD_S = 180.0
PARTS = {
    "onnxruntime": "networks",
    "pycromanager": "Micro-Manager",
    "pymmcore_plus": "simulated microscope",
    "mm_test_adapters": "simulated microscope",
    "vispy": "overlay",
    "PySide6": "overlay window",
    "matplotlib": "pictures without OpenGL",
    "torch": "training; install livespt[train]",
}


def examine(folder: Path | None = None) -> list[Finding]:
    """Run all tests, which takes about half a minute.

    Parameters
    ----------
    folder : Path, optional
        Folder in which runs will be stored. Default: the current folder.

    Returns
    -------
    list of dict
        `name`, `state` ("ok", "warn" or "missing"), `value`, `advice`.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("system", _system),
        ("packages", _packages),
        ("gpu", _gpu),
        ("providers", _providers),
        ("opengl", _opengl),
        ("shared memory", _shared_memory),
        ("micro-manager", _micro_manager),
        ("python core", _python_core),
        ("disk", lambda: _disk(folder or Path.cwd())),
        ("frame rate", _frame_rate),
    ]
    return [{"name": name, **_safely(check)} for name, check in checks]


def lines(findings: Sequence[Finding]) -> list[str]:
    """Findings as lines of text, with advice below those that need it."""
    text = []
    for finding in findings:
        text.append(f"{finding['state']:<8}{finding['name']:<15}{finding['value']}")
        if finding["advice"]:
            text.append(f"{'':23}{finding['advice']}")
    return text


def _safely(check: Callable[[], Finding]) -> Finding:
    try:
        return check()
    except Exception as error:  # one check that fails must not hide the others
        reason = " ".join(str(error).split()) or type(error).__name__
        return _warn(f"could not be tested: {reason}", "report this if it persists")


def _ok(value: str) -> Finding:
    return {"state": "ok", "value": value, "advice": ""}


def _warn(value: str, advice: str) -> Finding:
    return {"state": "warn", "value": value, "advice": advice}


def _missing(value: str, advice: str) -> Finding:
    return {"state": "missing", "value": value, "advice": advice}


# --- this process


def _system() -> Finding:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    value = (
        f"Python {platform.python_version()}, {platform.system()} {platform.release()} "
        f"{platform.machine()}, {cores} cores"
    )
    if cores < 4:
        return _warn(value, "capture, recorder, analyzer and overlay need one core each")
    return _ok(value)


def _packages() -> Finding:
    absent = {name: use for name, use in PARTS.items() if importlib.util.find_spec(name) is None}
    if absent:
        parts = ", ".join(f"{name} ({use})" for name, use in absent.items())
        return _missing(f"not installed: {parts}", "install those that you need with pip")
    return _ok(f"all {len(PARTS)} are installed")


def _gpu() -> Finding:
    program = shutil.which("nvidia-smi")
    if program is None:
        return _missing("no NVIDIA driver (nvidia-smi)", "networks run on the CPU")
    query = "--query-gpu=name,memory.total,driver_version"
    done = subprocess.run(
        [program, query, "--format=csv,noheader"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    cards = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode or not cards:
        said = " ".join((done.stdout + done.stderr).split())
        return _warn(f"nvidia-smi fails: {said}", "reinstall the driver; until then, CPU is used")
    return _ok("; ".join(cards))


def _opengl() -> Finding:
    from livespt.tools.overlay.opengl import PACKAGES, opengl

    window, picture = opengl(window=True), opengl()
    if window.backend:
        return _ok(f"window by {window.backend}, pictures by {picture.backend}")
    if picture.backend:
        return _warn(
            f"pictures by {picture.backend}, no window: {window.reason}",
            "`watch --render` draws into files; for a window, start livespt on a desktop",
        )
    return _missing(
        f"none: {picture.reason}", f"pictures come from matplotlib; Debian: apt install {PACKAGES}"
    )


def _shared_memory() -> Finding:
    free = shared_memory.free_bytes()
    rooms = ", ".join(f"{folder} {room / 1e9:.1f} GB free" for folder, room in free.items())
    image = np.arange(SHAPE[0] * SHAPE[1], dtype=np.uint16).reshape(SHAPE)
    n, name = 200, f"doctor-{os.getpid()}"
    with RingWriter(name, 16, SHAPE, "uint16") as ring, RingReader(name) as reader:
        began = time.perf_counter()
        for number in range(n):
            ring.put(image, number=number, t=number)
            frame = reader.get(1.0)
            if frame is None or frame.number != number or not np.array_equal(frame.image, image):
                return _warn(f"frame {number} was damaged in the ring; {rooms}", "report this")
        rate = n / (time.perf_counter() - began)
    value = f"ring passes {rate:.0f} frames/s of {SHAPE[0]} x {SHAPE[1]}; {rooms}"
    first = next(iter(free))
    if free[first] < 256 << 20:
        return _warn(value, f"give {first} 256 MB or more (docker: --shm-size); else disk is used")
    return _ok(value)


def _micro_manager() -> Finding:
    from livespt.acquisition.microscope.connect import PORT, is_listening

    if is_listening():
        return _ok(f"answers at 127.0.0.1:{PORT}")
    return _missing(
        f"nothing answers at 127.0.0.1:{PORT}",
        f"for `live`: start Micro-Manager, tick Tools > Options > Run server on port {PORT}",
    )


def _disk(folder: Path, seconds: float = 2.0) -> Finding:
    """Write up to 256 MB, or for `seconds`, and sync it to the disk."""
    block, written = os.urandom(8 << 20), 0
    with tempfile.NamedTemporaryFile(dir=folder, prefix="livespt-doctor-") as file:
        began = time.perf_counter()
        while written < 256 << 20 and time.perf_counter() - began < seconds:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
            written += len(block)
        speed = written / (time.perf_counter() - began)
    free = shutil.disk_usage(folder).free
    frame = SHAPE[0] * SHAPE[1] * 2
    value = (
        f"{speed / 1e6:.0f} MB/s, {free / 1e9:.0f} GB free in {folder}: "
        f"{speed / frame:.0f} frames/s of {SHAPE[0]} x {SHAPE[1]}"
    )
    if speed < 100e6:
        return _warn(value, "store runs on a faster disk, or lower frame rate or frame size")
    return _ok(value)


# --- child processes


def _ask(code: str, limit_s: float = CHILD_S) -> dict[str, Any]:
    """JSON from the last line that a child process prints; LiveSptError if there is none."""
    command = [sys.executable, "-c", code]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LiveSptError(f"no result within {limit_s:g} s") from error
    last = (done.stdout.splitlines() or [""])[-1]
    with contextlib.suppress(ValueError):
        result = json.loads(last)
        if isinstance(result, dict):
            return result
    if done.returncode < 0:
        raise LiveSptError(f"crashed ({signal.Signals(-done.returncode).name})")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    raise LiveSptError(lines[-1].strip() if lines else f"ended with code {done.returncode}")


def _providers() -> Finding:
    found = _ask("from livespt.tools.doctor import try_providers; try_providers()")
    if "refused" in found:
        return _missing(found["refused"], "install livespt with its models")
    known = ", ".join(name.removesuffix("ExecutionProvider") for name in found["available"])
    value = f"ONNX Runtime {found['version']} ({known}); runs on {found['runs']}"
    if found["runs"] == "cuda" or not found["cuda"]:
        return _ok(value)
    return _warn(f"{value}; {found['cuda']}", "install CUDA 12 and cuDNN 9 for the GPU")


def try_providers() -> None:
    """In the child: providers of ONNX Runtime, and the one that runs the shipped localizer."""
    import onnxruntime

    from livespt.models.runtime.session import open_session, shipped

    runs, cuda = "cuda", ""
    try:
        path = shipped("fast")
        open_session(path, "cpu")
    except ModelError as error:
        print(json.dumps({"refused": str(error)}))
        return
    try:
        open_session(path, "cuda")
    except ModelError as error:
        runs, cuda = "cpu", str(error) if shutil.which("nvidia-smi") else ""  # no error without GPU
    available = onnxruntime.get_available_providers()
    found = {"version": onnxruntime.__version__, "available": available}
    print(json.dumps({**found, "runs": runs, "cuda": cuda}))


def _python_core() -> Finding:
    found = _ask("from livespt.tools.doctor import try_core; try_core()")
    value = f"demo camera gives {found['frames_per_s']:.0f} of {found['asked']:.0f} frames/s"
    if found["frames"] < found["wanted"] or found["errors"]:
        return _warn(
            f"{value}, {found['frames']} of {found['wanted']} frames arrived", "report this"
        )
    return _ok(value)


def try_core() -> None:
    """In the child: pass frames of the demo camera through core, engine and hook."""
    from livespt.acquisition.microscope.connect import demo_microscope

    exposure_ms, wanted, times = 10.0, 100, []

    def put(image: Any, /, **fields: Any) -> None:
        times.append(fields["captured_ns"])

    with demo_microscope(SHAPE, exposure_ms=exposure_ms) as microscope:
        acquired = microscope.acquire(put, wanted)
    rate = (len(times) - 1) / ((times[-1] - times[0]) / 1e9)
    found = {"frames": acquired.frames, "errors": acquired.errors, "wanted": wanted}
    print(json.dumps({**found, "frames_per_s": rate, "asked": 1e3 / exposure_ms}))


def _frame_rate() -> Finding:
    found = _ask("from livespt.tools.doctor import try_analysis; try_analysis()")
    if "refused" in found:
        return _missing(f"no analysis: {found['refused']}", "install livespt with its models")
    value = (
        f"{found['frames_per_s']:.0f} frames/s of {SHAPE[0]} x {SHAPE[1]} with "
        f"{found['tracks']} particles on {found['provider']}; p50 {found['p50_ms']:.1f} ms, "
        f"p99 {found['p99_ms']:.1f} ms, localizing {found['localize_ms']:.1f} ms"
    )
    if found["frames_per_s"] < 20:
        return _warn(value, "with a faster camera, frames are skipped: use a region, or a GPU")
    return _ok(value)


def try_analysis(n_frames: int = 70, first: int = 30) -> None:
    """In the child: analyze simulated frames with the shipped models, without timing the first."""
    from livespt.acquisition.simulated import Scenario, virus_entry
    from livespt.tools.runs.compose import compose
    from livespt.tools.runs.options import Facts, Options

    movie = virus_entry(Scenario(n_frames=n_frames, shape=SHAPE))
    facts = Facts("simulated", movie.axes, movie.shape, movie.dtype, 0.1, 0.05)
    try:
        chain = compose(facts, Options(provider="auto"), "live")
    except ModelError as error:
        print(json.dumps({"refused": str(error)}))
        return
    whole, localize, spots = [], [], []
    for i in range(n_frames):
        frame = Frame(i, i, 0, 0, 0.05 * i, movie.frame(i))
        began = time.perf_counter()
        update = chain.analyzer(frame)
        whole.append(time.perf_counter() - began)
        spots.append(len(update.spots))
        localize.append(chain.stages.localize.take_ms())
    p50, p99 = np.percentile(np.array(whole[first:]) * 1e3, [50, 99])
    found = {
        "frames_per_s": 1 / float(np.mean(whole[first:])),
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "localize_ms": float(np.median(localize[first:])),
        "tracks": int(np.median(spots[first:])),
        "provider": chain.start.machine["provider"],
    }
    print(json.dumps(found))
