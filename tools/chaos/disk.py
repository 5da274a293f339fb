"""Chaos, disks: a live run whose disk fills up, breaks, is read-only; too little shared memory.

Whatever the disk does, every frame that the camera makes is taken, analyzed and published; the run
says once that storage stopped and once that it goes on; what was committed is what is read back;
and in the end there is one line that says what is missing.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.microscope.hook import Put
from livespt.acquisition.microscope.microscope import Acquired
from livespt.stream.errors import LiveSptError
from livespt.stream.store.run import open_run
from livespt.stream.store.verify import verify
from livespt.stream.wire.subscriber import Subscriber
from livespt.tools.chaos.power import disk, impossible
from livespt.tools.runs.live import record
from livespt.tools.runs.options import Facts, Options

FACTS = Facts("chaos", "yx", (96, 96), "<u2", 0.1, 0.02)
ENDPOINT = "tcp://127.0.0.1:5590"
FRAMES, INTERVAL_S = 400, 0.02
TROUBLE = (100, 225)  # frames between which the disk is in trouble
DISK_MB = 24
PUT_MS = 100.0  # promised: the camera never waits longer
GIVE_UP_S = 300.0  # for a machine that is very busy


def run(times: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Try every trouble `times` times; returns what each came to."""
    result: dict[str, Any] = {}
    for name in TROUBLES:
        for k in range(times):
            place = folder / f"{name}{k}"
            place.mkdir()
            figures = tried(name, place)
            say(f"disk, {name}: {figures}")
            worse = figures.get("held") is False or name not in result
            result[name] = figures if worse else result[name]
    return result


def tried(name: str, folder: Path) -> dict[str, Any]:
    """What one of `TROUBLES` came to; `skipped` says why it cannot be tried here."""
    reason = impossible(folder)
    return {"skipped": reason} if reason else TROUBLES[name](folder)


def full(folder: Path) -> dict[str, Any]:
    """The disk is full for two seconds."""
    with small_disk(folder / "disk", "tmpfs", f"size={DISK_MB}m") as place:
        ballast = place / "ballast"

        def trouble(number: int) -> None:
            if number == TROUBLE[0]:
                fill(ballast)
            elif number == TROUBLE[1]:
                ballast.unlink()

        figures = live_run(place / "run.zarr", trouble)
        reader = open_run(place / "run.zarr")
        stored = reader.log["number"]
        figures["stored"] = len(stored)
        figures["analyzed"] = reader.stop.analyzed if reader.stop else 0
        figures["faults"] = [f"{fault.where}: {fault.what}" for fault in verify(reader.path)]
        figures["notices"] = reader.status["text"][reader.status["kind"] == "storage"].tolist()
        figures["held"] = (
            was_analyzed(figures)
            and figures["heard"] == ["storage stopped: disk full", "storage resumed"]
            and figures["notices"] == figures["heard"]
            and not figures["faults"]
            and same(reader, stored)
            and int(stored[-1]) == FRAMES - 1
            and TROUBLE[0] <= len(stored) < FRAMES
            and reader.stop is not None
            and reader.stop.status == "failed"
            and figures["analyzed"] == figures["updates"]
            and "disk is full" in figures["error"]
        )
        return figures


def broken(folder: Path) -> dict[str, Any]:
    """The disk fails every write from some moment on: what holds it has no more room for it."""
    with small_disk(folder / "below", "tmpfs", f"size={DISK_MB}m") as below:
        with disk(below / "disk.img", folder / "disk", make=True) as place:

            def trouble(number: int) -> None:
                if number == TROUBLE[0]:
                    fill(below / "ballast")

            figures = live_run(place / "run.zarr", trouble)
    figures["held"] = (
        was_analyzed(figures)
        and len(figures["heard"]) == 1
        and figures["heard"][0].startswith("storage stopped: ")
        and bool(figures["error"])
    )
    return figures


def read_only(folder: Path) -> dict[str, Any]:
    """Nothing can be written from the start: the camera is not started."""
    with small_disk(folder / "disk", "tmpfs", "size=1m,ro") as place:
        figures = live_run(place / "run.zarr", lambda number: None)
        figures["held"] = figures["sent"] == 0 and "read-only" in figures["error"]
        return figures


