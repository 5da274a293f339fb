"""Evaluate the linker: quality on simulated scenes compared with other linkers, exactness, speed.

Every linker gets the same coordinates; tracks of a single spot are left out for all. Each linker
has its best search range and memory. The range is the 99.9 % quantile of the true steps of the
particles, times the factor in `FACTORS` with which this linker had the best JSC_theta on
development scenes (`tune`). Their seeds are never used in the evaluation.
"""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.simulate.crowds import DENSITIES, MOTION, CrowdScene, scene, steps
from livespt.stream.errors import SettingError, StoreError
from livespt.stream.link.offline import link_points
from livespt.tools.evaluate import linker_checks as checks, other_linkers
from livespt.tools.evaluate.other_linkers import Linked
from livespt.tools.score.tracks import TrackPoints, mistakes, score, without_short

UNSEEN = 20_000  # seeds of evaluation scenes start at 100 times this
# missed frames that are bridged; with 3, trackpy and btrack are worse
MEMORY = {"livespt": 3, "trackpy": 2, "laptrack": 2, "btrack": 2, "btrack_brownian": 2}
ERRORS = (0.05, 0.10)  # shares of missed localizations, and equally of false ones
TRIED_FACTORS = (1.0, 1.25, 1.5, 2.0, 2.5)
LEVELS = ("low", "medium", "high")
MOVIES = (4, 1, 1)  # movies at each density; with few particles, one exchange weighs much
FRAMES = (100, 60, 40)  # frames of a movie at each density, fewer because laptrack becomes slow
SETTINGS: dict[str, Any] = {"motion": "auto"}  # settings of our linker
# factors of the 99.9 % quantile of steps, at low, medium and high density
FACTORS: dict[str, dict[str, tuple[float, float, float]]] = {
    "livespt": {
        "vesicles": (1.25, 1.0, 2.0),
        "receptors": (1.0, 1.0, 1.25),
        "viruses": (1.25, 1.0, 1.25),
        "microtubules": (1.0, 1.0, 1.0),
    },
    "trackpy": {
        "vesicles": (1.25, 1.25, 1.0),
        "receptors": (2.0, 1.5, 1.5),
        "viruses": (2.0, 1.5, 1.5),
        "microtubules": (2.0, 2.5, 2.0),
    },
    "laptrack": {
        "vesicles": (2.5, 1.25, 1.25),
        "receptors": (2.5, 2.0, 1.5),
        "viruses": (2.5, 2.0, 1.5),
        "microtubules": (2.5, 2.0, 2.0),
    },
    "btrack": {
        "vesicles": (2.5, 2.5, 2.5),
        "receptors": (2.5, 2.5, 2.5),
        "viruses": (2.5, 2.0, 2.0),
        "microtubules": (1.25, 1.25, 1.25),
    },
    "btrack_brownian": {
        "vesicles": (1.25, 1.0, 1.0),
        "receptors": (1.5, 1.0, 1.0),
        "viruses": (1.25, 1.0, 1.0),
        "microtubules": (1.5, 1.5, 1.5),
    },
}
REFINED = "livespt_refine"  # our linker with links reconsidered after `checks.REFINE` frames
OURS = ("livespt", REFINED)
MEMORY[REFINED], FACTORS[REFINED] = MEMORY["livespt"], FACTORS["livespt"]
MEASURES = ("jsc_theta", "alpha", "beta", "jsc")
PERFECT = "(perfect links)"


def ours(
    frame: NDArray[np.int64], points: NDArray[np.float64], search_range: float, memory: int
) -> NDArray[np.int64]:
    """Track of each point, by the linker of livespt with its motion model."""
    return link_points(frame, points, search_range, memory, **SETTINGS)


def refined(
    frame: NDArray[np.int64], points: NDArray[np.float64], search_range: float, memory: int
) -> NDArray[np.int64]:
    """Track of each point, by the same linker with reconsidered links."""
    return link_points(frame, points, search_range, memory, refine=checks.REFINE, **SETTINGS)


