"""Volume: particles of simulated stacks, what is none, and stacks through the whole chain."""

from __future__ import annotations

import math
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

from build import FREE
from livespt.acquisition.microscope.hook import Put
from livespt.acquisition.microscope.microscope import Acquired
from livespt.models.localize.stack_localizer import StackLocalizer
from livespt.models.optics import spots as optics, stacks
from livespt.models.runtime.session import shipped
from livespt.stream.errors import SettingError
from livespt.stream.store.run import RunReader, open_run
from livespt.tools.evaluate_localizer.stacks import StackCase, matched, stack
from livespt.tools.overlay.watch import watch
from livespt.tools.runs.live import record
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.replay import replay
from livespt.tools.tables.export import spot_table

SHAPE = (9, 64, 64)
ONE = (4.3, 30.2, 20.7)
PHOTONS = float(optics.photons_for_snr(10, 100, 1.3))


@pytest.fixture(scope="module")
def volumes() -> StackLocalizer:
    localizer = StackLocalizer(shipped("spots"), provider="cpu")
    localizer.warm_up(SHAPE)
    return localizer


def image_of(
    *points: tuple[float, float, float], shape: tuple[int, int, int] = SHAPE, seed: int = 0
) -> np.ndarray:
    light = stacks.render_stack(points, PHOTONS, shape, 1.3, 2.0, 100.0)
    return optics.camera(light, np.random.default_rng(seed))


def places(spots: np.ndarray) -> np.ndarray:
    return np.stack([spots[c] for c in ("z", "y", "x")], axis=1).astype(np.float64)


@pytest.mark.parametrize("depth", [math.inf, 2.0], ids=["light sheet", "wide field"])
def test_particles_are_where_they_are_as_surely_as_claimed(
    volumes: StackLocalizer, depth: float
) -> None:
    case = StackCase(snr=8, n=14, apart_px=16, planes=12, depth=depth, spread=0.3)
    error, claim, bound, missed = [], [], [], 0
    for seed in range(7):
        image, truth, photons = stack(np.random.default_rng((5, seed)), case)
        spots = volumes(image)
        i, j = matched(truth, places(spots), case.sigma_z)
        assert len(j) == len(spots)  # nothing that is not there
        inside = ((truth[:, 1:] > 6) & (truth[:, 1:] < 121)).all(axis=1)
        missed += inside.sum() - inside[i].sum()
        i, j = i[inside[i]], j[inside[i]]
        error.append(places(spots)[j] - truth[i])
        claim.append(np.stack([spots[j][c] for c in ("dz", "dy", "dx")], axis=1))
        bound.append(
            stacks.stack_bound(
                truth[i, 0], photons[i], 100, 1.3, case.fading, 12, depth=depth, read_noise_e=1.5
            )[:, :3]
        )
    square = [(np.concatenate(part) ** 2).mean(axis=0) for part in (error, claim, bound)]
    real, said, least = (np.sqrt([z, (y + x) / 2]) for z, y, x in square)
    assert missed == 0
    assert (real < 1.3 * least).all()  # of 80 particles: itself uncertain by 8% and 6%
    np.testing.assert_allclose(said, real, rtol=0.2)
    offset = np.abs(np.mean(np.concatenate(error), axis=0))
    assert (offset < 0.4 * np.sqrt(square[0])).all()


def test_rows_tell_intensity_background_and_width(volumes: StackLocalizer) -> None:
    image = image_of((4.0, 40.0, 20.0), (3.0, 12.0, 50.0), (5.0, 12.4, 10.0))
    spots = volumes(image)
    assert len(spots) == 3
    np.testing.assert_allclose(spots["intensity"], PHOTONS, rtol=0.1)
    np.testing.assert_allclose(spots["background"], 200, atol=3)
    np.testing.assert_allclose(spots["sigma"], 1.3, atol=0.12)
    assert np.isnan(spots["variance"]).all() and (spots["score"] > 0.5).all()
    other = StackLocalizer(volumes.localizer, significance=6.0)
    assert spots.tobytes() == other(image).tobytes()
    with pytest.raises(SettingError, match="above 0"):
        StackLocalizer(volumes.localizer, significance=0)


@pytest.mark.parametrize("apart", [4.0, 6.0])
def test_of_two_particles_above_each_other_both_are_found(
    volumes: StackLocalizer, apart: float
) -> None:
    low, high = (10 - apart / 2, 32.2, 30.7), (10 + apart / 2, 32.5, 30.4)
    others = [(8.0, 10.0, 10.0), (12.0, 50.0, 10.0), (9.0, 50.0, 50.0), (10.0, 10.0, 50.0)]
    spots = volumes(image_of(low, high, *others, shape=(20, 64, 64)))
    assert len(spots) == 6
    pair = places(spots)[np.hypot(spots["y"] - 32, spots["x"] - 30.5) < 3]
    np.testing.assert_allclose(pair[np.argsort(pair[:, 0])], [low, high], atol=0.5)


@pytest.mark.parametrize("z", [0.0, 0.4, 7.6, 8.0])
def test_particles_in_the_first_and_last_plane_are_found(volumes: StackLocalizer, z: float) -> None:
    spots = volumes(image_of((z, 30.2, 20.7), (4.0, 50.0, 50.0)))
    spot = spots[np.hypot(spots["y"] - 30.2, spots["x"] - 20.7) < 1]
    assert len(spots) == 2 and len(spot) == 1
    assert abs(spot["z"][0] - z) < 5 * spot["dz"][0] < 0.8


