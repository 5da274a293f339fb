"""Training a localizer: what is refused, what is written, and that one particle teaches to find."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from livespt.models.localize.localizer import Localizer
from livespt.models.networks import lodestar
from livespt.models.render.spot_movies import SpotCase, spot_frame, training_frame
from livespt.models.runtime.card import read_card
from livespt.models.runtime.session import shipped
from livespt.stream.errors import InputError, LiveSptError, ModelError, SettingError
from livespt.tools.evaluate_localizer import bulk_water, one_crop
from livespt.tools.score.spots import pair
from livespt.tools.train_localizer import measure
from livespt.tools.train_localizer.fit import LocalizerRecipe, train_network
from livespt.tools.train_localizer.localizer import train


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames; a dark particle at (60, 80) in the last."""
    rng = np.random.default_rng(0)
    points = np.array([[60.0, 80.0], [200.0, 200.0], [130.0, 40.0], [30.0, 180.0]])
    frames = [spot_frame(rng, SpotCase(snr=15), points)[0] for _ in range(3)]
    path = tmp_path_factory.mktemp("movie") / "dark.tif"
    dark = 3000 - np.stack(frames)
    tifffile.imwrite(path, dark.astype(np.uint16), imagej=True, metadata={"axes": "TYX"})
    return path