def linkers(judges: bool = True) -> dict[str, Linked]:
    """All linkers that are compared, with ours first."""
    return {"livespt": ours, REFINED: refined} | (other_linkers.available() if judges else {})


def scores_of(name: str, linker: Linked, movie: CrowdScene, search_range: float) -> dict[str, Any]:
    """Scores of the tracks of one linker in one scene."""
    begin = time.process_time()
    track = linker(movie.frame, movie.point, search_range, MEMORY.get(name, 0))
    spent = time.process_time() - begin
    track = without_short(track)
    true = TrackPoints(movie.true_frame, movie.true_point, movie.true_particle)
    wrong = mistakes(movie.frame, movie.particle, track)
    return {
        "linker": name,
        "range_px": search_range,
        **score(true, TrackPoints(movie.frame, movie.point, track))._asdict(),
        "switches": wrong.switches,
        "wrong_links": wrong.wrong,
        "tracks": wrong.tracks,
        "cpu_s": spent,
    }


def largest_step(movie: CrowdScene) -> float:
    """The 99.9 % quantile of the steps of localized particles, px."""
    return float(np.quantile(np.linalg.norm(steps(movie), axis=1), 0.999))


def cell(
    scenario: str, level: int, errors: float, seed: int, frames: int | None, judges: bool
) -> list[dict[str, Any]]:
    """All linkers on `MOVIES[level]` scenes of a kind; the first row is that of perfect links."""
    density = DENSITIES[scenario][level]
    rows: dict[str, list[dict[str, Any]]] = {}
    for number in range(MOVIES[level]):
        length = frames or FRAMES[level]
        unseen = 100 * seed + number
        movie = scene(scenario, density, unseen, missed=errors, false=errors, frames=length)
        reach = largest_step(movie)
        truth = partial(_truth, movie)
        rows.setdefault(PERFECT, []).append(scores_of(PERFECT, truth, movie, reach))
        for name, linker in linkers(judges).items():
            found = scores_of(name, linker, movie, FACTORS[name][scenario][level] * reach)
            rows.setdefault(name, []).append(found)
    where = {"scenario": scenario, "particles": density, "errors": errors}
    return [where | _pooled(found) for found in rows.values()]


def _truth(movie: CrowdScene, *_: Any) -> NDArray[np.int64]:
    return movie.particle


