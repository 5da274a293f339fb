"""Checks of the linker, in addition to its quality: exactness, speed, restart, invalid input.

Each check returns rows to print. Links are compared with those of trackpy and with tables of
TrackMate. Speed is CPU time of one thread, measured for both linkers in alternation.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from livespt.models.simulate.crowds import scene
from livespt.stream.errors import InputError
from livespt.stream.link.linker import Linker
from livespt.stream.link.offline import link_points
from livespt.tools.evaluate.other_linkers import by_trackpy

Floats = NDArray[np.float64]
SEARCH_RANGE_PX = 4.0  # in random scenes; with much more, trackpy raises an exception
FRAMES_PER_TURN = 8  # timed at once, so that the caches are warm in most of them
REFINE = 4  # frames after which links are reconsidered
TIMED = ((100, 512.0), (1000, 512.0), (10_000, 2048.0))  # particles; side of the field, px


def walk(
    n: int, size: float, seed: int, *, frames: int, miss: float = 0.02, ndim: int = 2
) -> Iterator[Floats]:
    """Brownian particles with steps of 1 px; in each frame some are missed, and as many false."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, size, (n, ndim))
    for _ in range(frames):
        false = rng.uniform(0, size, (rng.binomial(n, miss), ndim))
        yield rng.permutation(np.concatenate([points[rng.random(n) >= miss], false]))
        points = np.abs(points + rng.normal(size=points.shape))
        points = np.where(points > size, 2 * size - points, points)


def movies() -> dict[str, tuple[list[Floats], float]]:
    """Scenes by name, with the search range for each."""
    found = {
        f"{n} particles": (list(walk(n, size, n, frames=frames)), SEARCH_RANGE_PX)
        for n, size, frames in ((10, 60, 60), (100, 200, 40), (500, 400, 20), (2000, 900, 8))
    }
    found["500 particles, volume"] = list(walk(500, 80, 3, frames=10, ndim=3)), SEARCH_RANGE_PX
    found["crowded"] = list(walk(300, 150, 5, frames=12)), SEARCH_RANGE_PX
    line = np.linspace(-10, 10, 41)
    found["crossing"] = [np.array([[s, s + 0.3], [s + 0.1, -s]]) for s in line], 2.0
    grid = np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2) * 10 - 40
    rng = np.random.default_rng(8)
    found["contracting grid"] = (
        [grid * 0.97**k + rng.normal(0, 0.3, grid.shape) for k in range(8)],
        4.5,
    )
    turns = ([[0.0, 0.0], [0.0, 3.0]], [[0.4, 1.7], [-0.3, 1.2]], [[0.0, 3.1], [0.0, 0.0]])
    found["exchange"] = [np.array(points) for points in turns], 2.5
    heaps = rng.uniform(0, 9, (8, 1, 2)) + 60 * np.arange(8)[:, None, None]
    found["dense subnets"] = (
        [(heaps + rng.uniform(-3, 3, (8, 7, 2))).reshape(-1, 2) for _ in range(6)],
        4.0,
    )
    found["a chain that shifts by one"] = (
        [np.array([[0.0, 2.0 * i + 0.7 * k + 0.01 * i * i] for i in range(20)]) for k in range(8)],
        2.5,
    )
    return found


def exactness(memories: tuple[int, ...] = (0, 2)) -> list[dict[str, Any]]:
    """Compare the links of every scene with those of trackpy."""
    rows = []
    for name, (movie, reach) in movies().items():
        frame = np.repeat(np.arange(len(movie)), [len(points) for points in movie])
        points = np.concatenate(movie)
        for memory in memories:
            mine = _links(link_points(frame, points, reach, memory))
            theirs = _links(by_trackpy(frame, points, reach, memory))
            rows.append(
                {"scene": name, "memory": memory, "links": len(theirs), "equal": mine == theirs}
            )
    return rows


