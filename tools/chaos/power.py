"""Chaos, power cuts: what a run still holds when the machine loses its power at a random moment.

A file system in a file is mounted and a run is written to it. Then its writer is stopped and the
file is copied as it is: what the operating system held in memory only is not in the copy. The copy
is mounted as a machine would after the cut, the run is opened and gone on with, and what is missing
is counted against what was acknowledged to the writer as stored. (The disk here honours a sync; one
that lies about it loses more, whatever a program does.)
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import LiveSptError
from livespt.stream.host.atomic_files import Durability
from livespt.stream.store.frame_log import LogReader
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.movie_reader import MovieReader
from livespt.stream.store.run import create_run, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.store.verify import verify
from livespt.stream.types import EVENT, SPOT, STATE, Frame, Start, Update

START = Start("chaos", "live", "chaos", "yx", (128, 128), "<u2", 0.1, 0.01)
LIMITS: dict[Durability, tuple[float, float]] = {"second": (1.0, 0.1), "frame": (0.0, 0.0)}  # s
IMAGE_MB = 48
ACKNOWLEDGED = np.dtype([("commit", "u1"), ("number", "<i8"), ("at_s", "<f8")])


class Loss(NamedTuple):
    """What one cut took: the age of the oldest frame and commit that are gone, and how many."""

    frames: int
    frames_s: float
    commits: int
    commits_s: float
    wrong: list[str]  # what is there and is not what was written


def exposure(number: int) -> Frame:
    """A frame that only its number makes."""
    image = np.random.default_rng(number).poisson(100, START.shape).astype("<u2")
    return Frame(number, number, 0, 0, 0.01 * number, image)


def product(number: int) -> Update:
    """Rows that only the number makes: 50 spots, some states, an event."""
    tables = []
    for dtype, n in ((SPOT, 50), (STATE, number % 7), (EVENT, 1)):
        rows = np.zeros(n, dtype)
        for name in dtype.names or ():
            rows[name] = (np.arange(n) + number) % 100
        tables.append(rows)
    spots, states, events = tables
    return Update(number, number, 0, 0, 0.01 * number, 0, spots, states, events)


def main(path: str, log: str, durability: Durability) -> None:
    """Write a run at 100 frames a second until stopped; note in `log` what was acknowledged."""
    create_run(path, START, chunk_rows=1024, shard_frames=32)
    movie = MovieWriter(path, START, durability=durability)
    tables = TableWriter(path, segment_bytes=1 << 18, durability=durability)
    notes = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    begin = time.monotonic()
    for number in range(1 << 30):
        frame, update = exposure(number), product(number)
        movie.add_frame(frame)
        os.write(notes, np.array((0, number, time.monotonic()), ACKNOWLEDGED).tobytes())
        tables.commit(frame, update)
        os.write(notes, np.array((1, number, time.monotonic()), ACKNOWLEDGED).tobytes())
        time.sleep(max(0.0, begin + 0.01 * number - time.monotonic()))


def run(times: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Cut the power `times` times at each durability; returns what was lost at most."""
    reason = impossible(folder)
    if reason:
        say(f"power cuts are not tried: {reason}")
        return {"skipped": reason}
    result: dict[str, Any] = {"times": times}
    for durability in LIMITS:
        chance = random.Random(times)
        losses = []
        for k in range(times):
            losses.append(cut_power(folder, durability, chance.uniform(0.5, 4.0)))
            for text in losses[-1].wrong:
                say(f"{durability}, cut {k}: {text}")
        result[durability] = figures = summary(durability, losses)
        say(
            f"{durability}: {times} cuts, at most {figures['frames_lost_s']} s of frames and "
            f"{figures['commits_lost_ms']} ms of events lost, {figures['wrong']} wrong"
        )
    result["held"] = all(result[durability]["held"] for durability in LIMITS)
    return result


def summary(durability: Durability, losses: list[Loss]) -> dict[str, Any]:
    """The worst of the cuts, whether what is left is true, and all of it that must be there.

    How old what was lost may be is a promise about time, `late` where it was not kept.
    """
    frames_s = max(loss.frames_s for loss in losses)
    commits_s = max(loss.commits_s for loss in losses)
    wrong = sum(len(loss.wrong) for loss in losses)
    lost, limits = max(frames_s, commits_s), LIMITS[durability]
    late = frames_s > limits[0] or commits_s > limits[1]
    kept = lost == 0 if durability == "frame" else lost < np.inf  # inf: it cannot be opened
    return {
        "frames_lost_s": round(frames_s, 3),
        "frames_lost": max(loss.frames for loss in losses),
        "commits_lost_ms": round(1000 * commits_s, 1),
        "commits_lost": max(loss.commits for loss in losses),
        "wrong": wrong,
        "held": kept and not wrong,
        "late": [f"{frames_s:.3f} s of frames, {commits_s:.3f} s of events"] if late else [],
    }


