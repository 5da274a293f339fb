"""Merges and splits: told where intensities add up, not where tracks only pass or end."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from build import Unsure
from livespt.stream.analyzer import Analyzer
from livespt.stream.link.lineage import Kin, Lineage
from livespt.stream.link.linker import Linker
from livespt.stream.settings import Settings
from livespt.stream.types import KINDS, SPOT, Frame

FRAMES = 40
EVENT = 20


class Pair(NamedTuple):
    """Two particles in a frame; NaN intensity: not there."""

    y: float  # distance
    one: float  # intensities
    two: float


def merge(t: int) -> Pair:
    return Pair(10 - 0.5 * t, 100, 80) if t < EVENT else Pair(0, 180, np.nan)


def end(t: int) -> Pair:
    return Pair(10 - 0.5 * t, 100, 80 if t < EVENT else np.nan)


def split(t: int) -> Pair:
    return Pair(0, 180, np.nan) if t < EVENT else Pair(0.5 * (t - EVENT + 1), 110, 70)


def begin(t: int) -> Pair:
    return Pair(0.5 * (t - EVENT + 1), 110, 70 if t >= EVENT else np.nan)


def far(t: int) -> Pair:
    return Pair(40, 100, 80) if t < EVENT else Pair(40, 180, np.nan)


def crowd(seed: int, pair: Callable[[int], Pair]) -> list[NDArray[np.float64]]:
    """Frames of rows z, y, x, intensity: the pair, and 30 particles around; 10 % scatter."""
    rng = np.random.default_rng(seed)
    around = rng.uniform(80, 300, (30, 2))
    movie = []
    for t in range(FRAMES):
        y, one, two = pair(t)
        rows = [[0, 20, 20, one], [0, 20 + y, 20, two]]
        rows += [[0, *at, 100.0] for at in around + rng.normal(0, 0.3, around.shape)]
        frame = np.array([row for row in rows if not np.isnan(row[3])])
        frame[:, 3] *= np.exp(rng.normal(0, 0.1, len(frame)))
        movie.append(frame)
    return movie


def follow(movie: list[NDArray[np.float64]], memory: int) -> dict[str, list[Kin]]:
    linker, lineage = Linker(4.0, memory, 3), Lineage(4.0, memory, capacity=2)
    told: dict[str, list[Kin]] = {"merged": [], "split": []}
    for t, rows in enumerate(movie):
        linked = linker.link(t, rows[:, :3])
        for kind, kin in zip(told, lineage(t, linked, rows[:, :3], rows[:, 3]), strict=True):
            if len(kin.track):
                told[kind].append(kin)
    return told


@pytest.mark.parametrize("memory", [0, 2])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", ["merge", "end", "split", "begin", "far"])
def test_told_where_intensities_add_up(name: str, seed: int, memory: int) -> None:
    pair = {"merge": merge, "end": end, "split": split, "begin": begin, "far": far}[name]
    told = follow(crowd(seed, pair), memory)
    assert len(told["merged"]) == (name == "merge")
    assert len(told["split"]) == (name == "split")
    for kin in told["merged"] + told["split"]:
        assert kin.track.tolist() != kin.other.tolist()
        assert kin.other.tolist() == [0]
        assert kin.frame.tolist() == [EVENT]
        assert np.linalg.norm(kin.point[0] - (0, 20, 20)) < 1.0
        assert kin.probability[0] > 0.8


def test_unknown_intensities_tell_nothing() -> None:
    movie = crowd(1, merge)
    for rows in movie:
        rows[:, 3] = np.nan
    told = follow(movie, 1)
    assert not told["merged"]
    assert not told["split"]


@pytest.mark.parametrize(("kind", "pair"), [("merged", merge), ("split", split)])
def test_events_of_the_analyzer(kind: str, pair: Callable[[int], Pair]) -> None:
    movie = crowd(3, pair)

    def localize(image: NDArray[np.generic]) -> NDArray[np.void]:
        rows = movie[int(image[0, 0])]
        spots = np.zeros(len(rows), SPOT)
        spots["z"], spots["y"], spots["x"], spots["intensity"] = rows.T
        return spots

    events = {}
    for lineage in (False, True):
        settings = Settings(search_range=4.0, memory=1, lag=2, lineage=lineage)
        analyze = Analyzer(localize, Unsure, settings)
        rows = [
            analyze(Frame(t, t, 0, 0, 0.1 * t, np.full((1, 1), t, np.uint8))).events
            for t in range(FRAMES)
        ]
        events[lineage] = np.concatenate(rows)
    found = events[True][events[True]["kind"] == KINDS.index(kind)]
    assert len(found) == 1
    assert len(events[True]) == len(events[False]) + 1
    assert found["other"][0] == 0
    assert found["frame"][0] == EVENT
    assert 0 < found["delay"][0] <= 4
    assert events[True]["seq"].tolist() == list(range(len(events[True])))