def _links(track: NDArray[np.int64]) -> set[tuple[int, int]]:
    """Pairs of successive rows in a track; rows are sorted by frame."""
    order = np.argsort(track, kind="stable")
    same = np.diff(track[order]) == 0
    return set(zip(order[:-1][same].tolist(), order[1:][same].tolist(), strict=True))


def trackmate(folder: Path) -> list[dict[str, Any]]:
    """Compare links with the edges of Fiji TrackMate for the same spots.

    `folder` holds `trackmate_tracks_{without,with}_gap_closing_{spots,edges}.csv` from the tests of
    laptrack: spots linked within 15 px, and gaps of one frame closed within 15 px.
    """
    import pandas as pd

    rows = []
    for name, memory in (("without", 0), ("with", 1)):
        stem = folder / f"trackmate_tracks_{name}_gap_closing"
        try:
            spots = pd.read_csv(f"{stem}_spots.csv").sort_values("frame", kind="stable")
            edges = pd.read_csv(f"{stem}_edges.csv")
        except OSError as error:
            raise InputError(f"'{folder}' lacks the tables of TrackMate: {error}") from error
        points = spots[["position_y", "position_x"]].to_numpy()
        track = link_points(spots["frame"].to_numpy(), points, 15.0, memory)
        name_of = spots["id"].to_numpy()
        mine = {(int(name_of[i]), int(name_of[j])) for i, j in _links(track)}
        theirs = set(zip(edges["spot_source_id"], edges["spot_target_id"], strict=True))
        rows.append({"gap closing": name, "links": len(theirs), "equal": mine == theirs})
    return rows