def _pooled(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Means of scores and ranges over movies, and sums of counts and times."""
    mean = ("range_px", *MEASURES)
    total = ("switches", "wrong_links", "tracks", "cpu_s")
    return (
        {"linker": rows[0]["linker"]}
        | {key: float(np.mean([row[key] for row in rows])) for key in mean}
        | {key: sum(row[key] for row in rows) for key in total}
    )


def compared(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row per kind of scene: JSC_theta and id switches of all, and where ours is not the best."""
    table = []
    cells = {(row["scenario"], row["particles"], row["errors"]) for row in rows}
    order = list(MOTION)
    for key in sorted(cells, key=lambda key: (order.index(key[0]), key[1], key[2])):
        here = [r for r in rows if (r["scenario"], r["particles"], r["errors"]) == key]
        by = {row["linker"]: row for row in here}
        mine, others = by["livespt"], [r for r in here[1:] if r["linker"] not in OURS]
        line: dict[str, Any] = dict(zip(("scenario", "particles", "errors"), key, strict=True))
        line |= {name: round(row["jsc_theta"], 3) for name, row in by.items()}
        line["switches"] = "/".join(str(row["switches"]) for row in here[1:])
        worse = [
            f"{measure} ({row['linker']})"
            for row in others
            for measure in (*MEASURES, "switches")
            if (mine[measure] - row[measure]) * (-1 if measure == "switches" else 1) < -5e-4
        ]
        line["worse in"] = ", ".join(worse) or None
        table.append(line)
    return table


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over all kinds of scenes, and the lead of our linker in JSC_theta."""
    names = list(dict.fromkeys(row["linker"] for row in rows))
    mean = {
        name: {m: float(np.mean([r[m] for r in rows if r["linker"] == name])) for m in MEASURES}
        for name in names
    }
    switches = {name: sum(r["switches"] for r in rows if r["linker"] == name) for name in names}
    return [
        {"linker": name}
        | {measure: round(value, 4) for measure, value in mean[name].items()}
        | {
            "switches": switches[name],
            "ahead_points": round(
                100 * (mean["livespt"]["jsc_theta"] - mean[name]["jsc_theta"]), 2
            ),
        }
        for name in names
    ]


def evaluate(
    judges: bool = True,
    scenarios: tuple[str, ...] = (),
    frames: int | None = None,
    trackmate: Path | None = None,
    length: int = 100_000,
    report: Path | None = None,
) -> dict[str, Any]:
    """Evaluate the linker.

    Parameters
    ----------
    judges : bool
        Also run the other linkers that are installed, which takes most of the time.
    scenarios : tuple of str
        Scenarios of crowds.py; empty: all four.
    frames : int, optional
        Frames of each movie; default: `FRAMES`.
    trackmate : Path, optional
        Folder of tables of TrackMate, whose links are compared.
    length : int
        Frames of the run in which the cost per frame is measured.
    report : Path, optional
        Folder for `linker.json` and `linker.csv`, which hold every figure of every scene.
    """
    other_linkers.need("scipy")  # pairs tracks
    for name in scenarios:
        if name not in MOTION:
            raise SettingError(f"no scenario '{name}': choose one of {', '.join(MOTION)}")
    if report is not None:
        _folder(report)
    rows = []
    for index, (scenario, level) in enumerate((s, k) for s in MOTION for k in range(3)):
        for errors in ERRORS if not scenarios or scenario in scenarios else ():
            rows += cell(scenario, level, errors, UNSEEN + index, frames, judges)
    result: dict[str, Any] = {"quality": compared(rows), "mean": summary(rows)}
    if judges:
        result["linkers"] = other_linkers.versions()
        result["exact"] = checks.exactness()
    if trackmate is not None:
        result["trackmate"] = checks.trackmate(trackmate)
    result |= {
        "speed": checks.speed(with_trackpy=judges, **SETTINGS),
        "subnets": checks.subnets(),
        "long run": checks.slope(length, **SETTINGS),
        "restart": checks.restart(**SETTINGS),
        "bad input": checks.bad_input(**SETTINGS),
    }
    if report is not None:
        _write(report, rows, result)
    return result


def tune(seed: int = 1) -> dict[str, Any]:
    """Search for `FACTORS`: JSC_theta of every linker at every factor, on development scenes."""
    other_linkers.need("scipy")
    table = []
    for level, frames in enumerate(FRAMES):
        for scenario in MOTION:
            movie = scene(scenario, DENSITIES[scenario][level], seed, frames=frames)
            reach = largest_step(movie)
            for name, linker in linkers().items():
                if name == REFINED:  # it has the same range as our linker
                    continue
                found = [
                    scores_of(name, linker, movie, f * reach)["jsc_theta"] for f in TRIED_FACTORS
                ]
                line = {"scenario": scenario, "density": LEVELS[level], "linker": name}
                line |= {
                    f"{f}": round(value, 3) for f, value in zip(TRIED_FACTORS, found, strict=True)
                }
                table.append(line | {"best": TRIED_FACTORS[int(np.argmax(found))]})
    return {"tune": table}


def _folder(report: Path) -> None:
    try:
        report.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make the folder '{report}': {error}") from error


def _write(report: Path, rows: list[dict[str, Any]], result: dict[str, Any]) -> None:
    lines = [",".join(rows[0])]
    lines += [",".join("" if v is None else str(v) for v in row.values()) for row in rows]
    try:
        (report / "linker.csv").write_text("\n".join(lines) + "\n")
        (report / "linker.json").write_text(json.dumps({"cells": rows} | result, indent=2) + "\n")
    except OSError as error:
        raise StoreError(f"cannot write into '{report}': {error}") from error
