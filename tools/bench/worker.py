"""Worker of `livespt bench`: one job of one build, in turns with the workers of others.

It runs as `PYTHON -P worker.py JOB` in the environment of the build that is measured, this one or
an older one. So it is a script of its own: at the top it imports the standard library and NumPy
alone, and what a job needs of livespt is found by `NAMES`. JOB is a JSON object: `job`, one of
`JOBS`; `inputs`, the `.npy` file that all builds read; `folder`, an empty one to write to.

Orders come as lines of JSON on standard input, and a line of JSON answers each:

    (when it is ready)             {"facts": ...}, or {"skipped": why}
    {"frames": n}                  the n next frames: {"cpu_s": ..., "wall_s": ...}
    {"frames": n, "keep": true}    the same, and their results go into the digests
    {"frames": n, "rate_hz": r, "most_behind": b}
                                   each when it is due: {"passed": ..., "behind": ..., "level": ...}
    {"end": true}                  {"digests": {"table.field": hex}}

Between two orders the process waits in a read of its pipe.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXEL_UM, INTERVAL_S = 0.1, 0.05
PACKAGES = ("numpy", "numba", "zarr", "numcodecs", "pyzmq", "onnxruntime|onnxruntime-gpu", "vispy")
CLOCK_FILE = 4  # index of "file" in `types.CLOCKS`: the times of a recording

# after the last frame of an order: steps in which a process at rest uses less than this share
QUIET_STEPS, QUIET_STEP_S, QUIET_SHARE = 50, 0.02, 0.1

# Each name that a job needs, and where builds have it, the newest place first.
NAMES: dict[str, tuple[str, ...]] = {
    "Frame": ("stream.types:Frame",),
    "Start": ("stream.types:Start",),
    "Update": ("stream.types:Update",),
    "SPOT": ("stream.types:SPOT",),
    "STATE": ("stream.types:STATE",),
    "EVENT": ("stream.types:EVENT",),
    "States": ("stream.states:States",),
    "Linker": ("stream.link.linker:Linker", "stream.link:Linker"),
    "run": ("stream.pipeline:run",),
    "Degradation": (
        "stream.degradation:Degradation",
        "stream.degradation:Ladder",
        "stream.ladder:Ladder",
    ),
    "RunWriter": ("stream.store.run:RunWriter", "stream.store:RunWriter"),
    "open_run": ("stream.store.run:open_run", "stream.store:open_run"),
    "Checkpoints": ("stream.recovery.checkpoints:Checkpoints", "stream.checkpoints:Checkpoints"),
    "Publisher": ("stream.wire.publisher:Publisher", "stream.publish:Publisher"),
    "StoredEvents": ("stream.wire.event_history:StoredEvents", "stream.history:StoredEvents"),
    "Published": ("stream.sinks:Published", "tools.replay:Published"),
    "StoredReplay": ("stream.sinks:StoredReplay", "tools.replay:StoredReplay"),
    "Options": ("tools.runs.options:Options", "tools.compose:Options"),
    "Facts": ("tools.runs.options:Facts", "tools.compose:Facts"),
    "compose": ("tools.runs.compose:compose", "tools.compose:compose"),
    "load_infer": ("tools.runs.compose:load_infer", "tools.compose:load_infer"),
    "load_localizer": ("tools.runs.compose:load_localizer", "tools.compose:load_localizer"),
    "Scene": ("tools.overlay.scene:Scene", "tools.scene:Scene"),
    "drawer": ("tools.overlay.canvas:drawer", "tools.overlay:drawer"),
}


class Skipped(Exception):
    """This job cannot be done here; the message says why."""


def need(name: str) -> Any:
    """Find one of `NAMES` in this build; raise Skipped where none of its places has it."""
    for place in NAMES[name]:
        path, attribute = place.split(":")
        try:
            module = importlib.import_module(f"livespt.{path}")
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("livespt"):  # a dependency is missing
                raise
            continue
        if hasattr(module, attribute):
            return getattr(module, attribute)
    raise Skipped(f"this build has {name} at none of {', '.join(NAMES[name])}")


class Turns:
    """Frame numbers to work on, handed out as ordered; counts what they cost.

    Iterating gives the number of one frame after another and waits, where an order is done, for the
    next one. A consumer has finished a frame when it asks for another.

    Attributes
    ----------
    level : int
        What a live run would give up for this frame; above 0 only where frames are paced.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], None], facts: dict[str, Any]) -> None:
        self._answer, self._facts = answer, facts
        self._keep = False
        self._digests: dict[str, Any] = {}
        self._next = 0
        self.level = 0

    def __iter__(self) -> Iterator[int]:
        self._answer({"facts": self._facts})
        for line in sys.stdin:
            order = json.loads(line)
            if "end" in order:
                return
            self._keep = order.get("keep", False)
            if "rate_hz" in order:
                yield from self._paced(**order)
                continue
            cpu, wall = cpu_s(), time.perf_counter()
            yield from self._some(order["frames"])
            wall = time.perf_counter() - wall
            self._answer({"cpu_s": _quiet_cpu_s() - cpu, "wall_s": wall})

    def add(self, table: str, rows: NDArray[Any], always: bool = False) -> None:
        """Take results into the digests, one for each field, where the order says so."""
        if not (self._keep or always):
            return
        for name in rows.dtype.names or ("",):
            digest = self._digests.setdefault(f"{table}.{name}".rstrip("."), hashlib.sha256())
            digest.update(np.ascontiguousarray(rows[name] if name else rows).tobytes())

    def digests(self) -> dict[str, str]:
        """Digest of each field."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def _some(self, frames: int) -> Iterator[int]:
        for _ in range(frames):
            self._next += 1
            yield self._next - 1

    def _paced(self, frames: int, rate_hz: float, most_behind: int) -> Iterator[int]:
        """Hand out each frame when it is due, until more than `most_behind` wait behind one."""
        degradation = need("Degradation")()
        passed = worst = highest = 0
        begin = time.monotonic()
        for i in range(frames):
            wait = begin + i / rate_hz - time.monotonic()
            if wait > 0:
                time.sleep(wait)
            behind = int((time.monotonic() - begin) * rate_hz) - i
            self.level = degradation(behind)
            worst, highest = max(worst, behind), max(highest, self.level)
            if worst > most_behind:
                break
            yield from self._some(1)
            passed += 1
        self.level = 0
        self._answer({"passed": passed, "behind": worst, "level": highest})


def cpu_s() -> float:
    """User and system time of this process and of its children, seconds.

    Children that have ended count everywhere where somebody waited for them, living ones on Linux
    alone.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no times of children
        return sum(os.times()[:2])
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used) + sum(map(_living_s, _children("self")))


