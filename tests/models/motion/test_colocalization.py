"""Colocalization: pairs found, changes dated, partners resolved, against simulated truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.models.motion import colocalization
from livespt.models.motion.colocalization import CHANGES, CONTROL, HANDED_OVER, OUTCOMES, Limits
from livespt.models.motion.contacts import Paths, contacts, paths
from livespt.models.simulate.two_colours import two_colours

LOOSE = Limits(correlation=-1.0)


def walk(seed: int, n: int, begin: int = 0) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Frames and places (n, 3) of a particle that takes steps of 0.2 um."""
    rng = np.random.default_rng(seed)
    return np.arange(begin, begin + n), rng.normal(0, 0.2, (n, 3)).cumsum(0)


def joined(*tracks: tuple[Any, Any]) -> Paths:
    frame = np.concatenate([track[0] for track in tracks])
    name = np.repeat(np.arange(len(tracks)), [len(track[0]) for track in tracks])
    return paths(frame, name, np.concatenate([track[1] for track in tracks]))[0]


def cut(track: tuple[Any, Any], *frames: int | tuple[int, int]) -> tuple[Any, Any]:
    """Only the frames (first, after the last)."""
    kept = np.zeros(len(track[0]), bool)
    for low, high in frames:  # type: ignore[misc]
        kept |= (track[0] >= low) & (track[0] < high)
    return track[0][kept], track[1][kept]


T = walk(1, 100)
FAR = (T[0], T[1] + 50.0)
# partners; then outcome and frame of the change
CASES: dict[str, tuple[list[Any], str, int]] = {
    "together to the end": ([T], "control", -1),
    "lost": ([cut(T, (0, 60))], "changes", 60),
    "found late": ([cut(T, (30, 60))], "changes", 60),
    "lost for two frames": ([cut(T, (0, 40), (42, 100))], "control", -1),
    "too short": ([cut(T, (0, 19))], "short contact", -1),
    "as short as may be": ([cut(T, (0, 20))], "changes", 20),
    "lost at the very end": ([cut(T, (0, 98))], "control", -1),
    "lost just before": ([cut(T, (0, 97))], "changes", 97),
    "lost and found": ([cut(T, (0, 40), (50, 80))], "changes", 80),
    "one after another": ([cut(T, (0, 40)), cut(T, (40, 80))], "changes", 80),
    "a rest too short": ([cut(T, (0, 40)), cut(T, (40, 50))], "handed over", -1),
    "far away": ([FAR], "no contact", -1),
    "a stranger that jitters near": ([(T[0], np.tile(T[1][:1], (100, 1)))], "short contact", -1),
    "two at once": ([cut(T, (0, 50)), (T[0][:30], T[1][:30] + 0.1)], "changes", 50),
}


@pytest.mark.parametrize("name", CASES)
def test_what_becomes_of_a_particle(name: str) -> None:
    partners, outcome, change = CASES[name]
    # the far one goes on: somebody looks until the end
    a, b = joined(T), joined(*partners, FAR)
    found = colocalization.label(a, b, Limits())
    assert OUTCOMES[found.outcome[0]] == outcome
    assert (a.frame[found.change[0]] if found.change[0] >= 0 else -1) == change


def test_nobody_looked_so_nothing_was_lost() -> None:
    found = colocalization.label(joined(T), joined(cut(T, (0, 60))), Limits())
    assert found.outcome[0] == CONTROL


def test_a_partner_is_not_shared() -> None:
    """Of two particles beside one coat, the one that moves as it does has it."""
    rng = np.random.default_rng(3)
    other = (T[0], T[1] + rng.normal(0, 0.12, (100, 3)))
    a, b = joined(other, T), joined((T[0], T[1] + 0.01), FAR)
    found = colocalization.label(a, b, LOOSE)
    assert [OUTCOMES[k] for k in found.outcome] == ["partner taken", "control"]


def test_a_missed_particle_breaks_no_contact() -> None:
    seen = cut(T, (0, 30), (40, 100))
    assert colocalization.label(joined(seen), joined(T), Limits()).outcome[0] == CONTROL


@pytest.mark.parametrize("limits", [Limits(median_um=0.01), Limits(correlation=1.0)])
def test_limits_refuse(limits: Limits) -> None:
    rng = np.random.default_rng(5)
    partner = T[0], T[1] + rng.normal(0, 0.05, (100, 3))
    refused = OUTCOMES[colocalization.label(joined(T), joined(partner), limits).outcome[0]]
    assert refused in ("far", "uncorrelated")


def test_contacts_are_those_of_a_slow_search() -> None:
    rng = np.random.default_rng(0)
    a, b = (
        paths(rng.integers(-3, 9, n), np.arange(n), rng.uniform(-2, 2, (n, 3)))[0]
        for n in (80, 120)
    )
    near = np.linalg.norm(a.point[:, None] - b.point, axis=2) < 0.9
    expected = np.argwhere(near & (a.frame[:, None] == b.frame))
    got = np.stack(contacts(a, b, 0.9), axis=1)
    assert len(expected) > 20
    assert sorted(map(tuple, got)) == sorted(map(tuple, expected))


