"""Training students: what is written, that it comes again, that one crop makes a localizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from livespt.models.localize.localizer import Localizer  # noqa: E402
from livespt.models.networks import lodestar, student, student_graph  # noqa: E402
from livespt.models.optics import spots  # noqa: E402
from livespt.models.render import training_frames  # noqa: E402
from livespt.stream.errors import ModelError, SettingError  # noqa: E402
from livespt.tools.train_localizer import measure, student as train_student, student_measure  # noqa: E402


def test_a_student_is_written_whole(tmp_path: Path) -> None:
    report = train_student.train(out=tmp_path / "a.onnx", steps=10, seed=5)
    card = json.loads((tmp_path / "a.json").read_text())
    assert report["model"].endswith("a.onnx")
    assert sorted(p.suffix for p in tmp_path.glob("a.*")) == [".json", ".onnx", ".png"]
    assert card["decoder"] == "student" and card["stride_px"] == 4 and card["seed"] == 5
    assert "--preset fast --steps 10 --seed 5" in card["provenance"]["command"]
    assert 0 < card["cutoff"] < 1
    empty = np.random.default_rng(1).poisson(100, (64, 48)).astype(np.uint16)
    assert Localizer(tmp_path / "a.onnx", provider="cpu")(empty).dtype.names is not None


def test_training_comes_again(tmp_path: Path) -> None:
    place, nets = tmp_path / "s.checkpoint", []
    shape = student.Shape(16, 1, 2)
    for _ in range(2):
        net, _ = train_student.train_network(shape, training_frames.simulated, 10, 5, "cpu", place)
        nets.append(student_graph.serialize(net))
    assert nets[0] == nets[1]


REFUSED: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no preset": ({"preset": "huge"}, SettingError, "huge"),
    "no onnx": ({"out": "model.pt"}, ModelError, "onnx"),
    "nothing to resume": ({"resume": True}, SettingError, "resume"),
    "too short": ({"steps": 2}, SettingError, "10"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused(name: str, tmp_path: Path) -> None:
    settings, error, word = REFUSED[name]
    out = tmp_path / settings.get("out", "m.onnx")
    with pytest.raises(error, match=word):
        train_student.train(**{"steps": 10} | settings | {"out": out})
    assert not list(tmp_path.iterdir())


def test_jaccard_counts_pairs_once() -> None:
    truth = np.array([[50.0, 50.0], [80.0, 80.0], [2.0, 2.0]])
    assert student_measure.jaccard(truth, truth + 0.5) == 1
    assert student_measure.jaccard(truth, np.repeat(truth, 2, axis=0)) == 0.5
    assert student_measure.jaccard(truth, truth[:1]) == 0.5
    assert student_measure.jaccard(truth, np.empty((0, 2))) == 0


@pytest.mark.slow
def test_one_crop_makes_a_localizer_for_dimmer_particles(tmp_path: Path) -> None:
    photons = spots.photons_for_snr(10, 100, 1.3)
    light = spots.render([127.8], [128.1], photons, (256, 256), 1.3, 100.0)
    image = spots.camera(light, np.random.default_rng(31))
    crop = lodestar.normalized(lodestar.Normalize(25), image)[116:141, 116:141].contiguous()
    particle = measure.describe(crop.numpy())
    made = train_student.train_from_crops(
        [measure.isolate(crop, particle)], particle, [(-0.2, 0.1)],
        {"training": {"size_px": 25}, "seed": 1, "alpha": 0.5},
        steps=6000, checkpoint=tmp_path / "student.checkpoint",
    )  # fmt: skip
    assert made.facts["seed"] == 1 and "alpha" not in made.facts
    (tmp_path / "m.onnx").write_bytes(made.content)
    run = student_measure.runner(made.content, 1)
    for snr, least in ((5.0, 0.94), (10.0, 0.96), (20.0, 0.96)):
        shares = []
        for k in range(6):
            frame, points = student_measure.spots(np.random.default_rng((9, k)), snr, 25)
            found = student_measure.decode(run(frame), made.facts["cutoff"], 4.0, 1.5)
            shares.append(student_measure.jaccard(points, found[:, :2]))
        assert np.mean(shares) >= least
