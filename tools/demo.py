"""`livespt demo`: simulated virus entry, played by a camera in the real Micro-Manager core.

The truth never reaches the analyzer, which receives only the frames from core, pycromanager and
hook. Its results are then compared with the truth and printed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livespt.stream.errors import StoreError
from livespt.stream.host.atomic_files import Durability
from livespt.stream.link.corrections import corrected
from livespt.stream.store.run import open_run
from livespt.tools.runs.live import check_free, record, speed
from livespt.tools.runs.options import Facts, Options

if TYPE_CHECKING:
    from livespt.acquisition.simulated import SimulatedMovie


def demo(
    options: Options,
    *,
    out: Path,
    headless: bool,
    seed: int,
    frames: int | None,
    endpoint: str,
    keys: Path | None = None,
    durability: Durability = "second",
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run the demo into the folder `out`; return the content of `out/summary.json`."""
    from livespt.acquisition.microscope.connect import simulated_microscope
    from livespt.acquisition.simulated import Scenario, virus_entry
    from livespt.tools.overlay.canvas import render_run

    run = out / "run.zarr"
    if run.exists():
        raise StoreError(f"'{run}' exists already: choose another --out")
    check_free(endpoint, keys)
    scenario = Scenario(seed=seed)
    if frames is not None:
        scenario = replace(scenario, n_frames=frames)
    say(f"simulating {scenario.n_frames} frames of virus entry (seed {seed})")
    movie = virus_entry(scenario)
    images = [movie.frame(i) for i in range(len(movie))]
    out.mkdir(parents=True, exist_ok=True)
    facts = Facts(
        source=f"simulated virus entry, seed {seed}",
        axes=movie.axes,
        shape=movie.shape,
        dtype=movie.dtype,
        pixel_size_um=scenario.pixel_size_um,
        frame_interval_s=scenario.frame_interval_s,
    )
    with simulated_microscope(
        images.__getitem__, len(images), movie.shape, movie.dtype, scenario.frame_interval_s
    ) as microscope:
        acquire = partial(microscope.acquire, n_frames=len(images))
        where: dict[str, Any] = {"endpoint": endpoint, "keys": keys, "durability": durability}
        stop, acquired = record(acquire, run, facts, options, say=say, **where)
    if acquired.stopped:
        raise KeyboardInterrupt
    summary = {
        "frames": {
            "sent": acquired.frames,
            "recorded": stop.recorded,
            "analyzed": stop.analyzed,
            "skipped": stop.skipped,
            "lost": stop.lost,
        },
        **score_run(movie, run),
        "speed": speed(open_run(run).frames),
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    say(f"overlay: {render_run(run, out / 'overlay.png')}")
    if not headless:
        _show(run, say)
    return summary


def score_run(movie: SimulatedMovie, run: Path) -> dict[str, Any]:
    """Compare a stored run with the truth of its simulated movie."""
    from livespt.tools.score import movie as score

    found = open_run(run)
    spots, states = (corrected(rows, found.events) for rows in (found.spots, found.states))
    frames = found.frames
    analyzed = frames["frame"][frames["analyzed"] == 1]
    return {
        "detection": score.detection(movie.truth, spots, shape=movie.shape, frames=analyzed),
        "tracks": {
            "purity": score.purity(movie.truth, spots),
            "degraded": int(frames["degraded"].sum()),
        },
        "states": {"accuracy": score.states(movie.truth, spots, states)},
        "uncoating": score.uncoating(movie.truth, found.events, shape=movie.shape),
    }


def lines(summary: dict[str, Any]) -> list[str]:
    """Lines of text for the summary."""
    f, d, u, s = (summary[k] for k in ("frames", "detection", "uncoating", "speed"))
    return [
        f"frames      {f['sent']} sent, {f['recorded']} recorded, {f['analyzed']} analyzed, "
        f"{f['skipped']} skipped, {f['lost']} lost",
        f"detection   recall {d['recall']:.3f}, precision {d['precision']:.3f}, "
        f"RMSE {d['rmse_px']:.3f} px",
        f"tracks      purity {summary['tracks']['purity']:.3f}, "
        f"{summary['tracks']['degraded']} spots linked in dense regions",
        f"states      accuracy {summary['states']['accuracy']:.3f}",
        f"uncoating   {u['true']} true: {u['found']} found, {u['missed']} missed, "
        f"{u['false']} false; delay {u['delay_frames']} frames",
        f"speed       {s['frames_per_s']} frames/s; hook to published p50 {s['p50_ms']} ms, "
        f"p99 {s['p99_ms']} ms",
    ]


def _show(run: Path, say: Callable[[str], None]) -> None:
    """Open the stored run in a window if there is a screen."""
    from livespt.stream.errors import LiveSptError
    from livespt.tools.overlay.watch import watch

    try:
        watch(str(run))
    except LiveSptError as error:
        say(f"note: no window: {error}")