def impossible(folder: Path) -> str:
    """Why no file system can be mounted here; empty where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "mounting a file needs root on Linux"
    try:
        with disk(folder / "try.img", folder / "try", make=True):
            return ""
    except (OSError, subprocess.CalledProcessError) as error:
        output = getattr(error, "stderr", b"") or str(error).encode()
        return f"no file can be mounted: {output.decode(errors='replace').strip()}"
    finally:
        (folder / "try.img").unlink(missing_ok=True)


@contextmanager
def disk(image: Path, place: Path, *, make: bool = False) -> Iterator[Path]:
    """A file system in the file `image`, mounted at `place` for a while."""

    def command(*arguments: str | Path) -> None:
        subprocess.run(arguments, check=True, capture_output=True)

    if make:
        with image.open("wb") as file:
            file.truncate(IMAGE_MB << 20)
        command("mkfs.ext4", "-q", "-F", image)
    place.mkdir(exist_ok=True)
    command("mount", "-o", "loop", image, place)
    try:
        yield place
    finally:
        command("umount", place)
        place.rmdir()


def cut_power(folder: Path, durability: Durability, after_s: float) -> Loss:
    """Write for a while, cut the power, inspect what is left."""
    image, copy, log = folder / "disk.img", folder / "copy.img", folder / "log"
    log.unlink(missing_ok=True)
    with disk(image, folder / "disk", make=True) as place:
        code = f"import sys; from {__name__} import main; main(*sys.argv[1:])"
        arguments = [str(place / "run.zarr"), str(log), durability]
        writer = subprocess.Popen([sys.executable, "-c", code, *arguments])
        try:
            _wait_for(log, writer)
            time.sleep(after_s)
            writer.send_signal(signal.SIGSTOP)
            at_s = time.monotonic()
            copy_at_once(image, copy)
        finally:
            writer.kill()
            writer.wait()
    notes = np.fromfile(log, ACKNOWLEDGED)
    with disk(copy, folder / "after") as place:
        loss = inspect_run(place / "run.zarr", notes, at_s)
    image.unlink()
    copy.unlink()
    return loss


def copy_at_once(image: Path, copy: Path) -> None:
    """Copy the file as it was at one moment, though the system may still be writing to it."""
    for _ in range(100):
        shutil.copyfile(image, copy)
        if copy.read_bytes() == image.read_bytes():
            return  # no byte changed between its copy and now
    raise LiveSptError(f"{image} does not come to rest")


def _wait_for(log: Path, writer: subprocess.Popen[bytes]) -> None:
    while not log.exists():
        if writer.poll() is not None:
            raise LiveSptError(f"the writer ended by itself (exit code {writer.returncode})")
        time.sleep(0.01)


def inspect_run(path: Path, notes: NDArray[np.void], at_s: float) -> Loss:
    """Open a run after a cut at `at_s`, go on with it, compare all that is there."""
    wrong: list[str] = []
    frames, commits = notes[notes["commit"] == 0], notes[notes["commit"] == 1]
    try:
        committed = len(open_run(path).events)
        TableWriter(path, resume=True).leave()
        movie = MovieWriter(path, START, resume=True)
        stored = len(movie)
        movie.leave()
        wrong += _compare(path, stored, committed)
        wrong += [f"{fault.where}: {fault.what}" for fault in verify(path)]
    except LiveSptError as error:
        return Loss(len(frames), np.inf, len(commits), np.inf, [*wrong, str(error)])
    lost = [
        int((part["number"] >= n).sum()) for part, n in ((frames, stored), (commits, committed))
    ]
    ages = [
        float(at_s - part["at_s"][-n]) if n else 0.0
        for part, n in zip((frames, commits), lost, strict=True)
    ]
    return Loss(lost[0], ages[0], lost[1], ages[1], wrong)


def _compare(path: Path, stored: int, committed: int) -> Iterator[str]:
    """What is there and is not what was written."""
    reader = MovieReader(path, START)
    reader.poll()
    if len(LogReader(path).poll()) != stored:
        yield f"{stored} frames went on, the log has others"
    for i in range(stored):
        if not np.array_equal(reader.frame(i).image, exposure(i).image):
            yield f"frame {i} is another"
    run = open_run(path)
    for name in ("spots", "states", "events"):
        true = [getattr(product(n), name) for n in range(committed)]
        if not np.array_equal(getattr(run, name), np.concatenate([*true, true[0][:0]])):
            yield f"{name} are others"
