"""Test of the OpenGL backends of this computer, in another process.

A broken driver or a missing Qt plugin may abort the process. Therefore every backend is tested
once, in a child process with a time limit.
"""

from __future__ import annotations

import ctypes.util
import os
import subprocess
import sys
from functools import cache
from typing import NamedTuple

PACKAGES = "libegl1 libegl-mesa0 libgl1 libgl1-mesa-dri libfontconfig1 fontconfig"  # of Debian
FORCE = "LIVESPT_OPENGL"  # environment variable: name of a backend, or "none"
TIMEOUT_S = 30.0
# Draws a marker, which takes shaders, buffers and a picture read back.
TRIAL = """
import sys
import numpy
from vispy import scene, use
use(app=sys.argv[1])
canvas = scene.SceneCanvas(size=(64, 64), show=False, bgcolor='black')
mark = scene.visuals.Markers(pos=numpy.full((1, 2), 32.0), size=20, face_color='white')
mark.parent = canvas.scene
print('drawn' if canvas.render()[28:36, 28:36, 0].min() > 200 else 'blank')
"""


class OpenGL(NamedTuple):
    """A backend that works, or the reason why there is none."""

    backend: str | None  # its name in vispy
    environment: dict[str, str]  # environment variables that it needs
    reason: str  # why there is none, in one line

    def prepare(self) -> str:
        """Set the environment of the backend, before vispy loads it; return its name."""
        for key, value in self.environment.items():
            os.environ.setdefault(key, value)
        return self.backend or ""


def no_screen() -> str:
    """Return why no window can be opened; empty if one probably can."""
    if sys.platform in ("win32", "darwin"):
        return ""
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return ""
    return "no screen (DISPLAY is not set)"


def opengl(window: bool = False) -> OpenGL:
    """Return the backend for drawing off screen or in a window; the variable may force one."""
    forced = os.environ.get(FORCE, "")
    if window and no_screen():
        return OpenGL(None, {}, no_screen())
    if forced == "none":
        return OpenGL(None, {}, f"{FORCE}=none")
    return _probe(window, forced, bool(no_screen()))


def opengl_backend() -> str | None:
    """Return the name of the backend that draws off screen, if there is one."""
    return opengl().backend


@cache
def _probe(window: bool, forced: str, blind: bool) -> OpenGL:
    reasons = []
    for backend, environment in _candidates(window, blind):
        if forced and backend != forced:
            continue
        fault = _try(backend, environment)
        if not fault:
            return OpenGL(backend, environment, "")
        reasons.append(f"{backend}: {fault}")
    return OpenGL(None, {}, "; ".join(reasons) or f"{FORCE}={forced} is not possible here")


def _candidates(window: bool, blind: bool) -> list[tuple[str, dict[str, str]]]:
    """Return the backends to test; with a screen, Qt is first, since a process can use only one."""
    qt: list[tuple[str, dict[str, str]]] = [] if blind else [("pyside6", {})]
    if window or sys.platform in ("win32", "darwin"):
        return qt
    off: list[tuple[str, dict[str, str]]] = [("egl", {"EGL_PLATFORM": "surfaceless"}), ("egl", {})]
    library = os.environ.get("OSMESA_LIBRARY") or ctypes.util.find_library("OSMesa")
    if library:  # if libGL is installed as well, vispy would call it instead
        off.append(("osmesa", {"VISPY_GL_LIB": library}))
    return qt + off


def _try(backend: str, environment: dict[str, str]) -> str:
    """Return why a backend fails on this computer; empty if it works."""
    command = [sys.executable, "-c", TRIAL, backend]
    try:
        done = subprocess.run(
            command,
            env={**environment, **os.environ},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {TIMEOUT_S:g} s"
    if done.returncode == 0 and done.stdout.split()[-1:] == ["drawn"]:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    failures = [line for line in lines if "could not" in line.lower()]  # Qt prints more after it
    return (failures or lines or [f"ended with code {done.returncode}, nothing drawn"])[-1]
