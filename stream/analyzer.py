"""The analyzer: one pure step from a frame to what it means.

    localize -> link -> window -> infer -> decide

No clock, thread, file or socket: the same frames give the same bytes, live or replayed. `localize`
and `infer` are passed in, so nothing here knows a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livespt.stream.decide import DEFAULT_RULE, Decisions, Rule
from livespt.stream.link import Linked, Linker
from livespt.stream.states import Infer, Settled, States
from livespt.stream.types import EVENT, KINDS, SPOT, STATE, Frame, Update, joined

Localize = Callable[[NDArray[np.generic]], NDArray[np.void]]  # image -> SPOT (n,)


@dataclass(frozen=True)
class Settings:
    """What the analysis of a run is set to. Stored in `Start`, taken from there by a replay."""

    search_range: float = 5.0  # pixels a particle may move from frame to frame
    memory: int = 3  # frames a particle may be missed and keep its track
    window: int = 64  # points of a track the networks see
    lag: int = 16  # frames of look-ahead of a settled state
    abstain_below: float = 0.0
    rule: Rule = DEFAULT_RULE
    z_scale: float = 1.0  # z step in units of a pixel


@dataclass
class _Lane:
    """One channel at one position: particles of different lanes never meet."""

    linker: Linker
    states: States
    decisions: Decisions


class Analyzer:
    """Call it with each frame in turn; `finish` once at the end.

    Parameters
    ----------
    localize : callable
        Image (y, x) or (z, y, x) to SPOT rows.
    infer : callable
        Windows (n, N, 5) to probabilities (n, N, 5), see `stream.window`.
    settings : Settings
    """

    def __init__(self, localize: Localize, infer: Infer, settings: Settings) -> None:
        self.localize = localize
        self.infer = infer
        self.settings = settings
        self._lanes: dict[tuple[int, int], _Lane] = {}
        self._next_track = 0
        self._next_event = 0
        self._number = -1  # exposures count from 0
        self._last: Frame | None = None

    def __call__(self, frame: Frame) -> Update:
        """Analyze one frame; frames come in the order of their numbers."""
        lane = self._lane(frame.channel, frame.position)
        lost = frame.number - self._number - 1
        self._number, self._last = frame.number, frame._replace(image=frame.image[:0])

        spots = self.localize(frame.image)
        spots["frame"] = frame.t
        spots["channel"], spots["position"] = frame.channel, frame.position
        points = _points(spots)

        linked = self._link(lane, frame.t, points)
        spots["track"] = linked.track

        overdue = lane.states.settle_overdue(frame.t)
        gone = lane.states.windows.last_point(linked.lost_slot)
        gone_at = lane.states.windows.last_frame(linked.lost_slot)
        ended = lane.states.close(linked.lost_slot, frame.t)
        events = [lane.decisions(overdue, frame.t), lane.decisions(ended, frame.t)]
        lane.decisions.clear(linked.lost_slot)
        events.append(_events("lost", frame, linked.lost, gone_at, gone))

        now, due = lane.states.step(frame.t, linked.slot, linked.track, points)
        new = np.isin(linked.track, linked.born)
        events.append(
            _events("born", frame, linked.track[new], np.full(new.sum(), frame.t), points[new])
        )
        events.append(lane.decisions(due, frame.t))
        return self._update(frame, lost, spots, [now, overdue.rows, ended.rows, due.rows], events)

    def finish(self) -> Update | None:
        """Settle what is left; None if no frame was analyzed."""
        if self._last is None:
            return None
        states, events = [], []
        for lane in self._lanes.values():
            settled = lane.states.finish(self._last.t)
            states.append(settled.rows)
            events.append(lane.decisions(settled, self._last.t))
        return self._update(self._last, 0, np.zeros(0, SPOT), states, events)

    def _lane(self, channel: int, position: int) -> _Lane:
        key = (channel, position)
        if key not in self._lanes:
            s = self.settings
            states = States(
                self.infer,
                window=s.window,
                lag=s.lag,
                abstain_below=s.abstain_below,
                z_scale=s.z_scale,
                channel=channel,
                position=position,
            )
            linker = Linker(s.search_range, memory=s.memory, ndim=3)
            self._lanes[key] = _Lane(linker, states, Decisions(s.rule))
        return self._lanes[key]

    def _link(self, lane: _Lane, t: int, points: NDArray[np.float64]) -> Linked:
        """Link in this lane with ids that no other lane has used."""
        lane.linker.next_id = self._next_track
        linked = lane.linker.link(t, points * (self.settings.z_scale, 1.0, 1.0))
        self._next_track = lane.linker.next_id
        return linked

    def _update(
        self,
        frame: Frame,
        lost: int,
        spots: NDArray[np.void],
        states: list[NDArray[np.void]],
        events: list[NDArray[np.void]],
    ) -> Update:
        numbered = joined(EVENT, events)
        numbered["seq"] = np.arange(self._next_event, self._next_event + len(numbered))
        self._next_event += len(numbered)
        rows = joined(STATE, states)
        return Update(
            frame.number,
            frame.t,
            frame.channel,
            frame.position,
            frame.time_s,
            lost,
            spots,
            rows,
            numbered,
        )


def _points(spots: NDArray[np.void]) -> NDArray[np.float64]:
    """Positions (n, 3) z, y, x of spots, pixels."""
    return np.stack([spots["z"], spots["y"], spots["x"]], axis=1).astype(np.float64)


def _events(
    kind: str,
    frame: Frame,
    tracks: NDArray[np.int64],
    at: NDArray[np.int64],
    points: NDArray[np.float64],
) -> NDArray[np.void]:
    events = np.zeros(len(tracks), EVENT)
    events["kind"] = KINDS.index(kind)
    events["frame"] = at
    events["channel"], events["position"] = frame.channel, frame.position
    events["track"] = tracks
    events["other"] = events["amends"] = -1
    events["z"], events["y"], events["x"] = points.T
    events["probability"] = 1
    events["delay"] = frame.t - at
    return events


__all__ = ["Analyzer", "Infer", "Localize", "Settings", "Settled"]
