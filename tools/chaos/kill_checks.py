"""What kills share: a simulated camera, a run opened as it was cut, and what it must equal."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.acquisition.microscope.hook import Put
from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.stream.errors import InputError
from livespt.stream.store.run import RunReader, open_run
from livespt.stream.store.verify import verify
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.replay import replay

FREE = "tcp://127.0.0.1:0"  # any free port
TABLES = ("spots", "states", "events")
HZ = 50.0
N_FRAMES = 100  # of the simulated movie, which begins anew when it is over
OPEN_S = 2.0  # promised


@dataclass
class Tally:
    """What came of the kills of one kind."""

    kills: int = 0
    opened_s: float = 0.0  # longest
    lost: int = 0  # frames that were handed over, or rows that were committed, and are not there
    changed: int = 0  # tables that are not those of an uninterrupted run
    ghosts: int = 0  # frames that are not what was recorded
    faults: int = 0  # that verify finds
    wrong: list[str] = field(default_factory=list)

    def figures(self) -> dict[str, Any]:
        """For printing."""
        bad = self.lost or self.changed or self.ghosts or self.faults or self.wrong
        held = not bad and self.opened_s < OPEN_S
        wrong = "; ".join(self.wrong[:3])
        return asdict(self) | {"opened_s": round(self.opened_s, 3), "wrong": wrong, "held": held}


def movie() -> list[NDArray[Any]]:
    """Images of the simulated camera."""
    sample = Scenario(1, N_FRAMES, (96, 96), viruses=8, uncoating=4, visitors=6)
    return [frame.image for frame in virus_entry(sample)]


def facts(images: list[NDArray[Any]]) -> Facts:
    """What is known of them."""
    return Facts("chaos", "yx", images[0].shape, images[0].dtype.str, 0.1, 1 / HZ)


def inspect_run(path: Path, images: list[NDArray[Any]], tally: Tally) -> RunReader:
    """Open a run, cut as it is, and compare the frames and the tables that it has."""
    begin = time.perf_counter()
    reader = open_run(path)
    rows = reader.frames
    tally.opened_s = max(tally.opened_s, time.perf_counter() - begin)
    for i in range(reader.n_frames):
        try:
            frame = reader.frame(i)
            tally.ghosts += not np.array_equal(frame.image, images[frame.number % len(images)])
        except InputError as error:
            tally.wrong.append(str(error))
    tally.lost += max(0, len(rows) - reader.n_frames)
    analyzed = rows[rows["analyzed"] == 1]
    seen, counts = np.unique(reader.spots["frame"], return_counts=True)
    if not np.array_equal(analyzed["frame"][analyzed["spots"] > 0], seen) or not np.array_equal(
        analyzed["spots"][analyzed["spots"] > 0], counts
    ):
        tally.wrong.append(f"frames and spots of {path} do not agree")
    if not np.array_equal(reader.events["seq"], np.arange(len(reader.events))):
        tally.wrong.append(f"events of {path} have a gap")
    return reader


def compare(path: Path, cuts: list[RunReader], folder: Path, tally: Tally) -> None:
    """The whole run against what it held when it was cut, and against an uninterrupted replay."""
    whole = open_run(path)
    for cut in cuts:
        for name in TABLES:
            held = getattr(cut, name)
            tally.lost += getattr(whole, name)[: len(held)].tobytes() != held.tobytes()
    tally.faults += sum(1 for _ in verify(path))
    uninterrupted = folder / "again.zarr"
    replay(path, uninterrupted, Options(), endpoint=FREE, say=lambda text: None)
    for name in TABLES:
        rows = getattr(open_run(uninterrupted), name)
        tally.changed += rows.tobytes() != getattr(whole, name).tobytes()
    shutil.rmtree(uninterrupted)


def camera(
    put: Put, images: list[NDArray[Any]], is_over: Callable[[], bool], hz: float = HZ
) -> Iterator[int]:
    """Put frames at this rate until it is over; yield how many were handed over."""
    number, begin = 0, time.monotonic()
    while not is_over():
        time.sleep(max(0.0, begin + number / hz - time.monotonic()))
        put(
            images[number % len(images)], number=number, t=number, channel=0, position=0,
            time_s=number / hz, clock=0, captured_ns=time.monotonic_ns(),
        )  # fmt: skip
        number += 1
        yield number
