"""The player: advances a scene frame by frame, from a stored or a published run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError
from livespt.stream.link.corrections import corrected
from livespt.stream.store.run import RunReader, open_run
from livespt.stream.types import Frame, Timings, Update
from livespt.stream.wire.subscriber import Subscriber
from livespt.tools.overlay.scene import FLASH_FRAMES, TAIL, UNCOATING, Scene

MAX_WAITING = 64  # updates that wait for an image
FLASH_PEAK_FRAMES = 8  # after its beginning, when a flash is clearest


class Player:
    """Moves through a stored run, with its settled states and final events.

    Parameters
    ----------
    run : RunReader
    tail : int
        Length of a tail, frames.
    clock : callable
        Returns the time in seconds, for playing at the speed of the movie.

    Raises
    ------
    InputError
        No frame has been analyzed.
    """

    def __init__(
        self, run: RunReader, *, tail: int = TAIL, clock: Callable[[], float] = time.monotonic
    ) -> None:
        frames = run.frames
        if not frames["analyzed"].any():
            raise InputError(f"'{run.path}' holds no analyzed frame yet: nothing to draw")
        first = frames[np.flatnonzero(frames["analyzed"])[0]]
        self.run, self._clock = run, clock
        self.scene = Scene(
            run.start, tail=tail, channel=int(first["channel"]), position=int(first["position"])
        )
        self._rows = np.flatnonzero(_here(frames, first) & (frames["analyzed"] > 0))
        self._frames = frames[self._rows]
        # exposures before each that were not analyzed, as a live run publishes them
        analyzed = frames["analyzed"] > 0
        missed = np.zeros(len(frames), np.int64)
        missed[analyzed] = np.diff(frames["number"][analyzed], prepend=-1) - 1
        self._missed = missed[self._rows]
        spots, states = (corrected(rows, run.events) for rows in (run.spots, run.states))
        self._spots = _by_frame(spots[_here(spots, first)])
        states = states[_here(states, first)]
        self._states = states[np.lexsort((1 - states["settled"].astype(int), states["frame"]))]
        events = run.events[_here(run.events, first)]
        self._events = _by_frame(events[~np.isin(events["seq"], events["amends"])])
        self.playing, self.live = False, False
        self.at, self._due = -1, 0.0
        self.go(0)

    def __len__(self) -> int:
        return len(self._frames)

    def go(self, at: int) -> None:
        """Move to drawable frame `at`, counted from 0; beyond an end, move to this end."""
        at = min(max(at, 0), len(self) - 1)
        if at == self.at:
            return
        if at == self.at + 1 and at:
            self.scene.add(self._update(at), self._image(at))
        else:
            begin = max(at - self.scene.tail, 0)
            before = int(self._frames["frame"][begin])
            self.scene.clear()
            self.scene.begin(
                self._states[: np.searchsorted(self._states["frame"], before)],
                self._events[: np.searchsorted(self._events["frame"], before)],
                int(self._missed[:begin].sum()),
                int(self._frames["degraded"][:begin].sum()),
            )
            updates = [self._update(i) for i in range(begin, at + 1)]
            self.scene.add_all(updates, self._image(at))
        self.at = at

    def go_to_frame(self, frame: int) -> None:
        """Move to a time point.

        Raises
        ------
        InputError
            It was not analyzed, or does not exist.
        """
        at = int(np.searchsorted(self._frames["frame"], frame))
        if at == len(self) or self._frames["frame"][at] != frame:
            first, last = self._frames["frame"][[0, -1]]
            raise InputError(
                f"frame {frame} of '{self.run.path}' was not analyzed: choose one "
                f"from {first} to {last}"
            )
        self.go(at)

    def most_uncoatings(self) -> int:
        """Return the position in this player of the frame with most uncoatings."""
        score = np.zeros(len(self) + 2 * FLASH_FRAMES[UNCOATING])
        age = np.arange(FLASH_FRAMES[UNCOATING])
        shape = 1 - np.abs(age - FLASH_PEAK_FRAMES) / FLASH_FRAMES[UNCOATING]
        for frame in self._events["frame"][self._events["kind"] == UNCOATING]:
            at = int(np.searchsorted(self._frames["frame"], frame))
            score[at : at + len(age)] += shape
        score = score[: len(self)]
        return len(self) - 1 - int(score[::-1].argmax()) if score.any() else len(self) - 1

    def step(self) -> bool:
        """Advance by a frame if it is due; return whether the scene changed."""
        now = self._clock()
        if not self.playing or now < self._due:
            return False
        if self.at == len(self) - 1:
            self.playing = False
            return False
        self._due = now + (self.run.start.frame_interval_s or 0.05)
        self.go(self.at + 1)
        return True

    def close(self) -> None:
        """Do nothing: a stored run is not kept open."""

    def _update(self, at: int) -> Update:
        row = self._frames[at]
        t = int(row["frame"])
        return Update(
            number=int(row["number"]),
            t=t,
            channel=int(row["channel"]),
            position=int(row["position"]),
            time_s=float(row["time_s"]),
            lost=int(self._missed[at]),
            spots=_at(self._spots, t),
            states=_at(self._states, t),
            events=_at(self._events, t),
            timings=Timings(latency_ms=float(row["latency_ms"])),
            degraded=int(row["degraded"]),
        )

    def _image(self, at: int) -> NDArray[np.generic] | None:
        return self.run.frame(int(self._rows[at])).image if self.run.has_movie else None


class LivePlayer:
    """Follows a published run; shows an update together with its image.

    Parameters
    ----------
    endpoint : str
        Endpoint of the publisher, `tcp://HOST:PORT`.
    tail : int
        Length of a tail, frames.
    connect_s : float
        Time to wait for the publisher.
    key : Path, optional
        Key file of this subscriber, if the publisher requires one.
    """

    def __init__(
        self, endpoint: str, *, tail: int = TAIL, connect_s: float = 10.0, key: Path | None = None
    ) -> None:
        topics = ("update", "image")
        self._subscriber = Subscriber(endpoint, topics=topics, connect_s=connect_s, key=key)
        self.scene = Scene(self._subscriber.start, tail=tail)
        self.playing, self.live = True, True
        self._waiting: deque[Update] = deque(maxlen=4 * MAX_WAITING)
        self._image: Frame | None = None

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self._subscriber.ended

    def step(self) -> bool:
        """Receive messages; return whether the scene changed. It does not change while paused."""
        for frame in self._subscriber.images(0):
            if (frame.channel, frame.position) == (self.scene.channel, self.scene.position):
                self._image = frame
        self._waiting.extend(self._subscriber.updates(0))
        if not self.playing:
            return False
        before = self.scene.frame
        until = self._image.t if self._image is not None else -1
        while self._waiting and (self._waiting[0].t <= until or len(self._waiting) > MAX_WAITING):
            update = self._waiting.popleft()
            mine = self._image is not None and update.t == until
            self.scene.add(update, self._image.image if self._image and mine else None)
        return self.scene.frame != before

    def close(self) -> None:
        """Close the subscription."""
        self._subscriber.close()


def play(path: Path | str, *, tail: int = TAIL) -> Player:
    """Open a stored run to be drawn."""
    return Player(open_run(path), tail=tail)


def scene_at(run: RunReader, frame: int | None = None, *, tail: int = TAIL) -> Scene:
    """Scene of a stored run at a frame (default: with most uncoatings), with a selected track."""
    player = Player(run, tail=tail)
    if frame is None:
        player.go(player.most_uncoatings())
    else:
        player.go_to_frame(frame)
    select(player.scene)
    return player.scene


def select(scene: Scene) -> None:
    """Select the first track that has just uncoated, or the one that most probably has."""
    seen = scene.heads["track"]
    flashes = scene.flashes[(scene.flashes["kind"] == UNCOATING)]
    flashes = flashes[np.isin(flashes["track"], seen)]
    if len(flashes):
        scene.selected = int(flashes["track"][flashes["born"].argmin()])
    elif len(seen):
        scene.selected = int(seen[scene.heads["p"].argmax()])


def _here(rows: NDArray[np.void], like: np.void) -> NDArray[np.bool_]:
    here: NDArray[np.bool_] = rows["channel"] == like["channel"]
    here &= rows["position"] == like["position"]
    return here


def _by_frame(rows: NDArray[np.void]) -> NDArray[np.void]:
    return rows[np.argsort(rows["frame"], kind="stable")]


def _at(rows: NDArray[np.void], frame: int) -> NDArray[np.void]:
    first, last = np.searchsorted(rows["frame"], (frame, frame + 1))
    return rows[first:last]
