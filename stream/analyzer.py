"""The analyzer: one pure step from a frame to what it means.

    localize -> link -> infer -> decide

No clock, thread, file or socket: the same frames give the same bytes, live or replayed. `localize`
and `infer` are passed in, so nothing here knows a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from livespt.stream import degradation, frame_quality
from livespt.stream.decisions import Decisions
from livespt.stream.errors import SettingError
from livespt.stream.link.lineage import Kin, Lineage
from livespt.stream.link.linker import Linker
from livespt.stream.link.relinker import Linked, Moves
from livespt.stream.sample.advice import KINDS as KINDS_OF_ADVICE, Notice
from livespt.stream.sample.known import NOTHING_KNOWN, Known
from livespt.stream.sample.sample import Sample
from livespt.stream.settings import Settings
from livespt.stream.states import Settled, States
from livespt.stream.types import EVENT, KINDS, SPOT, STATE, Frame, Infer, Localize, Update, joined


@dataclass
class _Lane:
    """One channel at one position: particles of different lanes never meet."""

    linker: Linker
    lineage: Lineage | None
    states: States
    decisions: Decisions
    sample: Sample
    born: NDArray[np.int64]  # by slot: number of the event of its track's birth

    def note_births(self, slots: NDArray[np.int32], events: NDArray[np.void]) -> None:
        """Keep the numbers of the events of the births of the tracks in `slots` (n,)."""
        more = int(slots.max(initial=-1)) + 1 - len(self.born)
        if more > 0:
            grown = np.full(max(more, len(self.born)), -1, np.int64)
            self.born = np.concatenate([self.born, grown])
        self.born[slots] = events["seq"][events["kind"] == KINDS.index("born")]

    def decide(self, settled: Settled, frame: int) -> NDArray[np.void]:
        """Events (EVENT) of settled rows; no uncoating of tracks that nobody has learned of."""
        if self.states.abstains:
            rows = settled.rows.copy()
            rows["p_uncoated"] = np.nan
            settled = settled._replace(rows=rows)
        return self.decisions(settled, frame)


class Analyzer:
    """Call it with each frame in turn; `finish` once at the end.

    Parameters
    ----------
    localize : callable
        Image (y, x) or (z, y, x) to SPOT rows.
    infer : callable
        Called for each channel and position: what follows the tracks there and reads them.
    settings : Settings
    known : Known
        What is known of models and frames, by which the sample is judged. It may be completed until
        the first frame.
    """

    CONSTANTS = ("localize", "infer", "settings", "known")

    def __init__(
        self, localize: Localize, infer: Infer, settings: Settings, known: Known = NOTHING_KNOWN
    ) -> None:
        if settings.refine and settings.refine >= settings.lag:
            raise SettingError(
                f"refine is {settings.refine} frames, but states are settled after {settings.lag}: "
                "give less"
            )
        self.localize = localize
        self.infer = infer
        self.settings = settings
        self.known = known
        self._told = dict.fromkeys(KINDS_OF_ADVICE, False)
        self._lanes: dict[tuple[int, int], _Lane] = {}
        self._next_track = 0
        self._next_event = 0
        self._number = -1  # exposures count from 0
        self._last: Frame | None = None

    def __call__(self, frame: Frame) -> Update:
        """Analyze one frame, which it does not refuse."""
        found = frame_quality.inspect_frame(frame, self._last.time_s if self._last else -math.inf)
        lane = self._lane(frame.channel, frame.position, frame.image.ndim)
        lost = frame.number - self._number - 1
        self._number, self._last = frame.number, frame._replace(image=frame.image[:0])

        spots = self.localize(frame.image)
        spots["frame"] = frame.t
        spots["channel"], spots["position"] = frame.channel, frame.position
        points = _points(spots)

        linked = self._link(lane, frame, points, spots)
        spots["track"] = linked.track

        lane.states.abstains = lane.sample.is_unlike
        overdue = lane.states.settle_overdue(frame.t)
        gone = lane.states.windows.last_point(linked.lost_slot)
        gone_at = lane.states.windows.last_frame(linked.lost_slot)
        lived = lane.states.windows.count[linked.lost_slot]
        ended = lane.states.close(linked.lost_slot, frame.t)
        events = [lane.decide(overdue, frame.t), lane.decide(ended, frame.t)]
        lane.decisions.clear(linked.lost_slot)
        events.append(_events("lost", frame, linked.lost, gone_at, gone))
        for moves in linked.moves:
            events += self._relink(lane, frame, moves)

        intensity = spots["intensity"].astype(np.float64) if self.settings.read_intensity else None
        lane.sample.add(frame.t, linked.slot, points, lived, lane.states.windows)
        now, due = lane.states.step(
            frame.t, linked.slot, linked.track, points, intensity, lane.sample.shift()
        )
        new = np.isin(linked.track, linked.born)
        events.append(
            _events("born", frame, linked.track[new], np.full(new.sum(), frame.t), points[new])
        )
        events.append(lane.decide(due, frame.t))
        events += self._kin(lane, frame, linked, points, spots)
        if frame.level >= 2 and frame.number % degradation.STATE_EVERY:
            now = now[:0]  # left out; these points are settled like all others
        states = [now, overdue.rows, ended.rows, due.rows]
        seen = lane.sample.judged(spots, frame.image, lane.states.windows)
        update = self._update(frame, lost, spots, states, events, linked.degraded)._replace(
            level=frame.level,
            quality=found,
            drift=lane.sample.offset,
            notices=self._news((frame.channel, frame.position), seen),
        )
        new_slots = [*(moves.new for moves in linked.moves), linked.slot[new]]
        lane.note_births(np.concatenate(new_slots), update.events)
        return update

    def refuses(self, frame: Frame) -> str:
        """Why this frame cannot be analyzed after those before it; empty: it can.

        Exposures come in the order of their numbers, and those of one channel and position in the
        order of their time points: a track has one place at a time.
        """
        if frame.number <= self._number:
            return f"its number {frame.number} does not follow {self._number}"
        lane = self._lanes.get((frame.channel, frame.position))
        last = lane.linker.frame if lane else None
        if last is not None and frame.t <= last:
            return f"its time point {frame.t} does not follow {last}"
        return ""

    def finish(self) -> Update | None:
        """Settle what is left; None if no frame was analyzed."""
        if self._last is None:
            return None
        states, events = [], []
        notices: tuple[Notice, ...] = ()
        for place, lane in self._lanes.items():
            notices += self._news(place, lane.sample.conclusion(lane.states.windows))
            lane.states.abstains = lane.sample.is_unlike
            settled = lane.states.finish(self._last.t)
            states.append(settled.rows)
            events.append(lane.decide(settled, self._last.t))
        update = self._update(self._last, 0, np.zeros(0, SPOT), states, events)
        return update._replace(notices=notices)

    def _lane(self, channel: int, position: int, ndim: int) -> _Lane:
        key = (channel, position)
        if key not in self._lanes:
            s = self.settings
            states = States(
                self.infer(),
                lag=s.lag,
                abstain_below=s.abstain_below,
                z_scale=s.z_scale,
                channel=channel,
                position=position,
                refine=s.refine,
            )
            linker = Linker(
                s.search_range,
                memory=s.memory,
                ndim=ndim,
                motion=s.motion,
                intensity_weight=s.intensity_weight,
                refine=s.refine,
            )
            lineage = Lineage(s.search_range, s.memory, refine=s.refine) if s.lineage else None
            births, sample = np.empty(0, np.int64), Sample(self.known, s)
            self._lanes[key] = _Lane(linker, lineage, states, Decisions(s.rule), sample, births)
        return self._lanes[key]

    def _link(
        self, lane: _Lane, frame: Frame, points: NDArray[np.float64], spots: NDArray[np.void]
    ) -> Linked:
        """Link in this lane with ids that no other lane has used."""
        linker, scale = lane.linker, (self.settings.z_scale, 1.0, 1.0)
        precision = np.stack([spots["dz"], spots["dy"], spots["dx"]], axis=1) * scale
        linker.next_id = self._next_track
        linked = linker.link(
            frame.t,
            (points * scale)[:, 3 - linker.ndim :],
            time_s=frame.time_s if frame.clock and np.isfinite(frame.time_s) else None,
            precision=precision[:, 3 - linker.ndim :],
            intensity=spots["intensity"],
        )
        self._next_track = linker.next_id
        return linked

    def _relink(self, lane: _Lane, frame: Frame, moves: Moves) -> list[NDArray[np.void]]:
        """Move the last points between tracks as the relinker decides; return the events of it.

        The rest of a track that is cut in two is born as a new track; a track without points is
        lost. No state of a moved point has settled yet, so decisions are not affected.
        """
        for keeper in (lane.states, lane.lineage):
            if keeper is not None:
                keeper.exchange(moves.frame, moves.slot, moves.to, moves.other)
        at = np.full(len(moves.slot), moves.frame)
        points = moves.point / (self.settings.z_scale, 1.0, 1.0)
        relinked = _events("relinked", frame, moves.track, at, points)
        relinked["other"] = moves.other
        gone = np.isin(moves.slot, moves.empty)
        relinked["amends"][gone] = lane.born[moves.slot[gone]]
        first = [int(np.flatnonzero(moves.to == slot)[0]) for slot in moves.new]
        return [
            _events("born", frame, moves.other[first], at[first], points[first]),
            relinked,
            _events("lost", frame, moves.track[gone], at[gone], points[gone]),
        ]

    def _kin(
        self,
        lane: _Lane,
        frame: Frame,
        linked: Linked,
        points: NDArray[np.float64],
        spots: NDArray[np.void],
    ) -> list[NDArray[np.void]]:
        """Events of tracks that merged or split."""
        if lane.lineage is None:
            return []
        scale = np.array([self.settings.z_scale, 1.0, 1.0])
        intensity = spots["intensity"].astype(np.float64)
        kinds = ("merged", "split")
        found = lane.lineage(frame.t, linked, points * scale, intensity)
        return [
            _kin_events(kind, frame, kin, scale) for kind, kin in zip(kinds, found, strict=True)
        ]

    def _news(self, place: tuple[int, int], found: list[Notice]) -> tuple[Notice, ...]:
        """Of notices on the sample of a lane, those that were not given before."""
        news = []
        where = "channel {}, position {}: ".format(*place) if len(self._lanes) > 1 else ""
        for kind, text in found:
            if not self._told[kind]:
                self._told[kind] = True
                news.append((kind, where + text))
        return tuple(news)

    def _update(
        self,
        frame: Frame,
        lost: int,
        spots: NDArray[np.void],
        states: list[NDArray[np.void]],
        events: list[NDArray[np.void]],
        degraded: int = 0,
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
            degraded=degraded,
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


def _kin_events(kind: str, frame: Frame, kin: Kin, scale: NDArray[np.float64]) -> NDArray[np.void]:
    events = _events(kind, frame, kin.track, kin.frame, kin.point / scale)
    events["other"] = kin.other
    events["probability"] = kin.probability
    return events
