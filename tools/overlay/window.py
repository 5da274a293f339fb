"""The window of the overlay, with its keys and mouse.

A timer polls the player and draws only the newest scene. A draw never waits for frames, and frames
never wait for a draw. Nothing is uploaded while the window is hidden, because commands would
accumulate in the driver.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livespt.tools.overlay import layers
from livespt.tools.overlay.canvas import Overlay
from livespt.tools.overlay.player import LivePlayer, Player, select

RATE_HZ = 30.0
PAUSE_RATIO = 1.5  # of the pause after a draw to its duration
CLICK_PX = 4  # greatest distance of press and release of a click, pixels; more is a drag
REACH_PX = 16  # greatest distance from a track for a click to select it, pixels


class Window:
    """Draws a player in a window until it is closed.

    Parameters
    ----------
    player : Player or Live
    size : (int, int)
        Width and height, pixels.
    folder : Path
        Folder for screenshots.
    say : callable
        Is called with a text for each screenshot.
    """

    def __init__(
        self,
        player: Player | LivePlayer,
        *,
        size: tuple[int, int] = (1280, 760),
        folder: Path = Path(),
        say: Callable[[str], None] = print,
    ) -> None:
        from vispy.app import Timer

        self.player, self.scene = player, player.scene
        self.overlay = Overlay(self.scene, size, "pyside6", show=True)
        self.canvas = self.overlay.canvas
        self._folder, self._say = folder, say
        self._pressed: tuple[float, float] | None = None
        self._drawn: Any = None  # what the last draw depended on, in addition to the scene
        self._began = self._ended = 0.0  # times of the last draw, seconds
        events = self.canvas.events
        events.key_press.connect(self._key)
        events.mouse_press.connect(self._press)
        events.mouse_release.connect(self._release)
        events.draw.connect(self._before_draw, position="first")
        events.draw.connect(self._after_draw, position="last")
        self._timer = Timer(1 / RATE_HZ, connect=self._tick, start=True, app=self.canvas.app)
        self._moved = True

    def run(self) -> None:
        """Show the window until it is closed."""
        self.canvas.app.run()
        self._timer.stop()

    def _tick(self, _: Any) -> None:
        self._moved |= self.player.step()
        native = self.canvas.native
        if self.canvas.size[0] < 1 or not native.isVisible() or native.isMinimized():
            return
        if time.monotonic() - self._ended < PAUSE_RATIO * (self._ended - self._began):
            return
        if self._moved or self._drawn != self._view():
            self._moved = False
            self.overlay.visibility = self.overlay.visibility._replace(note=self._note())
            self.overlay.draw(self.scene)
            self._drawn = self._view()

    def _view(self) -> tuple[Any, ...]:
        """Everything that a draw depends on, in addition to the scene."""
        overlay, scene = self.overlay, self.scene
        place = overlay.place(scene)
        return (
            *(round(value, 3) for value in place),
            self.canvas.size,
            scene.selected,
            scene.lock_levels,
            self.player.playing,
            *overlay.shown(),
        )

    def _note(self) -> str:
        parts = []
        if not self.player.playing:
            parts.append("paused")
        if isinstance(self.player, LivePlayer) and self.player.ended:
            parts.append("run over")
        if self.scene.lock_levels:
            parts.append("contrast held")
        return "    ".join([*parts, "?  for keys"])

    def _before_draw(self, _: Any) -> None:
        self._began = time.monotonic()

    def _after_draw(self, _: Any) -> None:
        self._ended = time.monotonic()

    def _press(self, event: Any) -> None:
        self._pressed = tuple(event.pos[:2]) if event.button == 1 else None

    def _release(self, event: Any) -> None:
        """Select the track under a click; a click far from all tracks selects none."""
        if self._pressed is None or event.button != 1:
            return
        x, y = (float(value) for value in event.pos[:2])
        dragged = max(abs(x - self._pressed[0]), abs(y - self._pressed[1])) > CLICK_PX
        left, top = self.overlay.view.pos
        width, height = self.overlay.view.size
        if dragged or not (left <= x < left + width and top <= y < top + height):
            return
        place = self.overlay.place(self.scene)
        reach = max(REACH_PX, layers.head_size(self.scene, place.zoom)) / place.zoom
        at_x, at_y = (x - place.x) / place.zoom - 0.5, (y - place.y) / place.zoom - 0.5
        self.scene.selected = self.scene.nearest(at_y, at_x, reach)

    def _key(self, event: Any) -> None:
        name = event.key.name if event.key is not None else ""
        if event.text == "?" or name.upper() == "H":
            self.overlay.switch_key_map(not self.overlay.visibility.keys)
        elif name == "Escape":
            self.overlay.switch_key_map(False)
        elif name == "Space":
            self.player.playing = not self.player.playing
        elif name in ("Left", "Right", "Home", "End"):
            self._scrub(name)
        elif name == "F":
            self.overlay.set_view(self.scene)
        elif name == "C":
            self.scene.lock_levels = not self.scene.lock_levels
        elif name == "S":
            self._screenshot()
        elif name:
            self.overlay.toggle(name.lower())

    def _scrub(self, name: str) -> None:
        if isinstance(self.player, LivePlayer):
            return
        last = len(self.player) - 1
        here = self.player.at
        self.player.playing = False
        self.player.go({"Left": here - 1, "Right": here + 1, "Home": 0, "End": last}[name])
        self._moved = True

    def _screenshot(self) -> None:
        from livespt.tools.overlay.picture import write_png

        path = self._folder / f"{self.scene.start.run}-{self.scene.frame:06d}.png"
        write_png(path, self.overlay.picture())
        self._say(f"screenshot: {path}")


def show(player: Player | LivePlayer, say: Callable[[str], None] = print) -> None:
    """Show a player in a window until it is closed."""
    if isinstance(player, Player):
        select(player.scene)
    window = Window(player, say=say)
    try:
        window.run()
    finally:
        player.close()