def _quiet_cpu_s() -> float:
    """`cpu_s` when the threads that still write what was handed to them are done."""
    before = cpu_s()
    for _ in range(QUIET_STEPS):
        time.sleep(QUIET_STEP_S)
        now = cpu_s()
        if now - before < QUIET_SHARE * QUIET_STEP_S:
            break
        before = now
    return now


def _living_s(pid: str) -> float:
    """User and system time of a living process and of its children."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended meanwhile
        return 0.0
    own = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # of ended children, too
    return own + sum(map(_living_s, _children(pid)))


def _children(pid: str) -> list[str]:
    try:
        listed = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except OSError:  # not Linux, or ended meanwhile
        return []
    return " ".join(listed).split()


def back_and_forth(k: int, n: int) -> int:
    """Index of frame k in a movie of n frames that runs to its end and back, again and again."""
    at = k % max(2 * n - 2, 1)
    return at if at < n else 2 * n - 2 - at


def load(job: dict[str, Any]) -> NDArray[Any]:
    """The inputs, mapped: what all workers read lies in memory once."""
    return np.asarray(np.load(job["inputs"], mmap_mode="r"))


def localizer(job: dict[str, Any], turns: Turns) -> None:
    """The shipped localizer, from image to SPOT rows."""
    localize, images = need("load_localizer")(need("Options")()), load(job)
    localize.warm_up(images.shape[1:], images.dtype.name)
    for k in turns:
        turns.add("spots", localize(images[back_and_forth(k, len(images))]))


def linker(job: dict[str, Any], turns: Turns) -> None:
    """The linker as a run sets it; points that are NaN are not there."""
    link = need("Linker")(5.0, memory=3)
    frames = [points[np.isfinite(points[:, 0])] for points in load(job)]
    for k in turns:
        linked = link.link(k, frames[back_and_forth(k, len(frames))])
        for name, value in linked._asdict().items():
            if isinstance(value, np.ndarray):
                turns.add(name, value)


def states(job: dict[str, Any], turns: Turns) -> None:
    """Motion and uncoating of living tracks, provisional and settled."""
    infer, points = need("load_infer")(need("Options")()), load(job)
    infer.measure(PIXEL_UM, INTERVAL_S, 2)
    tracks = np.arange(points.shape[1])
    slots, flat = tracks.astype(np.int32), np.zeros((*points.shape[:2], 3))
    flat[:, :, 1:] = points
    kept = need("States")(infer(), lag=infer.lag, abstain_below=infer.abstain_below)
    for k in turns:
        overdue = kept.settle_overdue(k)
        now, due = kept.step(k, slots, tracks, flat[back_and_forth(k, len(flat))])
        for rows in (overdue.rows, now, due.rows):
            turns.add("states", rows)


def replay(job: dict[str, Any], turns: Turns) -> None:
    """All that `livespt replay` does with a frame: analyzed, published, stored, checkpointed."""
    images, out, make = load(job), Path(job["folder"]) / "run.zarr", need("Frame")
    kind = ("yx", images.shape[1:], images.dtype.str)
    facts = need("Facts")("bench", *kind, PIXEL_UM, INTERVAL_S)
    chain = need("compose")(facts, need("Options")(), "replay")
    events = need("StoredEvents")(out)
    publisher = need("Publisher")("tcp://127.0.0.1:0", chain.start, events=events)
    writer = need("RunWriter")(out, chain.start)
    checkpoints = need("Checkpoints")(out, chain.analyzer, writer.tables)
    sinks = [need("Published")(publisher), need("StoredReplay")(writer), checkpoints]

    def frame(k: int) -> Any:
        image = images[back_and_forth(k, len(images))].copy()
        return make(k, k, 0, 0, k * INTERVAL_S, image, CLOCK_FILE, level=turns.level)

    frames = writer.tables.taking(map(frame, turns))
    need("run")(frames, chain.analyzer, sinks, chain.start, chain.stages)
    run = need("open_run")(out)
    for table in ("spots", "states", "events"):
        turns.add(table, getattr(run, table), always=True)


def overlay(job: dict[str, Any], turns: Turns) -> None:
    """One more update and image into the scene, and the scene drawn off screen."""
    points, side = load(job), int(job["side"])
    ramp = np.arange(side * side).reshape(side, side) * 7919  # no two rows alike
    images = [(100 + (ramp + shift) % 64).astype(np.uint16) for shift in (0, 32)]
    kind = ("yx", images[0].shape, "<u2")
    scene = need("Scene")(need("Start")("bench", "replay", "bench", *kind, PIXEL_UM, INTERVAL_S))
    update = updates(points)
    scene.add(update(0), images[0])
    with need("drawer")(scene, 1) as (draw, how):
        if not how.startswith("vispy"):
            raise Skipped(how)
        for k in turns:
            scene.add(update(k + 1), images[(k + 1) % 2])
            turns.add("picture", draw(scene))


def updates(points: NDArray[np.float64]) -> Callable[[int], Any]:
    """Make the update of frame k: tracks at (frames, n, 2) y, x, each with a provisional state."""
    n, make = points.shape[1], need("Update")
    spots, states = np.zeros(n, need("SPOT")), np.zeros(n, need("STATE"))
    spots["track"] = states["track"] = np.arange(n)
    states["state"] = np.arange(n) % 4
    tables = (spots, states, np.zeros(0, need("EVENT")))

    def update(k: int) -> Any:
        spots["y"], spots["x"] = points[back_and_forth(k, len(points))].T
        spots["frame"] = states["frame"] = k
        return make(k, k, 0, 0, k * INTERVAL_S, 0, *tables)

    return update


Job = Callable[[dict[str, Any], Turns], None]
JOBS: dict[str, Job] = {job.__name__: job for job in (localizer, linker, states, replay, overlay)}


def serve(jobs: dict[str, Job], packages: Sequence[str]) -> None:
    """Do the job that the command line names; what others print goes to standard error."""
    job = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(words: dict[str, Any]) -> None:
        answers.write(json.dumps(words) + "\n")
        answers.flush()

    turns = Turns(answer, facts(packages))
    try:
        jobs[job["job"]](job, turns)
    except Skipped as reason:
        answer({"skipped": str(reason)})
    else:
        answer({"digests": turns.digests()})


def facts(packages: Sequence[str]) -> dict[str, Any]:
    """What runs here: where this livespt lies, and versions."""
    from importlib.metadata import PackageNotFoundError, version

    import livespt.stream

    versions = {"python": sys.version.split()[0]}
    for names in packages:
        for name in names.split("|"):  # one package under two names
            with suppress(PackageNotFoundError):
                versions[name] = version(name)
    return {"folder": str(Path(livespt.stream.__path__[0]).parent), "versions": versions}


if __name__ == "__main__":
    serve(JOBS, PACKAGES)
