"""Linker: the points of one frame after another become tracks with stable ids.

Frame by frame the links with the least total cost are made. Without a motion model a link costs its
squared distance, and a track without a link costs the squared search range (Crocker and Grier,
J. Colloid Interface Sci. 179, 298 (1996), as in trackpy). How they are found is `assign`'s.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livespt.stream.errors import InputError, SettingError
from livespt.stream.link import link_frame, motion_model, track_columns as c
from livespt.stream.link.frame_clock import FrameClock
from livespt.stream.link.parameters import check_parameters
from livespt.stream.link.population import start_population
from livespt.stream.link.relinker import Cut, Linked, Moves, Relinker
from livespt.stream.link.slots import TrackSlots
from livespt.stream.settings import MOTION_MODELS

_MAGIC = b"livelnk4"
_NO_SDS, _NO_LIGHT = np.empty((0, 2)), np.empty(0)
# magic; search range, intensity weight, clock, time and interval in seconds; twelve integers
_HEAD = struct.Struct("<8s5d12q")
_MOST = 1 << 24  # slots of a snapshot: 16 million tracks at once


class Linker:
    """Link points frame by frame; the whole state is in `snapshot()`.

    Parameters
    ----------
    search_range
        Largest distance of a link, px; a distance equal to it links.
    memory
        Frames that a track may be missing and still keep its id. It is looked for where it was last
        seen or is expected. A jump of g in the frame number counts as g - 1 frames without points.
    refine
        Frames after which links are judged once more (see `refine`); 0: never. Needs a motion
        model. Tracks are given up so much later.
    ndim
        2 (y, x) or 3 (z, y, x; z scaled to pixels by the caller).
    first_id
        Id of the first track; ids count up from it and are never reused.
    capacity
        Slots to begin with; `capacity` doubles when more tracks live at once.

    Raises
    ------
    SettingError
        A parameter out of its range.
    """

    CONSTANTS = (
        "search_range",
        "memory",
        "ndim",
        "motion",
        "intensity_weight",
        "refine",
        "_linger",
    )

    def __init__(
        self,
        search_range: float,
        memory: int = 0,
        ndim: int = 2,
        first_id: int = 0,
        capacity: int = 1024,
        *,
        motion: str = "none",
        intensity_weight: float = 0.0,
        refine: int = 0,
    ) -> None:
        check_parameters(
            search_range, memory, ndim,
            motion=motion, intensity_weight=intensity_weight, refine=refine,
        )  # fmt: skip
        if first_id < 0 or capacity < 1:
            raise SettingError(f"first_id {first_id}, capacity {capacity}: give 0 and 1, or more")
        self.search_range = float(search_range)
        self.memory = int(memory)
        self.ndim = int(ndim)
        self.motion = motion
        self._model = MOTION_MODELS.index(motion)
        self.intensity_weight = float(intensity_weight)
        self.refine = int(refine)
        self.next_id = int(first_id)
        self.frame: int | None = None  # the last one linked
        self._refiner: Relinker | None = None
        if refine:
            self._refiner = Relinker(
                refine, memory, ndim, self._model, self.search_range, self.intensity_weight
            )
        # frames beyond `memory` for which a track is kept: later judgement may find it
        self._linger = self._refiner.linger if self._refiner else 0
        self._slots = TrackSlots(capacity)
        # living tracks: those seen in the last frame in the order of its points, then the gaps
        self._id = np.empty(0, np.int64)
        self._slot = np.empty(0, np.int32)
        self._last = np.empty(0, np.int64)  # frame each was last seen in
        self._at = np.empty((0, 3))  # z, y, x there
        # motion models: a row for each living track, and sums over all tracks
        self._state = np.empty((0, c.TRACK_WIDTH))
        self._common = start_population(search_range)
        self._clock = FrameClock()

    @property
    def capacity(self) -> int:
        """Rows that a table indexed by slot needs; it grows by doubling."""
        return len(self._slots.free)

    @property
    def living(self) -> int:
        """Tracks that can still be continued, gaps included."""
        return len(self._id)

    @property
    def slots(self) -> int:
        """Slots ever handed out: those of living tracks, and free ones."""
        return self._slots.used

    def link(
        self,
        frame: int,
        points: ArrayLike,
        *,
        time_s: float | None = None,
        precision: ArrayLike | None = None,
        intensity: ArrayLike | None = None,
    ) -> Linked:
        """Continue, start and give up tracks with the points of one frame.

        Parameters
        ----------
        frame
            Frame number, greater than that of the call before.
        points
            (n, ndim) coordinates, px; n may be 0.

        Raises
        ------
        InputError
            A frame number that does not increase, points of another shape, a coordinate that is
            not finite. The state is then as it was.
        """
        array = np.asarray(points, np.float64)
        array = array.reshape(0, self.ndim) if array.size == 0 else array
        if array.ndim != 2 or array.shape[1] != self.ndim:
            raise InputError(f"points have shape {array.shape}; give (n, {self.ndim})")
        if self.frame is not None and frame <= self.frame:
            raise InputError(f"frame {frame} came after frame {self.frame}; frames must increase")
        at = np.zeros((len(array), 3))
        at[:, 3 - self.ndim :] = array
        bad = link_frame.first_bad(at)
        if bad >= 0:
            row = ", ".join(f"{value:g}" for value in array[bad])
            raise InputError(f"frame {frame}: point {bad} is at ({row}); remove it or give numbers")
        self._slots.reserve(self._slots.used + len(at))
        frame = int(frame)
        kept, slots = self.memory + self._linger, self._slots
        if self.motion == "none":
            followed, degraded = link_frame.plain(
                at, frame,
                self._id, self._slot, self._last, self._at,
                slots.free, slots.n_free, slots.used, self.next_id,
                self.memory, kept, self.search_range,
            )  # fmt: skip
        else:
            noise, light = self._measured(len(at), precision, intensity)
            clock = self._clock.tick(frame, self.frame, time_s)
            weight = self.intensity_weight if intensity is not None else 0.0
            followed, degraded, self._state = link_frame.moving(
                at, noise, light, frame, clock,
                self._id, self._slot, self._last, self._at, self._state,
                slots.free, slots.n_free, slots.used, self.next_id,
                self._common, self._model, self.ndim, self.memory, kept, self.search_range, weight,
            )  # fmt: skip
        track, slot, born, lost, lost_slot = followed[:5]
        self._id, self._slot, self._last, self._at = followed[5:]
        reused = min(len(born), self._slots.n_free)
        self._slots.used += len(born) - reused
        self._slots.n_free += len(lost) - reused
        self.next_id += len(born)
        self.frame = frame
        if self._refiner is None:
            return Linked(track, slot, born, lost, lost_slot, degraded)
        n, points, self._slots.n_lost = len(at), (at, noise, light), len(lost)
        self._refiner.take(frame, clock, slot, lost_slot, points, self._state[:n])
        moves = self._exchange(self._refiner, self._refiner.judge(self._common, self._slots.spare))
        slot = self._refiner.last_slots(n)
        track = self._ids()[slot]
        return Linked(track, slot, born, lost, lost_slot, degraded, moves)

    def finish(self) -> tuple[Moves, ...]:
        """Judge the links of the last frames, too; call it once, at the end."""
        if self._refiner is None:
            return ()
        cuts = self._refiner.judge(self._common, self._slots.spare, all_left=True)
        return self._exchange(self._refiner, cuts)

    def _ids(self) -> NDArray[np.int64]:
        """Id of the track in each slot (capacity,), -1: none."""
        ids = np.full(self.capacity, -1, np.int64)
        ids[self._slot] = self._id
        return ids

    def _enter(self, slots: NDArray[np.int32]) -> None:
        """Add new tracks in `slots`, with empty rows."""
        n = len(slots)
        self._id = np.concatenate([self._id, self.next_id + np.arange(n)])
        self._slot = np.concatenate([self._slot, slots])
        self._last = np.concatenate([self._last, np.zeros(n, np.int64)])
        self._at = np.concatenate([self._at, np.zeros((n, 3))])
        self._state = np.concatenate([self._state, np.zeros((n, c.TRACK_WIDTH))])
        self.next_id += n

    def _exchange(self, refiner: Relinker, cuts: list[Cut]) -> tuple[Moves, ...]:
        """Give tails of tracks to other tracks, as was judged."""
        moves = []
        for cut in cuts:
            self._enter(cut.new)
            ids, row = self._ids(), np.full(self.capacity, -1, np.int64)
            row[self._slot] = np.arange(len(self._slot))
            moves.append(Moves(*cut, ids[cut.slot], ids[cut.to]))
            slots = np.setdiff1d(np.concatenate([cut.slot, cut.to]), cut.empty)
            at = row[slots]
            self._last[at], self._at[at], self._state[at] = refiner.newest(slots)
            for name in ("_id", "_slot", "_last", "_at", "_state"):
                setattr(self, name, np.delete(getattr(self, name), row[cut.empty], axis=0))
            self._slots.give_back(cut.empty)
        return tuple(moves)

    def _measured(
        self, n: int, precision: ArrayLike | None, intensity: ArrayLike | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Variances of the localizations (n, 2), lateral and axial; logarithms of intensities."""
        sds, bright = _NO_SDS, _NO_LIGHT
        if precision is not None:
            sds = np.array(precision, np.float64, order="C").reshape(n, self.ndim)
        if intensity is not None:
            bright = np.array(intensity, np.float64).reshape(n)
        noise, light = link_frame.measured(
            n, sds, bright, (0.04 * self.search_range) ** 2, self.search_range**2
        )
        return noise, light

    def snapshot(self) -> bytes:
        """Return the whole state; equal states give equal bytes on any machine."""
        frame = (1, self.frame) if self.frame is not None else (0, 0)
        body = b"".join(
            (
                _HEAD.pack(
                    _MAGIC, self.search_range, self.intensity_weight,
                    self._clock.now, self._clock.time_s, self._clock.interval_s,
                    self._model, self.memory, self.refine, self.ndim,
                    self.capacity, self.next_id, *frame,
                    self._slots.used, self._slots.n_free, self._slots.n_lost,
                    len(self._id),
                ),
                self._slots.free[: self._slots.n_free].astype("<i4").tobytes(),
                self._id.astype("<i8").tobytes(),
                self._slot.astype("<i4").tobytes(),
                self._last.astype("<i8").tobytes(),
                self._at.astype("<f8").tobytes(),
                *self._models(),
            )
        )  # fmt: skip
        return body + struct.pack("<I", zlib.crc32(body))

    def _models(self) -> tuple[bytes, ...]:
        if self.motion == "none":
            return ()
        points = self._refiner.snapshot() if self._refiner else b""
        return self._common.astype("<f8").tobytes(), self._state.astype("<f8").tobytes(), points

    @classmethod
    def restore(cls, data: bytes) -> Linker:
        """Return the linker that made `data`; it goes on as if it had never stopped.

        Raises
        ------
        InputError
            Bytes that are not a whole snapshot.
        """
        body = data[:-4]
        if data[:8] != _MAGIC or struct.pack("<I", zlib.crc32(body)) != data[-4:]:
            raise InputError("these bytes are not a linker's snapshot, or are damaged")
        try:
            return cls._read(body)
        except (struct.error, ValueError, IndexError, OverflowError) as error:
            raise InputError("a linker's snapshot contradicts itself: leave it") from error

    @classmethod
    def _read(cls, body: bytes) -> Linker:
        _, reach, weight, clock, time_s, interval_s, *rest = _HEAD.unpack_from(body)
        model, memory, refine, ndim, capacity, next_id, seen, frame, slots, *counts = rest
        n_free, n_lost, n = counts
        if not (0 <= model and slots <= capacity <= _MOST and min(counts) >= 0):
            raise ValueError
        how = {"motion": MOTION_MODELS[model], "intensity_weight": weight, "refine": refine}
        linker = cls(reach, memory, ndim, next_id, capacity, **how)
        linker.frame = frame if seen else None
        linker._clock.now, linker._clock.time_s, linker._clock.interval_s = (
            clock,
            time_s,
            interval_s,
        )
        linker._slots.used, linker._slots.n_free, linker._slots.n_lost = slots, n_free, n_lost
        arrays, at = [], _HEAD.size
        parts = [(n_free, "<i4"), (n, "<i8"), (n, "<i4"), (n, "<i8"), (3 * n, "<f8")]
        if model:
            parts += [(c.POPULATION_WIDTH, "<f8"), (n * c.TRACK_WIDTH, "<f8")]
        for count, code in parts:
            values = np.frombuffer(body, code, count, at)
            arrays.append(values.astype(values.dtype.newbyteorder("=")))
            at += values.nbytes
        linker._slots.free[:n_free] = arrays[0]
        linker._id, linker._slot, linker._last = arrays[1:4]
        linker._at = arrays[4].reshape(n, 3)
        if model:
            linker._common = arrays[5]
            linker._state = arrays[6].reshape(n, c.TRACK_WIDTH)
        if linker._refiner is not None:
            linker._refiner.restore(body[at:], slots)
        elif at != len(body):
            raise ValueError
        linker._check()
        return linker

    def _check(self) -> None:
        """Refuse tables such as linking never makes, because compiled loops trust them."""
        slots = np.sort(np.concatenate([self._slot, self._slots.free[: self._slots.n_free]]))
        ids, missed = np.unique(self._id), (self.frame or 0) - self._last
        if not (
            np.array_equal(slots, np.arange(self._slots.used))
            and self._slots.n_lost <= self._slots.n_free
            and len(ids) == len(self._id)
            and ((ids >= 0) & (ids < self.next_id)).all()
            and ((missed >= 0) & (missed <= self.memory + self._linger)).all()
            and np.isfinite(self._at).all()
            and motion_model.sound(self._state, self._common)
        ):
            raise ValueError