@pytest.fixture(scope="module")
def quick(movie: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A model of a few seconds of training."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("model") / "dark.onnx"
    return out, train(movie, frame=2, at=(60.4, 79.7), size=17, out=out, steps=300)


def test_model_card_and_picture_lie_together(quick: tuple[Path, dict[str, Any]]) -> None:
    out, report = quick
    names = sorted(path.name for path in out.parent.iterdir())
    assert names == ["dark.json", "dark.onnx", "dark.png"]
    card = read_card(out)
    assert card["task"] == "localize" and card["name"] == "dark" and card["seed"] == 1
    assert card["training"]["steps"] == 300 and card["provenance"]["at"] == [60.4, 79.7]
    assert card["contrast"] < 0 and 2 < card["fwhm_px"] < 6
    assert card["score"] == "uncalibrated"
    assert set(card["metrics"]["other_noise"]) == {"half", "equal", "double"}
    assert report["converged"] == card["converged"]
    assert card["provenance"]["command"].startswith("livespt train localizer dark.tif --frame 2")
    assert (out.with_suffix(".png")).read_bytes().startswith(b"\x89PNG")


def test_one_particle_teaches_to_find_the_others(quick: tuple[Path, dict[str, Any]]) -> None:
    out, report = quick
    assert report["found_itself"] and report["converged"] and "warning" not in report
    rng = np.random.default_rng(5)
    image, points = spot_frame(rng, SpotCase(snr=12))
    spots = Localizer(out, provider="cpu")(np.uint16(3000) - image)
    gap = np.hypot(
        np.subtract.outer(points[:, 0], spots["y"]), np.subtract.outer(points[:, 1], spots["x"])
    )
    inside = ((points > 8) & (points < 247)).all(axis=1)
    assert (gap.min(axis=1)[inside] < 1).mean() > 0.9
    assert (gap.min(axis=0) < 2).mean() > 0.9
    assert (spots["intensity"] < 0).mean() > 0.9  # dark


def test_the_same_seed_gives_the_same_model_and_no_convergence_is_said(
    movie: Path, tmp_path: Path
) -> None:
    made = []
    for name in ("a.onnx", "b.onnx"):
        out = tmp_path / name
        report = train(movie, frame=0, at=(60, 80), size=15, out=out, steps=10, seed=7)
        made.append(out.read_bytes())
    assert made[0] == made[1]
    # 10 steps teach nothing, and it says so
    assert "did not converge" in report["warning"] and not read_card(out)["converged"]
    assert read_card(out)["training"]["attempt_seed"] == 1007  # another seed was tried
    json.dumps(report, allow_nan=False)


def test_noise_teaches_nothing_and_it_says_so(tmp_path: Path) -> None:
    noise = np.random.default_rng(4).normal(500, 10, (96, 96)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "noise.tif", noise)
    report = train(
        tmp_path / "noise.tif", frame=0, at=(48, 48), size=21, out=tmp_path / "n.onnx", steps=200
    )
    assert not report["converged"] and "did not converge" in report["warning"]


@pytest.mark.parametrize(("snr", "steps", "served"), [(8.0, 600, True), (1.5, 100, False)])
def test_a_noisy_crop_serves_quiet_frames_and_says_which_it_does_not(
    snr: float, steps: int, served: bool, tmp_path: Path
) -> None:
    """Of a tenth of its noise; but a dim particle cannot be seen in twice the noise."""
    image, points = one_crop.draw_frame(np.random.default_rng(1), "2", snr)
    tifffile.imwrite(tmp_path / "noisy.tif", image)
    out = tmp_path / "m.onnx"
    middle = points[np.hypot(*(points - 96).T).argmin()].round()
    at = (float(middle[0]), float(middle[1]))
    report = train(tmp_path / "noisy.tif", frame=0, at=at, size=19, out=out, steps=steps)
    shares = read_card(out)["metrics"]["other_noise"]
    assert report["converged"] == served == (shares["double"]["recall"] >= 0.98)
    if not served:
        assert "at double noise" in report["warning"]
        return
    localizer, found, extra = Localizer(out, provider="cpu"), 0, 0
    for k in range(5):
        image, points = one_crop.draw_frame(np.random.default_rng(k), "2", snr, noise=0.1)
        spots = localizer(image)
        mine = pair(points, np.stack([spots["y"], spots["x"]], axis=1).astype(float))[0]
        found, extra = found + len(mine), extra + len(spots) - len(mine)
    assert found >= 49 and extra <= 1


def comets(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Spots with a tail downwards, as coma makes, on a background of 100."""
    y, x = np.mgrid[:160, :160]
    image = np.full((160, 160), 100.0)
    for at in points:
        for down, sigma, peak in ((0.0, 1.3, 2000.0), (2.5, 1.8, 900.0), (5.0, 2.3, 400.0)):
            away = (y - at[0] - down) ** 2 + (x - at[1]) ** 2
            image += peak * np.exp(-away / (2 * sigma**2))
    return rng.poisson(image).astype(np.uint16)


@pytest.mark.slow
def test_a_click_fixes_the_centre_of_a_lopsided_particle(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    points = np.array([[y, x] for y in (30, 80, 130) for x in (30, 80, 130)], float)
    points += rng.uniform(-1, 1, points.shape)
    tifffile.imwrite(tmp_path / "coma.tif", comets(rng, points))
    out = tmp_path / "coma.onnx"
    at = tuple(points[4].round(2).tolist())
    report = train(
        tmp_path / "coma.tif", frame=0, at=at, size=27, out=out, steps=1200, others=0, zoom=1.0
    )
    card = read_card(out)
    assert report["converged"] and card["centre"]["method"] == "click"
    points += rng.uniform(-1, 1, points.shape)
    spots = Localizer(out, provider="cpu", refine="none")(comets(rng, points))
    gap = spots["y"][:, None] - points[:, 0], spots["x"][:, None] - points[:, 1]
    near = np.hypot(*gap).argmin(axis=0)
    error = np.array([part[near, range(9)] for part in gap]).mean(axis=1)
    before = error + card["centre"]["taken_off_px"]
    assert np.abs(error).max() < 0.1 and np.abs(before).max() > 0.3


@pytest.mark.slow
def test_several_crops_and_clicked_frames(movie: Path, tmp_path: Path) -> None:
    clicks = tmp_path / "clicks.csv"
    clicks.write_text("y,frame,x\n60.2,0,80.1\n200,2,199.5\n", encoding="utf-8")
    out = tmp_path / "many.onnx"
    train(movie, frame=1, at=[(60, 80), (130, 40)], clicks=clicks, size=17, out=out, steps=10)
    card = read_card(out)
    assert card["training"]["crops"] == 4 and card["provenance"]["frame"] == 1
    assert card["provenance"]["clicks"][2:] == [[0, 60.2, 80.1], [2, 200.0, 199.5]]
    assert card["centre"]["method"] == "symmetry" and card["centre"]["crops"] == 4
    assert np.shape(card["crop"]) == (17, 17) and card["crop"][8][8] < card["crop"][0][0]
    for text, words in (("y,x\n1,2\n", "lacks frame"), ("frame,y,x\n", "no rows"),
                        ("frame,y,x\n0,a,2\n", "not a number"), ("", "not a table")):  # fmt: skip
        clicks.write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=words):
            train(movie, clicks=clicks, size=17, out=tmp_path / "x.onnx")


def test_crops_of_several_channels_are_learned_from() -> None:
    """A particle that is bright in one channel and dark in the other."""
    generator = torch.Generator().manual_seed(0)
    line = torch.arange(21) - 10.0
    spot = 25 * torch.exp(-(line[:, None] ** 2 + line**2) / 6)
    crops = torch.stack([spot, -spot])[None] + torch.randn(2, 2, 21, 21, generator=generator)
    particle = measure.Particle(4.0, 25.0)
    recipe = LocalizerRecipe("wide", 60, (0.5, 2.0), 1.1, 0.5, "cpu")
    net, history = train_network(crops, particle, recipe, 1)
    assert net[0].in_channels == 2 and history[-1]["within_px"] < 0.7 * history[0]["within_px"]


REFUSED: dict[str, tuple[dict[str, Any], type[LiveSptError], str]] = {
    "frame": ({"frame": 3}, InputError, "frames 0 to 2, not 3"),
    "outside": ({"at": (300, 20)}, SettingError, "lies outside the frame of 256 x 256"),
    "edge": ({"at": (5, 80)}, SettingError, "extends beyond the frame"),
    "small": ({"size": 5}, SettingError, "at least 9"),
    "net": ({"net": "huge"}, SettingError, "unknown net 'huge'"),
    "steps": ({"steps": 0}, SettingError, "too few"),
    "gain": ({"gain": (2.0, 1.0)}, SettingError, "LOW <= HIGH"),
    "device": ({"device": "tpu"}, SettingError, "unknown device"),
    "folder": ({"out": "none/x.onnx"}, SettingError, "there is no folder"),
    "name": ({"out": "x.pt"}, ModelError, r"no \.onnx file"),
    "centre": ({"centre": "eye"}, SettingError, "unknown centre 'eye'"),
    "alpha": ({"alpha": 0.0}, SettingError, "alpha must be"),
    "quantile": ({"quantile": 1.5}, SettingError, "quantile must be"),
    "neighbours": ({"neighbours": 2.0}, SettingError, "neighbours must be"),
    "particle": ({"frame": None, "at": ()}, SettingError, "no particle to learn from"),
    "place": ({"at": ()}, SettingError, "both its frame and its place"),
    "movie": ({"movie": "missing.tif"}, InputError, "missing.tif"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_leave_nothing(movie: Path, tmp_path: Path, case: str) -> None:
    options, kind, words = REFUSED[case]
    given: dict[str, Any] = {"frame": 0, "at": (60, 80), "size": 21, "steps": 10}
    given |= {"movie": movie, "out": "x.onnx", **options}
    given["out"] = tmp_path / given["out"]
    with pytest.raises(kind, match=words) as caught:
        train(given.pop("movie"), **given)
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_a_model_is_overwritten_on_request_only(movie: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(SettingError, match=r"m\.onnx exists"):
        train(movie, frame=0, at=(60, 80), size=15, out=out, steps=10)
    assert out.read_bytes() == b"mine"
    train(movie, frame=0, at=(60, 80), size=15, out=out, steps=10, overwrite=True)
    Localizer(out, provider="cpu")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("sigma", [1.0, 2.0, 4.0])
def test_the_size_of_a_particle_is_measured(sigma: float, sign: int) -> None:
    line = np.arange(41) - 20.0
    crop = sign * 30 * np.exp(-(line[:, None] ** 2 + line**2) / (2 * sigma**2))
    crop += np.random.default_rng(0).normal(0, 1, crop.shape)
    particle = measure.describe(crop)
    assert particle.fwhm_px == pytest.approx(2.355 * np.hypot(sigma, 0.7), rel=0.2)
    assert np.sign(particle.contrast) == sign


def test_neighbours_are_cut_off() -> None:
    line = torch.arange(35) - 17.0
    spot = 30 * torch.exp(-(line[:, None] ** 2 + line**2) / 4.5)
    crowded = spot + torch.roll(spot, 13, 1)
    particle = measure.describe(crowded.numpy())
    alone = measure.isolate(crowded, particle)
    assert (alone - spot).abs().max() < 1.0


def test_a_constant_offset_is_found_and_removed() -> None:
    """Of a network that answers 0.4 px too far down, whichever way the particle is turned."""

    class Skewed(torch.nn.Module):
        def forward(self, squashed: torch.Tensor) -> torch.Tensor:
            n, _, height, width = squashed.shape
            weight = squashed[:, 0].clamp(min=0.9) - 0.9
            line_y, line_x = (torch.arange(k) - (k - 1) / 2 for k in (height, width))
            total = weight.sum(dim=(1, 2)) + 1e-6
            y = (weight * line_y[:, None]).sum(dim=(1, 2)) / total
            x = (weight * line_x).sum(dim=(1, 2)) / total
            out = torch.zeros(n, 3, height // 2, width // 2)
            gap = torch.stack([y + 0.4, x - 0.1], 1)[:, :, None, None] - lodestar.positions(out)
            out[:, :2] = gap
            out[:, 2] = 6 - (gap**2).sum(dim=1)
            return out

    line = torch.arange(25) - 12.0
    crop = 60 * torch.exp(-((line[:, None] - 0.7) ** 2 + (line + 0.3) ** 2) / 4)
    particle = measure.describe(crop.numpy())
    keys, metrics = measure.calibrate(Skewed(), crop, particle, (0.5, 2.0), 1)
    assert keys["offset_px"] == pytest.approx([0.4, -0.1], abs=0.03)
    assert metrics["centre_in_crop_px"] == pytest.approx([0.7, -0.3], abs=0.05)


def test_the_shipped_model_says_how_to_make_it_again() -> None:
    card = read_card(shipped("spots"))
    assert card["converged"] and card["provenance"]["movie"] == "simulated"
    image = training_frame(card["seed"])
    spots = Localizer(shipped("spots"), provider="cpu")(image)
    y, x = card["provenance"]["at"]
    assert np.hypot(spots["y"] - y, spots["x"] - x).min() < 1


@pytest.mark.slow
def test_real_spheres_diffuse_as_published(real_data: Path, tmp_path: Path) -> None:
    movie = real_data / "bulk_water" / "bulk_water.ome.tif"
    if not movie.is_file():
        pytest.skip("no bulk_water in LIVESPT_DATA")
    out = tmp_path / "spheres.onnx"
    assert train(movie, frame=100, at=(319, 187), size=35, out=out)["converged"]
    found = bulk_water.evaluate_bulk_water(out, movie)
    assert found["exponent"] == pytest.approx(1.08, abs=0.08)
    assert found["4D_um2_s"] == pytest.approx(1.60, rel=0.1)
