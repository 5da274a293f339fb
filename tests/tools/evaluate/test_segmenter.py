"""The report on segmenters: figures, pictures and cards, each only where it was wanted."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from livespt.models.runtime.card import read_card
from livespt.tools.evaluate.segmenter import evaluate
from livespt.tools.score import segmenter as judge


def test_figures_go_to_the_report_and_to_the_cards(
    networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge, "SETS", {"deepspt 2d": {"ndim": 2, "lengths": (5, 30)}})
    monkeypatch.setattr(judge, "LIVING", (10,))
    monkeypatch.setattr(judge, "LAGS", (0, 30))
    monkeypatch.setattr(judge, "ERRORS", (0.1,))
    for path in networks.glob("segmenter*"):
        shutil.copy(path, tmp_path)
    model = tmp_path / "segmenter.onnx"
    before = read_card(model)["metrics"]
    figures = evaluate(model, tracks=12)
    assert "files" not in figures and read_card(model)["metrics"] == before
    figures = evaluate(model, tracks=12, write=True, report=tmp_path / "report")
    written = {path.name for path in (tmp_path / "report").iterdir()}
    assert set(figures["files"]) == written and "figures.json" in written
    assert read_card(model)["metrics"]["deepspt 2d"] == figures["deepspt 2d"]