def test_planes_and_voxels_that_are_no_numbers_are_not_seen(volumes: StackLocalizer) -> None:
    image = image_of(ONE).astype(np.float32)
    for hole in (np.s_[4], np.s_[:3], np.s_[4, 29:32, 18:24]):
        holed = image.copy()
        holed[hole] = np.nan
        spots = volumes(holed)
        assert len(spots) == 1
        np.testing.assert_allclose(places(spots)[0], ONE, atol=0.3)
    assert len(volumes(image + (40 * np.arange(9, dtype=np.float32))[:, None, None])) == 1


def test_hot_pixels_and_cosmic_rays_are_no_particles(volumes: StackLocalizer) -> None:
    image = image_of(ONE, (3.0, 50.0, 50.0))
    image[:, 20, 40] = 2000
    image[:, 10:12, 10] = 1500
    image[5, 40:42, 20:22] = 2000
    image[2, 50, 20] = 3000
    spots = volumes(image)
    np.testing.assert_allclose(places(spots), [ONE, (3.0, 50.0, 50.0)], atol=0.3)
    assert (spots["dz"] < 0.1).all()  # and they leave the noise of others alone


def test_one_plane_is_a_frame_and_has_no_z(volumes: StackLocalizer) -> None:
    image = image_of((0.0, 30.2, 20.7))[:1]
    assert volumes(image).tobytes() == volumes.localizer(image[0]).tobytes()
    assert len(volumes(image)) == 1 and np.isnan(volumes(image)["dz"]).all()


QUIET = {
    "noise": np.random.default_rng(1).poisson(100, SHAPE).astype(np.uint16),
    "smallest": np.zeros((3, 16, 16), np.uint8),
}


@pytest.mark.parametrize("case", QUIET)
def test_stacks_without_anything_give_nothing(volumes: StackLocalizer, case: str) -> None:
    assert len(volumes(QUIET[case])) == 0


def walk(steps: int) -> tuple[np.ndarray, np.ndarray]:
    """A movie (t, z, y, x) of three particles, and where they are (t, 3, 3)."""
    rng = np.random.default_rng(2)
    start = np.array([[4.0, 12.0, 12.0], [3.5, 12.0, 34.0], [4.5, 35.0, 22.0]])
    points = start + np.cumsum(rng.normal(0, (0.15, 0.3, 0.3), (steps, 3, 3)), axis=0)
    light = (stacks.render_stack(p, PHOTONS, (9, 48, 48), 1.3, 1.8, 100.0) for p in points)
    return np.stack([optics.camera(one, rng) for one in light]), points


def check(run: RunReader, truth: np.ndarray) -> None:
    spots, steps = run.spots, len(truth)
    assert len(spots) == 3 * steps and len(np.unique(spots["track"])) == 3
    for t, points in enumerate(truth):
        found = places(spots[spots["frame"] == t])
        assert all(np.abs(found - p).max(axis=1).min() < 0.4 for p in points)
    table = spot_table(run.start, spots, run.states)
    assert {"z", "dz"} < set(table) and table["dz"].between(0.01, 0.2).all()
    assert not table["state"].isna().any()


def test_stacks_go_through_the_whole_chain(tmp_path: Path) -> None:
    movie, truth = walk(12)
    scales = {"PhysicalSizeX": 0.1, "PhysicalSizeY": 0.1, "PhysicalSizeZ": 0.3}
    facts = {"axes": "TZYX", "TimeIncrement": 0.5, **scales}
    tifffile.imwrite(tmp_path / "movie.ome.tif", movie, metadata=facts)
    replay(tmp_path / "movie.ome.tif", tmp_path / "one.zarr", Options(), endpoint=FREE, say=str)
    one = open_run(tmp_path / "one.zarr")
    check(one, truth)
    assert one.start.axes == "zyx" and one.start.z_step_um == pytest.approx(0.3)
    assert one.start.settings["z_scale"] == pytest.approx(3.0)
    shutil.copytree(one.path / "movie", tmp_path / "copy.ome.zarr")  # as anyone's OME-Zarr
    for source, name in ((tmp_path / "copy.ome.zarr", "two"), (one.path, "three")):
        replay(source, tmp_path / f"{name}.zarr", Options(), endpoint=FREE, say=str)
        other = open_run(tmp_path / f"{name}.zarr")
        for table in ("spots", "states", "events"):
            assert getattr(one, table).tobytes() == getattr(other, table).tobytes()
    watch(str(one.path), render=tmp_path / "overlay.png")
    assert (tmp_path / "overlay.png").stat().st_size > 1000


@pytest.mark.slow
def test_stacks_taken_live_replay_to_the_same_bytes(tmp_path: Path) -> None:
    movie, truth = walk(8)

    def played(put: Put) -> Acquired:
        for i, image in enumerate(movie):
            time.sleep(0.01)
            put(image, number=i, t=i, time_s=i * 0.5, captured_ns=time.monotonic_ns())
        return Acquired(len(movie), 0, 0, "", False)

    facts = Facts("simulated", "zyx", movie.shape[1:], "<u2", 0.1, 0.5, 0.3)
    record(played, tmp_path / "live.zarr", facts, Options(), endpoint=FREE, say=str)
    live = open_run(tmp_path / "live.zarr")
    check(live, truth)
    replay(live.path, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)
    again = open_run(tmp_path / "again.zarr")
    for table in ("spots", "states", "events"):
        assert getattr(live, table).tobytes() == getattr(again, table).tobytes()