def memory(folder: Path) -> dict[str, Any]:
    """No folder holds the ring: the camera is not started."""
    code = f"from {__name__} import live_run, Path; import sys; "
    code += "print(live_run(Path(sys.argv[1]), print)['error'])"
    mounts = "mount -t tmpfs -o size=512k tmpfs /dev/shm && mount -t tmpfs -o size=1m tmpfs "
    arguments = [sys.executable, "-c", code, str(folder / "run.zarr")]
    shell = [f'{mounts}{folder} && TMPDIR={folder} exec "$@"', "sh", *arguments]
    completed = subprocess.run(
        ["unshare", "-m", "sh", "-c", *shell], capture_output=True, text=True, check=True
    )
    lines = completed.stdout.splitlines()
    return {"error": completed.stdout, "held": len(lines) == 1 and "shared memory" in lines[0]}


TROUBLES = {"full": full, "broken": broken, "read_only": read_only, "memory": memory}


def live_run(out: Path, trouble: Callable[[int], object]) -> dict[str, Any]:
    """Record into `out`, calling `trouble` before each frame; what was sent, heard and said."""
    figures: dict[str, Any] = {"sent": 0, "heard": [], "updates": 0, "in_trouble": 0}
    figures |= {"last": -1, "error": ""}
    waits: list[float] = []
    images = [picture(number) for number in range(FRAMES)]
    joined = Event()
    listener = Thread(target=listen, args=(figures, joined), name="chaos-listener", daemon=True)

    def acquire(put: Put) -> Acquired:
        listener.start()
        joined.wait(GIVE_UP_S)
        begin = time.monotonic()
        for number in range(FRAMES):
            time.sleep(max(0.0, begin + number * INTERVAL_S - time.monotonic()))
            trouble(number)
            before = time.monotonic()
            put(
                images[number],
                number=number,
                t=number,
                channel=0,
                position=0,
                time_s=number * INTERVAL_S,
                clock=0,
                captured_ns=time.monotonic_ns(),
            )
            waits.append(time.monotonic() - before)
            figures["sent"] += 1
        return Acquired(FRAMES, 0, 0, "", False)

    try:
        record(acquire, out, FACTS, Options(), endpoint=ENDPOINT, say=lambda text: None)
    except LiveSptError as error:
        figures["error"] = str(error)
    if waits:
        listener.join(GIVE_UP_S)
        figures["put_p99_ms"] = round(1000 * float(np.percentile(waits, 99)), 2)
        figures["put_max_ms"] = round(1000 * max(waits), 2)
        waited = figures["put_p99_ms"] > 1000 * INTERVAL_S or figures["put_max_ms"] > PUT_MS
        figures["late"] = ["the camera waited"] if waited else []
    return figures


def listen(figures: dict[str, Any], joined: Event) -> None:
    """Keep what is published of the run: notices of its storage, how many updates."""
    topics = ("status", "update")
    with suppress(LiveSptError), Subscriber(ENDPOINT, topics=topics) as follower:
        joined.set()
        while not follower.ended:
            for update in follower.updates(timeout_s=0.05):
                if update.number <= figures["last"]:
                    continue  # what the end of the run settled
                figures["updates"] += 1
                figures["in_trouble"] += TROUBLE[0] <= update.number < TROUBLE[1]
                figures["last"] = update.number
            for status in follower.statuses(timeout_s=0.0):
                if status.kind == "storage":
                    figures["heard"].append(status.text)


def was_analyzed(figures: dict[str, Any]) -> bool:
    """Whether all was acquired, and analysis and publishing went on to the end."""
    return (
        figures["sent"] == figures["last"] + 1 == FRAMES
        and figures["in_trouble"] > 0
        and "\n" not in figures["error"]
    )


def picture(number: int) -> NDArray[np.uint16]:
    """A frame that only its number makes: a few spots that go round, in noise."""
    y, x = np.mgrid[:96, :96]
    expected = np.full((96, 96), 100.0)
    for k in range(8):
        turn = 0.01 * number + 0.8 * k
        at = 48 + 30 * np.sin(turn), 48 + 30 * np.cos(turn)
        expected += 400 * np.exp(-((y - at[0]) ** 2 + (x - at[1]) ** 2) / 4.5)
    return np.random.default_rng(number).poisson(expected).astype("<u2")


def same(reader: Any, stored: NDArray[np.int64]) -> bool:
    """Whether the stored frames are those that were sent."""
    return all(
        np.array_equal(reader.frame(i).image, picture(int(number)))
        for i, number in enumerate(stored)
    )


def fill(path: Path) -> None:
    """Take all the room there is."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass


@contextmanager
def small_disk(place: Path, kind: str, options: str) -> Iterator[Path]:
    """A file system of its own, mounted at `place` for a while."""
    place.mkdir()
    subprocess.run(
        ["mount", "-t", kind, "-o", options, kind, str(place)], check=True, capture_output=True
    )
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True, capture_output=True)
