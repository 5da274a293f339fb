"""Records a small simulated movie with the livespt it is run by, and replays it into a run.

    python small_run.py FOLDER

writes FOLDER/recorded.zarr and, replayed from it, FOLDER/run.zarr, with nothing but what every
version that wrote formats 1 to 4 has. The movie has 24 frames, 48 x 48: three bright spots in
noise, one of them gone after frame 13; exposures 9 and 10 were lost, frame 15 was recorded and not
analyzed, and frame 0 has a hot pixel.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from livespt.stream.types import EVENT, SPOT, STATE, Frame, Start, Stop, Update

SIDE, BACKGROUND, NOISE, PEAK, WIDTH = 48, 100.0, 1.0, 300.0, 1.5  # pixels and counts
INTERVAL_S = 0.05
LOST, SKIPPED = (9, 10), (15,)
START = Start(
    run="0" * 32,
    mode="live",
    source="simulated",
    axes="yx",
    shape=(SIDE, SIDE),
    dtype="uint16",
    pixel_size_um=0.1,
    frame_interval_s=INTERVAL_S,
)


def truth() -> list[list[tuple[float, float]]]:
    """Where the spots are, (y, x) in pixels, of each exposure."""
    walk = np.cumsum(np.random.default_rng(1).normal(0, 0.5, (26, 2)), axis=0)
    places = []
    for t in range(26):
        places.append([(8 + 1.2 * t, 8 + 0.6 * t), (14 + walk[t, 0], 36 + walk[t, 1])])
        if t <= 13:
            places[t].append((40.0, 12.0 + 0.2 * (t % 3)))
    return places


def movie() -> list[Frame]:
    """The frames as recorded."""
    generator = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    frames = []
    for t, places in enumerate(truth()):
        image = BACKGROUND + generator.normal(0, NOISE, (SIDE, SIDE))
        for row, column in places:
            square = (y - row) ** 2 + (x - column) ** 2
            image += PEAK * np.exp(-square / (2 * WIDTH**2))
        if t == 0:
            image[3, 45] = 3000
        if t not in LOST:
            pixels = np.round(image).astype(np.uint16)
            frames.append(Frame(t, t, 0, 0, t * INTERVAL_S, pixels, clock=1))
    return frames


def record(run: Path) -> None:
    """Write the movie as a live run does, whose analyzer skipped a frame."""
    from livespt.stream.store import RunWriter  # where the versions that are to run this have it

    writer = RunWriter(run, START)
    rows = np.empty(0, SPOT), np.empty(0, STATE), np.empty(0, EVENT)
    for frame in movie():
        writer.add_frame(frame)
        if frame.number not in SKIPPED:
            writer.commit(frame, Update(*frame[:5], 0, *rows))
    writer.close(Stop(START.run, "complete"))


if __name__ == "__main__":
    from livespt.tools.compose import Options
    from livespt.tools.replay import replay

    folder = Path(sys.argv[1])
    record(folder / "recorded.zarr")
    replay(folder / "recorded.zarr", folder / "run.zarr", Options(), endpoint="tcp://127.0.0.1:0")
