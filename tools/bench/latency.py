"""Latency: where the time of each frame of a run went, from its `frames` table.

The stages are those that the loop measures while it runs: `localize`, `infer`, `rest` (what else
the analysis of a frame takes: linking, deciding), `analyze` (all three together) and `latency`
(from the camera's hook until the update was published; a replay has none).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError, StoreError
from livespt.stream.store.run import open_run

STAGES = ("localize", "infer", "rest", "analyze", "latency")
PARTS = STAGES[:3]  # they add up to `analyze`
COLOURS = {"localize": "#4477aa", "infer": "#ee6677", "rest": "#ccbb44", "latency": "#222222"}

Times = dict[str, NDArray[np.float64]]


def latency(path: Path, plot: Path | None = None, worst: int = 5) -> dict[str, Any]:
    """Summarize the times of a run's analyzed frames, and draw them.

    Parameters
    ----------
    path : Path
        A run, complete or still being written.
    plot : Path, optional
        PNG to write; by default RUN_latency.png beside the run.
    worst : int
        How many of the slowest frames are listed.

    Returns
    -------
    dict
        `stages`: for each its median, 90th and 99th percentile and greatest time, milliseconds, and
        the time point of that; `worst`: the slowest frames, slowest first; `plot`.

    Raises
    ------
    InputError
        Not a run, or no frame has been analyzed yet.
    StoreError
        The picture cannot be written.
    """
    frames = open_run(path).frames
    frames = frames[frames["analyzed"] > 0]
    if not len(frames):
        raise InputError(f"'{path}' holds no analyzed frame yet: nothing to time")
    times = stage_times(frames)
    plot = plot or path.with_name(f"{path.stem}_latency.png")
    draw(frames["frame"], times, plot, f"{path.name}: {len(frames)} frames")
    return {
        "run": str(path),
        "frames": len(frames),
        "stages": [stage_row(name, times[name], frames["frame"]) for name in STAGES],
        "worst": worst_frames(frames, times, worst),
        "plot": str(plot),
    }


def stage_times(frames: NDArray[np.void]) -> Times:
    """Milliseconds (n,) of each stage; NaN where it was not measured."""
    times = {name: frames[f"{name}_ms"].astype(np.float64) for name in STAGES if name != "rest"}
    times["rest"] = np.maximum(times["analyze"] - times["localize"] - times["infer"], 0)
    return times


def stage_row(name: str, ms: NDArray[np.float64], numbers: NDArray[np.int64]) -> dict[str, Any]:
    """Percentiles of a stage, and the time point `numbers` (n,) at which it took longest."""
    known = np.isfinite(ms)
    if not known.any():
        figures = dict.fromkeys(("median_ms", "p90_ms", "p99_ms", "worst_ms", "worst_frame"))
        return {"stage": name, **figures}
    p50, p90, p99 = np.percentile(ms[known], (50, 90, 99))
    slowest = int(np.nanargmax(ms))
    return {
        "stage": name,
        "median_ms": float(p50),
        "p90_ms": float(p90),
        "p99_ms": float(p99),
        "worst_ms": float(ms[slowest]),
        "worst_frame": int(numbers[slowest]),
    }


def worst_frames(frames: NDArray[np.void], times: Times, count: int) -> list[dict[str, Any]]:
    """The slowest frames by the time of their analysis, slowest first."""
    slowest = np.argsort(-times["analyze"], kind="stable")[:count]
    return [
        {"frame": int(frames["frame"][i]), "spots": int(frames["spots"][i])}
        | {f"{name}_ms": _finite(times[name][i]) for name in STAGES}
        for i in slowest
    ]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def draw(numbers: NDArray[np.int64], times: Times, path: Path, title: str) -> None:
    """Draw the stages over time points (n,) and how they are distributed, into a PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    over_time, shares = figure.subplots(2, 1)
    parts = [np.nan_to_num(times[name]) for name in PARTS]
    over_time.stackplot(
        numbers, parts, labels=PARTS, colors=[COLOURS[name] for name in PARTS], step="mid"
    )
    for name in (*PARTS, "latency"):
        ms = np.sort(times[name][np.isfinite(times[name])])
        if not len(ms):
            continue
        if name == "latency":
            over_time.plot(numbers, times[name], ".", ms=2, color=COLOURS[name], label=name)
        share = 1 - np.arange(len(ms)) / len(ms)
        shares.step(np.maximum(ms, 1e-3), share, where="post", color=COLOURS[name], label=name)
    over_time.set(title=title, xlabel="frame", ylabel="time (ms)", ylim=(0, None))
    shares.set(xscale="log", yscale="log", xlabel="time (ms)", ylabel="share of frames above")
    for axes in (over_time, shares):
        axes.legend(frameon=False)
    try:
        figure.savefig(path, dpi=120, format="png")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{path} cannot be written ({reason}): give another --plot") from error
