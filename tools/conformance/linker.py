"""What every linker must do: the points of one frame after another get ids of tracks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livespt.stream.errors import InputError
from livespt.tools.conformance.refusal import refusal

Points = NDArray[np.float64]
Ids = NDArray[np.int64]


class AnyLinked(Protocol):
    """What a frame did to the tracks."""

    @property
    def track(self) -> Ids:
        """Ids (n,) of the points, in their order."""

    @property
    def born(self) -> Ids:
        """Ids that start here."""

    @property
    def lost(self) -> Ids:
        """Ids that end here."""


class AnyLinker(Protocol):
    """Links points frame by frame, and can be stored and restored."""

    def link(self, frame: int, points: ArrayLike, /) -> AnyLinked:
        """Continue, start and give up tracks with the points (n, ndim) of a frame, pixels."""

    def snapshot(self) -> bytes:
        """Return the whole state."""

    @classmethod
    def restore(cls, data: bytes, /) -> Self:
        """Return the linker that made `data`."""


def walk(ndim: int = 2, n: int = 60, frames: int = 12, seed: int = 0) -> list[Points]:
    """Return the points (n, ndim) of frames, pixels: Brownian particles, some of them missed."""
    rng = np.random.default_rng((seed, ndim))
    points = rng.uniform(0, 25 * n ** (1 / ndim), (n, ndim))
    movie = []
    for _ in range(frames):
        movie.append(points[rng.random(n) < 0.9])
        points = points + rng.normal(0, 0.7, points.shape)
    return movie


def apart(ndim: int = 2, frames: int = 12) -> list[Points]:
    """Return the points (n, ndim) of frames, pixels: particles 40 pixels apart that move little."""
    rng = np.random.default_rng((1, ndim))
    points = 40.0 * np.stack(np.meshgrid(*[np.arange(3.0)] * ndim), -1).reshape(-1, ndim)
    return [points + rng.uniform(-0.2, 0.2, points.shape) for _ in range(frames)]


def same_tracks(one: Sequence[Ids], other: Sequence[Ids]) -> bool:
    """Whether two lists of ids, an array a frame, divide the points into the same tracks."""
    pairs = {*zip(np.concatenate(one).tolist(), np.concatenate(other).tolist(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


class LinkerTests(ABC):
    """Tests of a linker; inherit them, and override `made`.

    Examples
    --------
    >>> class TestMyLinker(LinkerTests):
    ...     def made(self, search_range, memory, ndim=2):
    ...         return MyLinker(search_range, memory, ndim)
    """

    @abstractmethod
    def made(self, search_range: float, memory: int, ndim: int = 2) -> AnyLinker:
        """Hook: make a linker that has seen nothing.

        Parameters
        ----------
        search_range : float
            Largest distance of a link, pixels.
        memory : int
            Frames that a track may be missing and still keep its id.
        ndim : int
            2 (y, x) or 3 (z, y, x).
        """

    def test_every_point_has_an_id_of_its_own(self) -> None:
        """Integers, one a point, none twice in a frame; those not seen before are `born`."""
        for ndim in (2, 3):
            linker, known = self.made(5.0, 1, ndim), set[int]()
            for frame, points in enumerate(walk(ndim)):
                linked = linker.link(frame, points)
                ids = linked.track.tolist()
                assert linked.track.dtype == np.int64 and len(ids) == len(points)
                assert len(set(ids)) == len(ids) and min(ids) >= 0
                assert set(linked.born.tolist()) == set(ids) - known
                known |= set(ids)

    def test_ids_are_never_used_again(self) -> None:
        """A lost track was there, is lost once and does not come back."""
        linker, known, lost = self.made(2.0, 1), set[int](), set[int]()
        movie = [*walk(), *[np.empty((0, 2))] * 10, *walk(seed=1)]
        for frame, points in enumerate(movie):
            linked = linker.link(frame, points)
            known |= set(linked.track.tolist())
            now = set(linked.lost.tolist())
            assert len(now) == len(linked.lost) and now <= known and not now & lost
            lost |= now
            assert not lost & set(linked.track.tolist())
        assert lost

    def test_particles_are_followed_until_they_are_gone(self) -> None:
        """Particles far apart that move little keep their ids, and are lost when they vanish."""
        for ndim in (2, 3):
            linker, movie = self.made(5.0, 1, ndim), apart(ndim)
            seen = [linker.link(frame, points).track.tolist() for frame, points in enumerate(movie)]
            assert seen == [seen[0]] * len(movie)
            gone = range(len(movie), len(movie) + 20)
            lost = [linker.link(frame, np.empty((0, ndim))).lost for frame in gone]
            assert sorted(np.concatenate(lost).tolist()) == sorted(seen[0])

    def test_the_order_of_points_does_not_matter(self) -> None:
        """The same points in another order give the same tracks; ids may be others."""
        rng = np.random.default_rng(2)
        plain, mixed = self.made(5.0, 2), self.made(5.0, 2)
        ours, theirs = list[Ids](), list[Ids]()
        for frame, points in enumerate(walk()):
            order = rng.permutation(len(points))
            ours.append(plain.link(frame, points).track[order])
            theirs.append(mixed.link(frame, points[order]).track)
        assert same_tracks(ours, theirs)

    def test_nothing_is_linked_beyond_the_range(self) -> None:
        """Steps of half the range are linked; a jump of three times the range is not."""
        linker = self.made(6.0, 0)
        movie = [points + np.array([3.0 * frame, 0.0]) for frame, points in enumerate(apart())]
        tracks = [linker.link(frame, points).track.tolist() for frame, points in enumerate(movie)]
        assert tracks == [tracks[0]] * len(movie)
        after = linker.link(len(movie), movie[-1] + np.array([18.0, 0.0])).track.tolist()
        assert not set(after) & set(tracks[0])

    def test_a_gap_is_bridged_as_long_as_memory_says(self) -> None:
        """As many frames without the particle as `memory`; frames left out count as such."""
        movie = apart()
        for memory in (0, 1, 3):
            for gap in range(memory + 2):
                for left_out in (False, True):
                    linker = self.made(5.0, memory)
                    for frame in range(6):
                        before = linker.link(frame, movie[frame]).track[0]
                    for frame in range(6, 6 if left_out else 6 + gap):
                        linker.link(frame, movie[frame][1:])
                    after = linker.link(6 + gap, movie[6 + gap]).track[0]
                    assert (before == after) == (gap <= memory), (memory, gap, left_out)

    def test_memory_starts_anew_whenever_a_particle_is_seen(self) -> None:
        """A particle that is seen in every other frame is followed with a memory of one."""
        linker, tracks = self.made(5.0, 1), set[int]()
        for frame, points in enumerate(apart()):
            seen = points if frame % 2 == 0 or frame < 4 else points[1:]
            tracks |= set(linker.link(frame, seen).track.tolist())
        assert len(tracks) == len(points)

    def test_frames_may_be_empty(self) -> None:
        """The first, all of them, and some between others, whatever the shape of no points."""
        linker = self.made(3.0, 1)
        some: list[Any] = [[], np.empty((0, 2)), [[1.0, 2.0]], [], [], []]
        for frame, points in enumerate(some):
            linked = linker.link(frame, points)
            assert len(linked.track) == len(points)

    def test_the_same_points_give_the_same_ids(self) -> None:
        """Nothing but the points decides: to the bit, in memory of any layout."""
        one, two = self.made(5.0, 2), self.made(5.0, 2)
        for frame, points in enumerate(walk()):
            ids = one.link(frame, points).track
            assert np.array_equal(ids, two.link(frame, np.asfortranarray(points)).track)
        assert one.snapshot() == two.snapshot()

    def test_points_stay_as_they_were(self) -> None:
        """A linker neither writes into what it is given nor remembers it by reference."""
        linker, twin = self.made(5.0, 1), self.made(5.0, 1)
        for frame, points in enumerate(walk()):
            given = points.copy()
            ids = linker.link(frame, given).track
            assert np.array_equal(given, points)
            given[:] = np.nan
            assert np.array_equal(ids, twin.link(frame, points).track)

    def test_a_restored_linker_goes_on(self) -> None:
        """At any frame, as if it had never stopped."""
        movie = walk(frames=8)
        for cut in (0, 1, 5):
            linker = self.made(5.0, 2)
            for frame, points in enumerate(movie[:cut]):
                linker.link(frame, points)
            again = type(linker).restore(linker.snapshot())
            for frame, points in enumerate(movie[cut:], cut):
                assert np.array_equal(
                    linker.link(frame, points).track, again.link(frame, points).track
                )
            assert linker.snapshot() == again.snapshot()

    def test_what_cannot_be_linked_is_refused(self) -> None:
        """In one line, and the tracks are as before."""
        refused: dict[str, tuple[int, Any]] = {
            "not a number": (5, [[1.0, 2.0], [3.0, np.nan]]),
            "infinite": (5, [[-np.inf, 2.0]]),
            "three coordinates": (5, [[1.0, 2.0, 3.0]]),
            "no rows": (5, [1.0, 2.0]),
            "the same frame again": (4, [[1.0, 2.0]]),
            "a frame of the past": (-2, [[1.0, 2.0]]),
        }
        linker = self.made(3.0, 1)
        linker.link(4, [[1.0, 1.0], [8.0, 8.0]])
        before = linker.snapshot()
        for name, (frame, points) in refused.items():
            refusal(InputError, partial(linker.link, frame, points))
            assert linker.snapshot() == before, name

    def test_a_damaged_snapshot_is_refused(self) -> None:
        """One that is cut short, longer, changed or not one at all."""
        linker = self.made(3.0, 1)
        linker.link(0, [[1.0, 1.0], [8.0, 8.0]])
        whole = linker.snapshot()
        flipped = whole[:30] + bytes([whole[30] ^ 1]) + whole[31:]
        for damaged in (b"", whole[:20], whole[:-1], whole + b"\0", flipped, b"x" + whole[1:]):
            refusal(InputError, partial(type(linker).restore, damaged))
