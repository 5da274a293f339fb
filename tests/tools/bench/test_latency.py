"""Where the time of a run went: percentiles, the slowest frames, a picture."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from build import make_frame, make_start, make_update
from livespt.stream.errors import InputError, StoreError
from livespt.stream.store.run import RunWriter, create_run
from livespt.stream.types import SPOT, Stop, Timings
from livespt.tools.bench.latency import latency
from livespt.tools.cli import main

START = make_start(mode="live")
N = 101
SLOW = 40  # the frame that took longest


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run whose frame k took 1 ms to localize and k / 10 ms to infer; one more was skipped."""
    path = tmp_path / "a.zarr"
    writer = RunWriter(path, START)
    for k in range(N + 1):
        frame = make_frame(k, t=2 * k)
        writer.add_frame(frame)
        if k == N:
            break
        infer = 50.0 if k == SLOW else k / 10
        timings = Timings(1.0, infer, infer + 3.0, 20.0 if k % 2 else float("nan"))
        writer.commit(frame, make_update(frame, np.zeros(k % 3, SPOT), timings=timings))
    writer.close(Stop("r", "complete"))
    return path


def test_percentiles_and_slowest_frames(run: Path) -> None:
    found = latency(run, worst=2)
    assert found["frames"] == N
    stages = {row["stage"]: row for row in found["stages"]}
    assert stages["localize"]["median_ms"] == stages["localize"]["p99_ms"] == 1.0
    assert stages["rest"]["median_ms"] == pytest.approx(2.0, abs=1e-5)
    infer = np.arange(N) / 10
    infer[SLOW] = 50
    for name, share in (("median_ms", 50), ("p90_ms", 90), ("p99_ms", 99)):
        expected = np.percentile(infer, share)
        assert stages["infer"][name] == pytest.approx(expected, rel=1e-6)
        assert stages["analyze"][name] == pytest.approx(expected + 3, rel=1e-6)
    assert stages["analyze"]["worst_ms"] == 53.0
    assert stages["analyze"]["worst_frame"] == 2 * SLOW
    assert stages["latency"]["median_ms"] == 20.0
    assert [row["frame"] for row in found["worst"]] == [2 * SLOW, 2 * (N - 1)]
    assert found["worst"][0]["spots"] == SLOW % 3 and found["worst"][0]["latency_ms"] is None


def test_the_picture_shows_the_stages(run: Path) -> None:
    plot = Path(latency(run)["plot"])
    assert plot == run.with_name("a_latency.png")
    image = matplotlib.image.imread(plot)[..., :3]
    for colour in ("#4477aa", "#ee6677", "#ccbb44"):
        wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        assert (np.abs(image - wanted).max(axis=2) < 0.02).sum() > 50, colour


def test_the_command(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["latency", str(run), "--plot", str(tmp_path / "p.png"), "--worst", "3"]
    assert main.run([*words, "--json", str(tmp_path / "found.json")]) == 0
    out = capsys.readouterr().out
    assert "localize" in out and "worst_frame" in out and (tmp_path / "p.png").exists()
    found = json.loads((tmp_path / "found.json").read_text())
    assert len(found["worst"]) == 3 and found["stages"][0]["stage"] == "localize"


def test_what_cannot_be_timed_is_refused(run: Path, tmp_path: Path) -> None:
    create_run(tmp_path / "empty.zarr", START)
    with pytest.raises(InputError, match="no analyzed frame yet"):
        latency(tmp_path / "empty.zarr")
    with pytest.raises(InputError):
        latency(tmp_path)
    with pytest.raises(StoreError, match="give another --plot"):
        latency(run, plot=tmp_path / "no" / "such.png")


def test_a_replay_has_no_latency(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "a.zarr", START)
    frame = make_frame(0)
    writer.add_frame(frame)
    writer.commit(frame, make_update(frame, timings=Timings(1.0, 1.0, 3.0)))
    writer.close(Stop("r", "complete"))
    found = latency(tmp_path / "a.zarr")
    assert found["stages"][-1] == {
        "stage": "latency", "median_ms": None, "p90_ms": None, "p99_ms": None, "worst_ms": None,
        "worst_frame": None,
    }  # fmt: skip
