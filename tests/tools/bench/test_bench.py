"""The benchmark: who works when, what is counted, compared and refused. Speed is never judged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livespt.stream.errors import LiveSptError, SettingError
from livespt.tools.bench import floor, inputs, load, rows, table, turns, worker
from livespt.tools.bench.bench import Choices, bench
from livespt.tools.bench.holding import Bounds, holding_rates, holds
from livespt.tools.bench.turns import BuildWorker, Side, TurnPlan, Unable, take_turns
from livespt.tools.cli import main
from livespt.tools.overlay.opengl import opengl

# a build that notes when it works; JOB's `folder` lies in the folder of the log
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from livespt.tools.bench.worker import Skipped, serve

def count(job, turns):
    log = Path(job["folder"]).parent / "log"
    for k in turns:
        with log.open("a") as file:
            file.write(job["who"] + " " + str(k) + chr(10))
        rows = np.zeros(1, [("k", "i8"), ("who", "S1")])
        rows["k"], rows["who"] = k, job["who"]
        turns.add("rows", rows)
        print("not an answer")

def skip(job, turns):
    raise Skipped("nothing to draw with")

def die(job, turns):
    for k in turns:
        raise ValueError("bad luck")

if __name__ == "__main__":
    who = sys.argv.pop(1)
    serve({"count": lambda job, turns: count({**job, "who": who}, turns),
           "skip": skip, "die": die}, ("numpy",))
"""


@pytest.fixture
def sides(tmp_path: Path) -> list[Side]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    return [Side(f"build {who}", (sys.executable, "-P", str(script), who)) for who in "ab"]


def worked(folder: Path) -> list[tuple[str, int]]:
    """Who worked on which frame, in this order."""
    lines = (folder / "log").read_text().splitlines()
    return [(who, int(k)) for who, k in map(str.split, lines)]


def test_builds_take_turns_and_the_order_turns_round(tmp_path: Path, sides: list[Side]) -> None:
    plan = TurnPlan(pairs=5, frames=3, warm_up=2, launches=2)
    series = take_turns(sides, {"job": "count"}, tmp_path, plan)
    log = worked(tmp_path)
    # a process begins at frame 0; who worked from the end of the warm-up to the tail
    measured = [[], []]  # type: list[list[str]]
    for launch, pairs in enumerate((2, 3)):
        each = 2 + 3 * pairs + 3  # the tail is no longer than a chunk
        part, log = log[: 2 * each], log[2 * each :]
        assert sorted(part) == sorted((who, k) for who in "ab" for k in range(each))
        measured[launch] = [who for who, k in part if 2 <= k < each - 3]
    assert not log
    assert "".join(measured[0]) == "aaabbbbbbaaa"
    assert "".join(measured[1]) == "aaabbbbbbaaaaaabbb"
    assert series[0].order == [0, 1, 0, 1, 0] and series[1].order == [1, 0, 1, 0, 1]
    assert all(len(one.cpu_ms) == 5 and len(one.digests) == 2 for one in series)


def test_results_are_compared_by_the_fields_that_both_have(
    tmp_path: Path, sides: list[Side]
) -> None:
    plan = TurnPlan(pairs=1, frames=2, warm_up=2)
    alike = take_turns([sides[0], sides[0]], {"job": "count"}, tmp_path, plan)
    assert turns.differing(*alike) == []
    ours, theirs = take_turns(sides, {"job": "count"}, tmp_path, plan)
    assert turns.differing(ours, theirs) == ["rows.who"]
    fewer = theirs._replace(digests=[{"rows.k": theirs.digests[0]["rows.k"], "rows.new": "1"}])
    assert turns.differing(ours, fewer) == []
    nothing = theirs._replace(digests=[{"other.k": "1"}])
    assert turns.differing(ours, nothing) == ["other.k", "rows.k", "rows.who"]


def test_a_side_that_cannot_or_dies_is_told_by_name(tmp_path: Path, sides: list[Side]) -> None:
    plan = TurnPlan(pairs=1, frames=1, warm_up=1)
    with pytest.raises(Unable, match="nothing to draw with"):
        take_turns(sides, {"job": "skip"}, tmp_path, plan)
    with pytest.raises(LiveSptError, match=r"build a ended with code 1: ValueError: bad luck"):
        take_turns(sides, {"job": "die"}, tmp_path, plan)
    missing = Side("build c", (str(tmp_path / "python"),))
    with pytest.raises(SettingError, match=r"does not start \(No such file"):
        take_turns([missing], {"job": "count"}, tmp_path, plan)


