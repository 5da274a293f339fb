"""Soak: a live run at full rate for a long time: nothing may be lost, grow, or slow down.

A simulated camera (100 frames/s of 256 x 256, 200 particles) goes through the real path. Memory and
open files of its three processes are read all the while; the latency from camera to published of
the first minutes is set against that of the last. What runs beside it on the machine counts, too.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.microscope.hook import Put
from livespt.acquisition.microscope.microscope import Acquired
from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.stream.store.run import open_run
from livespt.stream.store.verify import verify
from livespt.tools.chaos.kill_checks import FREE, camera
from livespt.tools.runs.live import record
from livespt.tools.runs.options import Facts, Options

HZ, SHAPE, PARTICLES = 100.0, (256, 256), 200
MOVIE = 400  # frames, shown forwards and backwards again and again: no particle ever jumps
WARM_UP, PART = 0.1, 0.1  # shares of the time: before figures are taken, and of the first and last
SAMPLE_S = 2.0
GROWTH, SLOWER = 0.02, 1.2  # promised: of memory an hour, of the p99 latency
PROC = Path("/proc")


def run(times: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Run for `times` minutes.

    Returns
    -------
    dict
        frames: sent, stored, analyzed, skipped and reported, and `unaccounted`; memory and open
        files of each process; p50 and p99 latency in ms of the first and the last tenth after the
        warm-up; files and GB of the run; faults that `verify` finds; what was `held`.
    """
    sampler = Sampler()
    path, n = folder / "soak.zarr", int(60 * times * HZ)
    room = shutil.disk_usage(folder).free
    frames = images()
    if room < 2 * n * frames[0].nbytes:
        n = int(room / (2 * frames[0].nbytes))
        say(f"the disk has room for {n / HZ / 60:.0f} minutes")

    def acquire(put: Put) -> Acquired:
        sampler.start()
        for count in camera(put, frames, lambda: count_of[0] >= n, HZ):
            count_of[0] = count
            if count % int(60 * HZ) == 0:
                say(f"{count / HZ / 60:.0f} minutes")
        return Acquired(n, 0, 0, "", False)

    count_of = [0]
    facts = Facts("soak", "yx", SHAPE, frames[0].dtype.str, 0.1, 1 / HZ)
    stop, _ = record(acquire, path, facts, Options(), endpoint=FREE, say=lambda text: None)
    sampler.over.set()
    sampler.join()
    reader = open_run(path)
    rows, files = reader.frames, [p for p in path.rglob("*") if p.is_file()]
    found: dict[str, Any] = {
        "minutes": round(n / HZ / 60, 1),
        "sent": n,
        "stored": reader.n_frames,
        "analyzed": stop.analyzed,
        "skipped": int((rows["analyzed"] == 0).sum()),
        "unaccounted": n - len(rows) + abs(reader.n_frames - len(rows)),
        "spots_a_frame": round(stop.spots / max(stop.analyzed, 1), 1),
        "levels": np.bincount(rows["level"], minlength=4).tolist(),
        **_latency(rows),
        "files": len(files),
        "gigabytes": round(sum(p.stat().st_size for p in files) / 1e9, 2),
        "faults": sum(1 for _ in verify(path)),
    }
    grown = sampler.figures()
    worst = max((row["growth_an_hour"] for row in grown.values()), default=0.0)
    steady = all(row["files_first"] >= row["files_last"] for row in grown.values())
    slower = found["p99_ms"][1] / found["p99_ms"][0]
    found["held"] = not (found["unaccounted"] or found["faults"]) and worst <= GROWTH and steady
    found["late"] = [f"{slower:.2f} times as slow at the end"] if slower > SLOWER else []
    shutil.rmtree(path)
    return {"run": found, "processes": grown}


def images() -> list[NDArray[Any]]:
    """What the camera shows, over and over."""
    viruses = 2 * PARTICLES // 3
    scenario = Scenario(
        3, MOVIE, SHAPE, viruses=viruses, uncoating=0, visitors=PARTICLES - viruses, spacing_px=8.0
    )
    movie = [frame.image for frame in virus_entry(scenario)]
    return movie + movie[-2:0:-1]


def _latency(rows: NDArray[np.void]) -> dict[str, list[float]]:
    """p50 and p99, ms, of the first and the last part of the frames analyzed after the warm-up."""
    known = rows["latency_ms"][(rows["analyzed"] == 1) & np.isfinite(rows["latency_ms"])]
    known = known[int(WARM_UP * len(known)) :]
    size = max(1, int(PART * len(known)))
    ends = known[:size], known[-size:]
    return {
        f"p{q}_ms": [round(float(np.percentile(part, q)), 2) for part in ends] for q in (50, 99)
    }


class Sampler(threading.Thread):
    """Reads memory and open files of this process and of its workers, now and then (Linux)."""

    def __init__(self) -> None:
        super().__init__(name="sampler", daemon=True)
        self.over = threading.Event()
        self._rows: dict[str, list[tuple[float, float, int]]] = {}  # s, bytes, open files

    def run(self) -> None:
        """Sample until it is over."""
        while PROC.is_dir() and not self.over.wait(SAMPLE_S):
            children = {str(p.name): p.pid for p in multiprocessing.active_children()}
            for name, pid in {"livespt-capture": os.getpid(), **children}.items():
                try:
                    memory = int((PROC / str(pid) / "statm").read_text().split()[1])
                    files = len(os.listdir(PROC / str(pid) / "fd"))
                except OSError:  # it has just ended
                    continue
                row = time.monotonic(), memory * float(os.sysconf("SC_PAGE_SIZE")), files
                self._rows.setdefault(name, []).append(row)

    def figures(self) -> dict[str, dict[str, Any]]:
        """Of each process: megabytes, their growth an hour (a straight line), most open files."""
        found = {}
        for name, samples in self._rows.items():
            rows = np.array(samples)[int(WARM_UP * len(samples)) :]
            if len(rows) < 10:
                continue
            slope = np.polyfit(rows[:, 0] - rows[0, 0], rows[:, 1], 1)[0]
            half = len(rows) // 2
            found[name] = {
                "megabytes": round(float(rows[:, 1].mean()) / 1e6, 1),
                "growth_an_hour": round(float(3600 * slope / rows[:, 1].mean()), 4),
                "files_first": int(rows[:half, 2].max()),
                "files_last": int(rows[half:, 2].max()),
            }
        return found
