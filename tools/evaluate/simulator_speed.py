"""Speed of the track simulator, in tracks per second, with the tracks of the recipes."""

from __future__ import annotations

import time
from typing import Any

from livespt.models.simulate.tracks import Tracks, simulate_tracks

SETS: dict[str, dict[str, Any]] = {
    "deepspt 2d": {"ndim": 2},
    "deepspt 3d": {"ndim": 3},
    "physical 2d": {"variant": "physical", "ndim": 2},
    "physical 3d": {"variant": "physical", "ndim": 3},
    "physical 2d, as a microscope and a linker deliver them": {
        "variant": "physical",
        "gaps": 0.05,
        "wrong_links": 0.002,
        "exposure": 0.8,
        "jitter": 0.1,
    },
}


def evaluate(tracks: int = 2000, threads: int = 1, seed: int = 0) -> dict[str, Any]:
    """Simulate `tracks` tracks of every set, and measure the time.

    Returns
    -------
    dict
        A table with a row for each set: frames per track, tracks per second of elapsed time, and
        per second of processor time, which depends less on other programs.
    """
    table = []
    for name, how in SETS.items():
        simulate_tracks(1, seed, **how)  # compile first
        clock, processor = time.perf_counter(), time.process_time()
        made: Tracks = simulate_tracks(tracks, seed, threads=threads, **how)
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
        table.append(
            {
                "set": name,
                "frames a track": round(len(made.frame) / tracks, 1),
                "tracks per s": round(tracks / clock),
                "tracks per CPU s": round(tracks / processor),
            }
        )
    return {"threads": threads, "tracks": table}