JOBS = ("localizer-100", "linker-100", "states-100", "replay-512-100", "overlay-5000")


@pytest.mark.parametrize("name", JOBS)
def test_a_build_beside_itself_gives_the_same_results(name: str) -> None:
    lines: list[str] = []
    choices = Choices(Path(sys.executable), (name,), pairs=1, frames=4, others=False)
    found = bench(choices, other_load=lambda: 0.2, say=lines.append)
    (row,) = found["rows"]
    assert row["row"] == name
    if "skipped" in row:
        assert name == "overlay-5000" and opengl().backend is None
        return
    assert row["results"] == "equal" and row["differing"] == []
    assert row["orders"] == [0]
    assert np.array(row["pairs"]).shape == (1, 2) and np.all(np.array(row["pairs"]) > 0)
    assert row["least"] <= row["ratio"] <= row["greatest"]
    assert row["floor_ms"] > 0
    assert "both sides run the same files" in found["notes"][0]
    header, line = lines
    assert header.split()[:4] == ["row", "frames", "this_ms", "other_ms"]
    assert line.split()[0] == name and len(line) == len(header)
    assert table.tail(found)[-1].startswith("note")
    json.dumps(found)


def test_one_build_alone_has_no_other_columns(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "found.json"
    words = "bench --rows linker-100 --pairs 1 --frames 1 --busy --no-others --json"
    assert main.run([*words.split(), str(path)]) == 0
    found = json.loads(path.read_text())
    assert [row["row"] for row in found["rows"]] == ["linker-100"]
    assert "ratio" not in found["rows"][0]
    out = capsys.readouterr().out
    assert "linker-100" in out and "other_ms" not in out and "GFLOP/s" in out


def test_other_load_is_refused_before_anything_runs() -> None:
    lines: list[str] = []
    with pytest.raises(SettingError, match=r"0\.21 of a core.*--busy"):
        bench(Choices(), other_load=lambda: 0.21, say=lines.append)
    assert lines == []


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (Choices(rows=("replya",)), "did you mean 'replay'"),
        (Choices(against=Path("no/python")), "no/python is no Python"),
    ],
)
def test_what_is_not_there_is_refused(choices: Choices, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        bench(choices, other_load=lambda: 0.0, say=lambda text: None)


def test_rows_are_chosen_by_name_or_job() -> None:
    assert [row.name for row in rows.chosen(["linker", "states-100"])] == [
        "linker-100", "linker-1000", "states-100",
    ]  # fmt: skip
    assert rows.chosen([]) == list(rows.ROWS)
    names = [row.name for row in rows.ROWS]
    assert len(set(names)) == len(names)
    assert {row.job for row in rows.ROWS} == worker.JOBS.keys()


@pytest.mark.parametrize("name", worker.NAMES)
def test_this_build_has_every_name(name: str) -> None:
    assert worker.need(name) is not None


def test_names_are_found_at_the_first_place_that_is_there(monkeypatch: Any) -> None:
    from livespt.stream.types import Frame

    places = ("stream.nowhere.deep:Frame", "stream.errors:Frame", "stream.types:Frame")
    monkeypatch.setitem(worker.NAMES, "Frame", places)
    assert worker.need("Frame") is Frame
    monkeypatch.setitem(worker.NAMES, "Frame", places[:2])
    with pytest.raises(worker.Skipped, match=r"stream\.nowhere\.deep:Frame"):
        worker.need("Frame")


BURN = "import time\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ninput()"


@pytest.mark.skipif(not load.STAT.exists(), reason="living children are counted on Linux")
def test_time_of_living_children_counts() -> None:
    before = worker.cpu_s()
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", BURN], stdin=pipe, stdout=pipe) as child:
        assert child.stdout is not None
        child.stdout.readline()
        living = worker.cpu_s()
        child.communicate(b"\n")
    assert living - before >= 0.35  # whole hundredths are counted
    assert worker.cpu_s() >= living - 0.02


@pytest.mark.skipif(not load.STAT.exists(), reason="the system does not tell")
def test_other_load_lies_between_nothing_and_all_cores() -> None:
    assert 0 <= load.other_load() <= (os.cpu_count() or 1) + 0.1


def test_a_movie_runs_to_its_end_and_back() -> None:
    assert [worker.back_and_forth(k, 4) for k in range(9)] == [0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert [worker.back_and_forth(k, 1) for k in range(3)] == [0, 0, 0]


def test_inputs_are_the_same_every_time_and_as_described(tmp_path: Path) -> None:
    row = rows.Row("small", "localizer", 64, 3)
    for name in ("one.npy", "two.npy"):
        inputs.make(row, tmp_path / name)
    one, two = (np.load(tmp_path / name) for name in ("one.npy", "two.npy"))
    assert one.shape == (inputs.FRAMES, 64, 64) and one.dtype == np.uint16
    assert np.array_equal(one, two)
    image = inputs.light(np.array([[20.0, 30.25], [0.0, 63.0]]), 64)
    assert np.unravel_index(image.argmax(), image.shape) in ((20, 30), (0, 63))
    assert image[20, 30] == pytest.approx(
        inputs.BACKGROUND + inputs.PEAK * np.exp(-(0.25**2) / (2 * inputs.SIGMA_PX**2))
    )
    assert image[40, 40] == inputs.BACKGROUND


def test_operations_are_those_of_the_layers() -> None:
    cells = 128 * 128
    layers = 8 * 8 * 16 + 3 * (16 * 3 * 3 * 16) + 16 * 3  # of `fast`: stride 4, 16 channels
    noise = 3 * 3 * 3  # three masks measure the noise and the level
    assert floor._localizer_flop(512) == 2 * cells * (layers + noise)
    gemm = {"op_name": "Gemm", "input_type_shape": [{"float": [16, 160]}, {"float": [64]}]}
    assert floor.node_flop(gemm | {"output_type_shape": [{"float": [16, 64]}]}) == 2 * 16 * 64 * 160
    assert floor.node_flop({"op_name": "Relu"}) == 0


def test_the_matrix_product_is_one() -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        floor.matrix_product(200), providers=["CPUExecutionProvider"]
    )
    a, b = np.random.default_rng(0).normal(size=(2, 200, 200)).astype(np.float32)
    np.testing.assert_allclose(session.run(None, {"a": a, "b": b})[0], a @ b, atol=1e-3)


def test_frames_are_paced_and_the_run_goes_on(tmp_path: Path) -> None:
    row = rows.chosen(["replay-512-100"])[0]
    inputs.make(row._replace(side=64, n=3), tmp_path / "inputs.npy")
    job = {"job": "replay", "inputs": str(tmp_path / "inputs.npy"), "folder": str(tmp_path)}
    side = Side("this build", (sys.executable, "-P", str(worker.__file__)))
    with BuildWorker(side, job) as one:
        one.hear()
        paced = one.ask(frames=4, rate_hz=200.0, most_behind=1000)
        assert paced["passed"] == 4
        assert one.ask(frames=2)["wall_s"] > 0
        assert "spots.x" in one.ask(end=True)["digests"]
    from livespt.stream.store.run import open_run

    assert list(open_run(tmp_path / "run.zarr").frames["number"]) == list(range(6))


def test_a_rate_is_held_by_all_frames_at_level_0_and_close_behind() -> None:
    good = {"passed": 10, "behind": 3, "level": 0}
    assert holds(good, 10)
    for worse in ({"passed": 9}, {"behind": 4}, {"level": 1}):
        assert not holds(good | worse, 10)
    assert Bounds(0.0, 100.0).next_rate(100.0) == pytest.approx(50.0)
    assert Bounds(40.0, 90.0).next_rate(100.0) == pytest.approx(60.0)


def test_rates_are_bisected_side_by_side(tmp_path: Path, sides: list[Side]) -> None:
    found = holding_rates(sides, {"job": "count"}, tmp_path, frames=3, warm_up=2, tries=2)
    assert len(found) == 2
    assert all(bounds.held < bounds.missed for bounds in found)