def test_a_stretch_is_measured_as_numpy_does() -> None:
    rng = np.random.default_rng(2)
    partner = T[0], T[1] + rng.normal(0, 0.05, (100, 3)) + [0.1, 0, 0]
    found = colocalization.stretches(joined(T), joined(cut(partner, (10, 60), (61, 90))), Limits())
    assert found.first.tolist() == [10] and found.last.tolist() == [89]
    kept = [*range(10, 60), *range(61, 90)]
    x, y = T[1][kept], partner[1][kept]
    assert found.contacts[0] == len(kept)
    assert found.median_um[0] == pytest.approx(np.median(np.linalg.norm(x - y, axis=1)))
    assert found.apart_um[0] == pytest.approx(np.median(x - y, axis=0))
    for axis in range(3):
        r = np.corrcoef(x[:, axis], y[:, axis])[0, 1]
        assert found.correlation[0, axis] == pytest.approx(r)


# scene; then share of announced changes within two frames and five of the truth, and of true
# changes that were found at all, at least; some 0.05 below what ten times as many tracks show
SCENES: dict[str, tuple[dict[str, Any], tuple[float, float, float]]] = {
    "3-D": ({}, (0.90, 0.95, 0.65)),
    "2-D": ({"ndim": 2}, (0.80, 0.92, 0.62)),
    "crowded": ({"n": 100, "side_um": 6.0, "strangers": 1.0}, (0.90, 0.95, 0.65)),
    "crowded 2-D": ({"n": 100, "ndim": 2, "side_um": 7.0}, (0.75, 0.88, 0.5)),
    "a tenth missed": ({"missed": 0.1}, (0.87, 0.95, 0.65)),
}


@pytest.mark.parametrize("name", SCENES)
def test_changes_are_found_and_dated(name: str) -> None:
    how, (within_two, within_five, recall) = SCENES[name]
    apart: list[int] = []
    true = false = controls = missed = 0
    for seed in (0, 100, 200):
        scene = two_colours(seed, **how)
        (a, _), (b, _) = (paths(*some) for some in (scene.first, scene.second))
        offset, pairs = colocalization.chromatic_offset(a, b)
        flat = how.get("ndim") == 2
        assert offset == pytest.approx([0 if flat else 0.2, -0.05, 0.1], abs=0.02) and pairs > 20
        found = colocalization.label(a, b._replace(point=b.point + offset), Limits())
        for i in np.flatnonzero(found.outcome == CHANGES):
            change = scene.change.get(int(a.name[i]), -1)
            if change < 0:
                false += 1
            else:
                apart.append(int(a.frame[found.change[i]]) - change)
        assert not {int(x) for x in a.name[found.outcome == CHANGES]} & scene.alone
        true += sum(change >= 0 for change in scene.change.values())
        never = a.name[found.outcome == CONTROL].tolist()
        controls += len(never)
        missed += sum(scene.change.get(name, -1) >= 0 for name in never)
    error = np.abs(apart)
    assert missed <= 0.05 * controls
    assert false <= max(1, 0.01 * len(error))
    assert np.mean(error <= 2) >= within_two and np.mean(error <= 5) >= within_five
    assert len(error) >= recall * true


def test_tracks_that_are_nearly_one_are_one_group() -> None:
    rng = np.random.default_rng(4)
    twice = T[0][20:], T[1][20:] + rng.normal(0, 0.1, (80, 3))
    thrice = T[0][:30], T[1][:30] + np.array([0.0, 0.5, 0.0])
    other = walk(8, 100)  # all start within reach of each other and part
    groups = colocalization.alike(joined(other, T, FAR, twice, thrice))
    assert groups.tolist() == [0, 1, 2, 1, 1]
    chain = [(T[0], T[1] + np.array([0.0, 0.5 * k, 0.0])) for k in (3, 0, 2, 1)]
    assert colocalization.alike(joined(*chain)).tolist() == [0, 0, 0, 0]
    assert colocalization.alike(joined(T)).tolist() == [0]


def test_nothing_comes_of_nothing() -> None:
    empty = paths(np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, 3)))[0]
    some = joined(T)
    for a, b in ((empty, some), (some, empty), (empty, empty)):
        found = colocalization.label(a, b, Limits())
        assert len(found.outcome) == len(a.name) and not (found.outcome >= HANDED_OVER).any()
        offset, pairs = colocalization.chromatic_offset(a, b)
        assert pairs == 0 and not offset.any()


def test_order_of_rows_does_not_matter() -> None:
    scene = two_colours(7)
    b = paths(*scene.second)[0]
    rng = np.random.default_rng(0)
    order = rng.permutation(len(scene.first[0]))
    one, two = (
        colocalization.label(a, b, Limits(contact_um=0.75))
        for a in (
            paths(*scene.first)[0],
            paths(*(column[order] for column in scene.first))[0],
        )
    )
    assert all(np.array_equal(x, y) for x, y in zip(one, two, strict=True))
