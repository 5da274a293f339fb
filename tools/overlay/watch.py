"""`livespt watch`: the overlay of a stored or published run, in a window, a picture or a movie."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from livespt.stream.errors import InputError, MissingError, SettingError, StoreError
from livespt.stream.store.run import open_run
from livespt.tools.overlay.canvas import SIZE, drawer, render_scene
from livespt.tools.overlay.opengl import no_screen, opengl
from livespt.tools.overlay.player import LivePlayer, Player, play, scene_at, select
from livespt.tools.overlay.scene import Scene
from livespt.tools.progress import steps

FPS = 25.0  # frames per second of a movie whose frame interval is unknown
LIVE_FRAMES = 20  # seen before a published run is pictured
LIVE_WAIT_S = 10.0


def watch(
    target: str,
    render: Path | None = None,
    *,
    frame: int | None = None,
    fps: float | None = None,
    key: Path | None = None,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Show a run, or draw it into a file.

    Parameters
    ----------
    target : str
        Endpoint of a published run, or path of a stored one.
    render : Path, optional
        `.png` for a picture, `.mp4` for the whole stored run. None: a window.
    frame : int, optional
        Time point of a stored run; by default one with many uncoatings.
    fps : float, optional
        Frames per second of the movie; by default those of the run, but at most 60.
    key : Path, optional
        Key file of this subscriber, if the publisher requires one.

    Returns
    -------
    dict
        Summary, for printing; empty for a window.

    Raises
    ------
    SettingError
        There is no screen for a window, or `render` is neither PNG nor MP4.
    InputError, WireError
        There is nothing to draw at `target`.
    MissingError
        There is no OpenGL for a window.
    """
    live = "://" in target
    if render is None:
        _refuse_window(target)
        player: Player | LivePlayer = LivePlayer(target, key=key) if live else play(target)
        if isinstance(player, Player):
            _seek(player, frame)
        opengl(window=True).prepare()
        from livespt.tools.overlay.window import show

        show(player, say)
        return {}
    suffix = render.suffix.lower()
    if suffix not in (".png", ".mp4"):
        raise SettingError(f"--render writes .png or .mp4, not '{render.name}'")
    if suffix == ".mp4" and live:
        raise SettingError(f"a movie needs a stored run: give RUN.zarr instead of {target}")
    if not render.absolute().parent.is_dir():
        raise StoreError(f"'{render.absolute().parent}' is not a folder: create it first")
    if suffix == ".mp4":
        return _render_movie(play(target), render, fps)
    scene = _live_scene(target, key) if live else scene_at(open_run(target), frame)
    return {"picture": str(render), "frame": scene.frame, "drawn by": render_scene(scene, render)}


def _render_movie(player: Player, path: Path, fps: float | None) -> dict[str, Any]:
    """Draw every analyzed frame, in one step, so that no partial file is left."""
    try:
        from imageio_ffmpeg import write_frames
    except ImportError as error:
        raise MissingError("a movie needs imageio-ffmpeg: pip install imageio-ffmpeg") from error
    interval = player.run.start.frame_interval_s
    rate = fps or min(1 / interval if interval else FPS, 60.0)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    player.go(player.most_uncoatings())
    select(player.scene)
    with drawer(player.scene, 1) as (draw, how):
        movie = write_frames(str(partial), SIZE, fps=rate, quality=5, macro_block_size=8)
        movie.send(None)
        try:
            for at in steps(range(len(player)), "drawing", len(player), "frame"):
                player.go(at)
                movie.send(np.ascontiguousarray(draw(player.scene)))
        except BaseException:
            movie.close()
            partial.unlink(missing_ok=True)
            raise
        movie.close()
    partial.replace(path)
    return {"movie": str(path), "frames": len(player), "drawn by": how}


def _seek(player: Player, frame: int | None) -> None:
    if frame is None:
        player.go(player.most_uncoatings())
    else:
        player.go_to_frame(frame)


def _live_scene(endpoint: str, key: Path | None) -> Scene:
    """Follow a published run until its tails are long enough for a picture."""
    player = LivePlayer(endpoint, key=key)
    try:
        deadline, seen = time.monotonic() + LIVE_WAIT_S, 0
        while time.monotonic() < deadline and not player.ended and seen < LIVE_FRAMES:
            seen += player.step()
            time.sleep(0.01)
        if not seen:
            raise InputError(f"{endpoint} sent no frame in {LIVE_WAIT_S:g} s: nothing to draw")
    finally:
        player.close()
    select(player.scene)
    return player.scene


def _refuse_window(target: str) -> None:
    instead = f"draw into a file: livespt watch {shlex.quote(target)} --render overlay.png"
    if no_screen():
        raise SettingError(f"{no_screen()}: {instead}")
    way = opengl(window=True)
    if way.backend is None:
        raise MissingError(f"no OpenGL window ({way.reason}): {instead}")
