"""Benchmark: CPU a frame of this build, beside another build, other programs and the floor.

*CPU a frame* is the user and system time of all processes of a job over its frames, after frames
that warm it up. Time of the clock is measured for the holding rate alone.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livespt.stream.errors import SettingError, StoreError
from livespt.tools.bench import floor, holding, inputs, load, others, table, turns, worker
from livespt.tools.bench.rows import Row, chosen
from livespt.tools.bench.turns import Series, Side, TurnPlan, Unable
from livespt.tools.progress import Progress

PAIRS, FRAMES, LAUNCHES = 10, 200, 5
QUICK_PAIRS, QUICK_FRAMES, QUICK_LAUNCHES = 4, 40, 2
OTHERS_SHARE = 0.1  # frames of a chunk beside programs that take ten to fifty times as long
ROOM_BYTES = 8 << 30  # that inputs and runs may need at once
SCRIPT = Path(worker.__file__)


@dataclass(frozen=True)
class Choices:
    """What a person may choose.

    Attributes
    ----------
    against : Path, optional
        Python of the environment that the other build is installed in.
    rows : sequence of str
        Names of rows or jobs; empty: all.
    pairs, frames : int, optional
        Pairs of chunks, and frames of a chunk.
    quick : bool
        A look within minutes: fewer pairs, frames and processes.
    busy : bool
        Measure although other programs run.
    others : bool
        Measure other programs too.
    holding : bool
        Also find the rate that replays hold.
    """

    against: Path | None = None
    rows: Sequence[str] = ()
    pairs: int | None = None
    frames: int | None = None
    quick: bool = False
    busy: bool = False
    others: bool = True
    holding: bool = False

    def plan(self, row: Row) -> TurnPlan:
        """How much of a row is measured."""
        pairs = self.pairs or (QUICK_PAIRS if self.quick else PAIRS)
        frames = self.frames or (QUICK_FRAMES if self.quick else FRAMES)
        launches = min(QUICK_LAUNCHES if self.quick else LAUNCHES, pairs)
        chunk = max(1, round(frames * row.share))
        return TurnPlan(pairs, chunk, min(chunk, frames), launches)


def bench(
    choices: Choices,
    *,
    other_load: Callable[[], float] = load.other_load,
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Measure the rows that were chosen.

    Parameters
    ----------
    choices : Choices
    other_load : callable
        Cores that other programs keep busy.
    say : callable
        Takes lines as they are found.

    Returns
    -------
    dict
        `sides` (where each build lies, versions), `notes`, `machine` (speeds of the floor), `rows`
        (each with `pairs`, the CPU a frame of every chunk), `beside` and `holding`.

    Raises
    ------
    SettingError
        There is no such row or Python, or other programs run.
    StoreError
        There is no room for the runs that replays write.
    LiveSptError
        A process of a build ended where it should not.
    """
    rows = chosen(choices.rows)
    if not choices.busy:
        load.check_quiet(other_load)
    sides = [Side("this build", (sys.executable, "-P", str(SCRIPT)))]
    if choices.against is not None:
        sides.append(Side("the other build", (_python(choices.against), "-P", str(SCRIPT))))
    speeds = floor.machine()
    found: dict[str, Any] = {"sides": {}, "notes": [], "machine": speeds._asdict()}
    found |= {"rows": [], "beside": [], "holding": []}
    say(table.head(len(sides)))
    with tempfile.TemporaryDirectory(prefix="livespt-bench-") as name:
        _check_room(Path(name))
        for row in rows:
            measured = _row(row, sides, choices, Path(name), found)
            if "skipped" not in measured:
                floor_ms = floor.work(row).ms(speeds)
                measured |= {"floor_ms": floor_ms, "over_floor": measured["this_ms"] / floor_ms}
            found["rows"].append(measured)
            say(table.line(measured, len(sides)))
    return found


def _row(
    row: Row, sides: Sequence[Side], choices: Choices, folder: Path, found: dict[str, Any]
) -> dict[str, Any]:
    """Measure one row: the builds, then other programs, then the rate that is held."""
    path = folder / "inputs.npy"
    inputs.make(row, path)
    job = {"job": row.job, "inputs": str(path), "side": row.side, "n": row.n}
    plan = choices.plan(row)
    busy = load.OtherLoad() if load.STAT.exists() else None
    try:
        with Progress(row.name, plan.pairs, "pair") as passed:
            series = turns.take_turns(sides, job, folder, plan, passed)
    except Unable as reason:
        return {"row": row.name, "skipped": str(reason)}
    measured = table.row_result(row.name, plan, series)
    measured["other_load"] = busy() if busy else None
    _note_builds(sides, series, found)
    if choices.others:
        found["beside"] += _beside(row, sides[0], job, folder, plan)
    if choices.holding and row.job == "replay":
        frames = min(holding.FRAMES, plan.pairs * plan.frames)
        rates = holding.holding_rates(sides, job, folder, frames=frames, warm_up=plan.warm_up)
        found["holding"].append(table.holding_result(row.name, frames, rates))
    return measured


def _beside(
    row: Row, ours: Side, job: dict[str, Any], folder: Path, plan: TurnPlan
) -> list[dict[str, Any]]:
    """Other programs at the same job, each in turns with this build."""
    frames = max(1, round(OTHERS_SHARE * plan.frames / row.share / others.BATCH)) * others.BATCH
    results: list[dict[str, Any]] = []
    for name in row.others:
        if (package := others.missing(name)) is not None:
            results.append(table.beside_skipped(row.name, name, f"{package} is not installed"))
            continue
        sides = (ours, Side(name, others.COMMAND, name, frames))
        once = plan._replace(launches=1)  # they take long to start, and cost many times as much
        series = turns.take_turns(sides, job, folder, once)
        results.append(table.beside_result(row.name, name, series))
    return results


def _note_builds(sides: Sequence[Side], series: Sequence[Series], found: dict[str, Any]) -> None:
    """Keep what runs on each side, and note what is no fair comparison."""
    if found["sides"]:
        return
    found["sides"] = {side.name: one.facts for side, one in zip(sides, series, strict=True)}
    if len(series) == 1:
        return
    mine, theirs = (one.facts for one in series)
    if mine["folder"] == theirs["folder"]:
        found["notes"].append(f"both sides run the same files, {mine['folder']}")
    for name, version in mine["versions"].items():
        if (other := theirs["versions"].get(name, "none")) != version:
            found["notes"].append(f"{name} is {version} here and {other} in the other build")


def _python(path: Path) -> str:
    """The interpreter, as it was named: an environment is known by that path."""
    if not path.is_file():
        raise SettingError(
            f"{path} is no Python: give that of the environment that the other build is installed "
            "in, such as other/.venv/bin/python"
        )
    return str(path.absolute())


def _check_room(folder: Path) -> None:
    """Refuse a disk that the runs of a replay do not fit on."""
    free = shutil.disk_usage(folder).free
    if free < ROOM_BYTES:
        raise StoreError(
            f"{folder} has {free / 1e9:.1f} GB of room and runs of {ROOM_BYTES / 1e9:.1f} GB are "
            "written there: make room, or name another folder in TMPDIR"
        )