def speed(frames: int = 60, with_trackpy: bool = True, **settings: Any) -> list[dict[str, Any]]:
    """CPU ms per frame at 100, 1000 and 10 000 particles, in alternation with `trackpy.link_iter`.

    The linker is timed without a motion model, with the motion model of `settings`, and with links
    reconsidered after `REFINE` frames.
    """
    rows = []
    for n, size in TIMED:
        count = max(frames // 4, 2 * FRAMES_PER_TURN) if n > 5000 else frames
        movie = list(walk(n, size, 1, frames=count))
        linkers = {
            "plain": Linker(SEARCH_RANGE_PX),
            "motion": Linker(SEARCH_RANGE_PX, 2, **settings),
        }
        if settings:
            linkers["refined"] = Linker(SEARCH_RANGE_PX, 2, refine=REFINE, **settings)
        theirs = _trackpy(movie) if with_trackpy else None
        spent: dict[str, list[float]] = {name: [] for name in (*linkers, "trackpy")}
        for start in range(0, count, FRAMES_PER_TURN):
            turn = range(start, min(start + FRAMES_PER_TURN, count))
            for name, linker in linkers.items():
                spent[name] += [_timed(linker.link, number, movie[number]) for number in turn]
            if theirs is not None:
                spent["trackpy"] += [_timed(next, theirs) for _ in turn]
        ms = {name: float(np.median(times[2:])) for name, times in spent.items() if times}
        row: dict[str, Any] = {"particles": n, "livespt_ms": ms["plain"]}
        row["with_motion_ms"] = ms["motion"]
        if "refined" in ms:
            row["refined_ms"] = ms["refined"]
        if "trackpy" in ms:
            row |= {"trackpy_ms": ms["trackpy"], "times_faster": ms["trackpy"] / ms["plain"]}
        rows.append(row)
    return rows


def _trackpy(movie: list[Floats]) -> Iterator[Any]:
    import trackpy

    trackpy.quiet()
    linked: Iterator[Any] = trackpy.link_iter(iter(movie), SEARCH_RANGE_PX)
    return linked


def _timed(action: Callable[..., object], *arguments: Any) -> float:
    begin = time.process_time()
    action(*arguments)
    return 1000 * (time.process_time() - begin)


def subnets(**settings: Any) -> dict[str, Any]:
    """CPU ms of frames whose 200 particles all compete for the same links."""
    rng = np.random.default_rng(2)
    linker = Linker(SEARCH_RANGE_PX, **settings)
    times = [_timed(linker.link, number, rng.uniform(0, 24, (200, 2))) for number in range(30)]
    return {"particles": 200, "median_ms": float(np.median(times[3:])), "most_ms": max(times[3:])}


def slope(frames: int = 100_000, **settings: Any) -> dict[str, Any]:
    """CPU ms per frame of 100 particles at frame 100 and at the end of a long run."""
    linker = Linker(SEARCH_RANGE_PX, 2, **settings)
    spent = np.empty(frames)
    for number, points in enumerate(walk(100, 200, 4, frames=frames)):
        spent[number] = _timed(linker.link, number, points)
    early, late = (float(np.median(part)) for part in (spent[100:1100], spent[-1000:]))
    return {
        "frames": frames,
        "at_100_ms": early,
        "at_the_end_ms": late,
        "ratio": late / early,
        "ids": linker.next_id,
        "capacity": linker.capacity,
    }


_GO_ON = """import sys
from livespt.tools.evaluate.linker_checks import _after
sys.stdout.write(_after(bytes.fromhex(sys.stdin.read()), int(sys.argv[1])))
"""


def _after(snapshot: bytes, start: int) -> str:
    """Digest of the links of a restored linker for the rest of a movie."""
    linker = Linker.restore(snapshot)
    movie = scene("receptors", 200, 3, frames=60)
    digest = hashlib.sha256()
    for number in range(start, 60):
        for part in linker.link(number, movie.point[movie.frame == number])[:5]:
            digest.update(np.asarray(part).tobytes())
        digest.update(linker.snapshot())
    return digest.hexdigest()


def restart(at: tuple[int, ...] = (17,), **settings: Any) -> list[dict[str, Any]]:
    """Whether a linker that is restored in another process gives the same links."""
    rows = []
    for start in at:
        linker = Linker(5.0, 2, **settings)
        movie = scene("receptors", 200, 3, frames=60)
        for number in range(start):
            linker.link(number, movie.point[movie.frame == number])
        state = linker.snapshot()
        there = subprocess.run(
            [sys.executable, "-c", _GO_ON, str(start)],
            input=state.hex(),
            capture_output=True,
            text=True,
            check=True,
        )
        same = there.stdout.strip() == _after(state, start)
        rows.append({"restart at": start, "bytes": len(state), "identical": same})
    return rows


def bad_input(**settings: Any) -> list[dict[str, Any]]:
    """Result and time for invalid or extreme frames."""
    rng = np.random.default_rng(5)
    some = rng.uniform(0, 512, (500, 2))
    cases: dict[str, tuple[int, ArrayLike]] = {
        "an empty frame": (1, np.empty((0, 2))),
        "one particle": (1, [[3.0, 4.0]]),
        "a coordinate that is NaN": (1, np.concatenate([some, [[np.nan, 1.0]]])),
        "a frame number that jumps": (1000, some),
        "a frame number that goes back": (-1, some),
        "50 000 false detections": (1, np.concatenate([some, rng.uniform(0, 512, (50_000, 2))])),
        "500 particles at one place, twice": (1, np.full((500, 2), 256.0)),
        "2000 particles within a pixel, twice": (1, rng.uniform(0, 1, (2000, 2))),
        "10 000 particles at one place, twice": (1, np.zeros((10_000, 2))),
    }
    rows = []
    for name, (number, points) in cases.items():
        linker = Linker(SEARCH_RANGE_PX, 1, **settings)
        linker.link(0, points if name.endswith("twice") else some)
        result: dict[str, Any] = {}
        ms = _timed(_outcome, linker, number, points, result)
        rows.append({"case": name, "ms": ms, **result})
    return rows


def _outcome(linker: Linker, number: int, points: ArrayLike, result: dict[str, Any]) -> None:
    result |= {"continued": None, "born": None, "degraded": None, "refused": None}
    try:
        linked = linker.link(number, points)
    except InputError as error:
        result["refused"] = str(error)
        return
    born = len(linked.born)
    result |= {"continued": len(linked.track) - born, "born": born, "degraded": linked.degraded}
