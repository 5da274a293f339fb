"""The two-class test: overlap and limits against counting, and the readers of real tracks."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest

from livespt.models.motion.segmenter import Segmenter
from livespt.stream.errors import InputError
from livespt.tools.evaluate import classifier as judge
from livespt.tools.evaluate.classifier_report import report_real_tracks, write_report
from livespt.tools.tables import positions


@pytest.mark.parametrize("overlap", [0.1, 0.3, 0.57])
def test_overlap_is_the_integral_of_the_smaller_density(overlap: float) -> None:
    apart = judge.distance(overlap)
    x = np.linspace(-8, 10, 20_001) * judge.SPREAD
    slow, fast = (np.exp(-0.5 * ((x - m) / judge.SPREAD) ** 2) for m in (0.0, apart))
    assert np.minimum(slow, fast).sum() / slow.sum() == pytest.approx(overlap, abs=1e-3)
    # nobody does better than to say the class of the larger density
    assert NormalDist().cdf(apart / 2 / judge.SPREAD) == pytest.approx(1 - overlap / 2)


def test_the_part_of_its_range_that_a_class_shares() -> None:
    whole = 2 * 1.959964 * judge.SPREAD
    assert judge.shared(0.0) == 1 and judge.shared(whole) == pytest.approx(0, abs=1e-6)
    assert judge.shared(0.43 * whole) == pytest.approx(0.57, abs=1e-6)
    assert judge.distance(0.399) == pytest.approx(0.43 * whole, abs=2e-3)


@pytest.mark.parametrize("overlap", [0.0, 0.4])
def test_the_limit_of_tracks_is_what_the_best_rule_reaches(overlap: float) -> None:
    two = judge.two_classes(1500, overlap, 5, mixed=False)
    limit = judge.limit_of_tracks(two)
    assert limit <= 1 - overlap / 2 + 1e-3
    seen = judge.log_step(two.tracks) - np.log(judge.DIFFUSION)
    reached = ((seen > two.apart / 2) == two.label).mean()
    assert reached == pytest.approx(limit, abs=0.03)


def test_short_tracks_say_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "POINTS", (4, 5))
    two = judge.two_classes(50, 0.3, 5, mixed=False)
    assert 0.7 < judge.limit_of_tracks(two) < 0.82 < 0.85


def test_a_row_and_its_pictures(tmp_path: Path) -> None:
    row = judge.one_overlap(Segmenter(provider="cpu"), 0.1, 60, 3, 1, "linear", "mixed")
    assert row["limit_D"] == 0.95 and row["limit_track"] is None
    assert 0.6 < row["classifier"] <= 1 and set(judge.MSD) < set(row)
    names = write_report({"mixed: accuracy": [row, row | {"overlap": 0.2}]}, tmp_path)
    assert names == ["figures.json", "mixed.png"]
    assert all((tmp_path / name).stat().st_size for name in names)


def test_tracks_of_others(tmp_path: Path) -> None:
    mdf = tmp_path / "cell.mdf"
    points = "\n".join(f"Point {i} {i}.5 {2 * i} 1.0 {i + 3} 1.0" for i in range(8))
    mdf.write_text(f"MTrackJ 1.4.1 Data File\nTrack 1\n{points}\nTrack 7\n{points}\nEnd\n")
    told = positions.read(mdf)
    assert told.offset.tolist() == [0, 8, 16] and told.ndim == 2
    assert told.point[1].tolist() == [1.0, 2.0, 1.5] and told.frame[8] == 3
    csv = tmp_path / "cell.csv"
    csv.write_text("y,x,frame,trajectory\n1,2,5,0\n3,4,4,0\n9,9,1,-1\n")
    told = positions.read(csv)
    assert told.frame.tolist() == [4, 5] and told.point[0].tolist() == [0, 3, 4]
    facts = report_real_tracks(mdf, 0.1, 0.007, tmp_path / "report")
    assert facts["tracks"] == 2 and facts["failures"] == 0
    assert (tmp_path / "report" / facts["file"]).stat().st_size > 1000


BAD = {
    "no file": ("none.csv", None, "no such file"),
    "no tracks": ("some.csv", "y,x,frame,particle\n1,1,1,-1\n", "holds no tracks"),
    "no ids": ("some.csv", "y,x,frame\n1,1,1\n", "no column trajectory"),
    "no points": ("some.mdf", "MTrackJ\n", "holds no tracks"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_holds_no_tracks_is_refused(name: str, tmp_path: Path) -> None:
    file, text, words = BAD[name]
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=words):
        positions.read(tmp_path / file)


def test_every_real_track_can_be_described(real_data: Path) -> None:
    files = ["nuclear_tracks/cell_14.mdf", "u2os_nls/region_0_7ms_trajs.csv"]
    for file in files:
        facts, features = judge.describe_real(real_data / file, 0.1, 0.007)
        assert facts["failures"] == 0 and len(features) == facts["tracks"] > 500
