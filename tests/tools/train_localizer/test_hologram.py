"""Hologram networks: graph against torch, copies and losses, training, the shipped model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from livespt.models.localize.localizer import Localizer
from livespt.models.networks import hologram as nets, lodestar
from livespt.models.networks.hologram_graph import HologramScale, serialize
from livespt.models.optics import holograms
from livespt.models.optics.holograms import HolographicMicroscope, Sphere
from livespt.models.optics.propagation import refocus
from livespt.models.runtime.session import shipped
from livespt.stream.errors import InputError, SettingError
from livespt.tools.evaluate_localizer import holograms as evaluate_hologram
from livespt.tools.train_localizer import hologram_measure
from livespt.tools.train_localizer.hologram import cut_field, train

M = HolographicMicroscope()


def field(*spheres: Sphere, shape: tuple[int, int] = (128, 128), level: float = 0.02) -> Any:
    grain = holograms.noise(shape, level, np.random.default_rng(4)) if level else 0
    return holograms.render(spheres, shape) + grain


def network(seed: int = 0) -> nets.HologramNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nets.HologramNet(nets.build(), M)


@pytest.mark.parametrize("shape", [(64, 64), (51, 90)])
def test_the_graph_says_what_the_network_says(shape: tuple[int, int]) -> None:
    model, scale = network(), HologramScale(0.1, 0.2, (0.3, 4.0), (0.05, 2.0))
    content = serialize(model, 4, scale)
    assert content == serialize(model, 4, scale)
    session = onnxruntime.InferenceSession(content)
    parts = hologram_measure.as_parts(field(Sphere(25, 30, 1.5, 0.228, 1.58), shape=shape))
    model.set_planes(4, nets.MARGIN_PX)
    with torch.no_grad():
        wanted = model.pooled(parts[None])[0].numpy()
        level = float(model.noise(parts[None]))
    got, noise = session.run(None, {"field": parts.numpy()})
    assert noise == pytest.approx(level, rel=1e-4)
    s = np.exp(wanted[4] - scale.ln_s)
    # where two planes are equally likely, rounding decides
    pairs = {
        "dy, dx, rho": (got[0, :3], wanted[:3]),
        "z": (got[0, 3] * M.pixel_um, wanted[3] - scale.z_um),
        "s": (got[0, 4] / s, np.ones_like(s)),
        "dz": (got[0, 5] / np.hypot(0.3, 4.0 * noise / s), np.ones_like(s)),
        "dy": (got[0, 6] / np.hypot(0.05, 2.0 * noise / s), np.ones_like(s)),
    }
    for name, (ours, theirs) in pairs.items():
        assert np.quantile(np.abs(ours - theirs), 0.98) < 2e-3, name
    assert np.array_equal(got[0, 6], got[0, 7])


def test_planes_are_the_field_elsewhere() -> None:
    spheres = [Sphere(64.5, 64.5, 2.0, 0.228, 1.58)]
    model = network()
    planes = model.planes(hologram_measure.as_parts(field(*spheres, level=0))[None])[0]
    there = holograms.render([Sphere(64, 64, 0.0, 0.228, 1.58)], (128, 128))
    # a cell's centre lies between its pixels: that of cell 32 at the sphere
    assert float(planes[-1, 32, 32].abs()) == pytest.approx(np.abs(there).max(), rel=0.05)
    assert float(planes[0].abs().max()) < 0.3 * np.abs(there).max()


@pytest.mark.parametrize("level", [0.01, 0.05])
def test_the_noise_is_told_beside_particles(level: float) -> None:
    spheres = [Sphere(40, 40, 1.0, 0.228, 1.58), Sphere(90, 100, -2.0, 0.2, 1.58)]
    model = network()
    model.set_planes(6, nets.MARGIN_PX)
    found = model.noise(hologram_measure.as_parts(field(*spheres, level=level))[None])
    assert 0.95 * level <= float(found) <= 1.25 * level


def test_copies_are_as_far_and_as_strong_as_they_say() -> None:
    crop, _ = cut_field(field(Sphere(63.5, 63.5, 0, 0.228, 1.58), level=0), (64, 64), 64, 0.0, M)
    study = nets.Study(size=128, blur_um2=0.0)
    copies = nets.Copier(crop, 0.0, study, M).draw_copies(6, torch.Generator().manual_seed(2))
    energy = float((crop**2).sum())
    for k in range(6):
        part = copies.field[k].numpy()
        found = refocus(part[0] + 1j * part[1], (-4, 4), microscope=M)
        assert found == pytest.approx(float(copies.z_um[k]), abs=0.12)
        share = float(np.exp(copies.log_s[k].item()) ** 2)
        assert (part**2).sum() / energy == pytest.approx(share, rel=0.05)


def test_an_answer_that_follows_every_copy_loses_nothing() -> None:
    copies = nets.FieldCopies(
        torch.zeros(8, 2, 16, 16),
        lodestar.draw_copies(8, 3.0, 1.0, torch.Generator().manual_seed(1)),
        torch.linspace(-2, 2, 8),
        torch.linspace(-1, 1, 8),
        torch.ones(8),
    )
    out = torch.zeros(8, 3, 5, 8, 8)
    grid = lodestar.positions(torch.zeros(8, 3, 8, 8))
    out[:, :, :2] = (copies.plane.shift[:, :, None, None] - grid)[:, None]
    out[:, :, 3] = (copies.z_um + 0.7)[:, None, None, None]
    out[:, :, 4] = (copies.log_s - 0.2)[:, None, None, None]
    for loss in nets.losses(out, copies, torch.ones(8), torch.Generator().manual_seed(3)):
        assert loss.shape == (4,)
        assert float(loss.max()) < 1e-4
    wrong = out.clone()
    wrong[:, :, 3] = 0
    between, _ = nets.losses(wrong, copies, torch.ones(8), torch.Generator().manual_seed(3))
    assert float(between[2]) > 1


def test_a_short_training_makes_a_model_that_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hologram_measure, "COPIES", hologram_measure.BATCH)
    out = tmp_path / "short.onnx"
    path = tmp_path / "field.npy"
    whole = field(Sphere(70, 66, 0.8, 0.228, 1.58), shape=(140, 140))
    np.save(path, np.stack([whole.real, whole.imag]))
    report = train(path, at=(70, 66), size=48, steps=40, out=out)
    assert not report["converged"] and "warning" in report
    card = json.loads(out.with_suffix(".json").read_text())
    assert card["training"]["crop_z_um"] == pytest.approx(0.8, abs=0.15)
    assert card["training"]["noise"] == pytest.approx(0.02, rel=0.2)
    assert card["reference"]["polarizability_um3"] == pytest.approx(0.01771, abs=1e-5)
    assert "--at 70,66" in card["provenance"]["command"]
    localizer = Localizer(out, provider="cpu")
    assert localizer.refuses("yx", (64, 64), "uint16") is not None
    spots = localizer(np.stack([whole.real, whole.imag]))
    assert np.isfinite(spots["z"]).all() and (spots["dz"] > 0).all()
    with pytest.raises(SettingError, match="exists"):
        train(path, at=(70, 66), size=48, steps=40, out=out)


def test_what_cannot_be_learned_from_is_refused(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.npy", tmp_path / "bad.npy"
    np.save(good, np.zeros((2, 64, 64), np.float32))
    np.save(bad, np.zeros((64, 64), np.uint16))
    out = tmp_path / "out.onnx"
    table: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"field": bad, "at": (32, 32)}, InputError, "uint16"),
        ({"field": tmp_path / "none.npy", "at": (32, 32)}, InputError, "no .npy"),
        ({"field": good}, SettingError, "--at"),
        ({"field": good, "at": (5, 5), "size": 32}, SettingError, "extends beyond the field"),
        ({"field": good, "at": (32, 32), "size": 33}, SettingError, "even"),
        ({"field": good, "at": (32, 32), "steps": 3}, SettingError, "steps"),
        (
            {"field": good, "at": (32, 32), "microscope": M._replace(pixel_um=0.3)},
            SettingError,
            "too coarse",
        ),
    ]
    for values, error, words in table:
        with pytest.raises(error, match=words):
            train(**({"out": out, "steps": 40, "size": 32} | values))
    assert not list(tmp_path.glob("*.onnx"))


def test_the_shipped_model_holds_its_figures() -> None:
    """On few fields; `livespt evaluate holograms` has the many."""
    localizer = Localizer(shipped("hologram"), provider="cpu")
    seen = evaluate_hologram.height(localizer, M, evaluate_hologram.HologramCase(0, 0.02), 6)
    assert seen["found"] == 1.0
    assert seen["sigma_z_nm"] <= 105
    assert seen["rmse_plane_nm"] <= 40
