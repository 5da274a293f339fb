"""Other programs: trackpy, laptrack and Picasso on the frames of a benchmark, in turns with ours.

Each is told what an expert would tell it. It runs as a process of its own (`python -m` this file),
by the protocol of `worker`. None is installed with livespt; one that is missing is left out, by
name.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.tools.bench.inputs import OFFSET, PEAK, SIGMA_PX
from livespt.tools.bench.worker import Job, Turns, back_and_forth, load, serve

NEEDS = {
    "trackpy-numba": "trackpy",
    "trackpy-python": "trackpy",
    "picasso": "picasso",
    "trackpy-link": "trackpy",
    "trackpy-link-python": "trackpy",
    "laptrack": "laptrack",
}
PACKAGES = ("numpy", "numba", "trackpy", "laptrack", "picassosr")
DIAMETER = 7  # pixels, of trackpy's mask; Picasso's box
MASS = 0.3 * 2 * np.pi * SIGMA_PX**2 * PEAK  # of trackpy: a third of a spot's photons
GRADIENT = 0.5  # of Picasso's net gradient, in units of that of a spot in the median
SEARCH_RANGE, MEMORY = 5.0, 3  # as of `worker.linker`
BATCH = 20  # frames that laptrack links at once: it takes whole movies


def missing(name: str) -> str | None:
    """The package that a program needs and that is not installed."""
    package = NEEDS[name]
    return package if importlib.util.find_spec(package) is None else None


def trackpy_locate(engine: str) -> Job:
    """`trackpy.locate` with one of its engines."""

    def run(job: dict[str, Any], turns: Turns) -> None:
        import trackpy

        images = load(job)
        for k in turns:
            image = images[back_and_forth(k, len(images))]
            trackpy.locate(image, DIAMETER, minmass=MASS, separation=DIAMETER + 1, engine=engine)

    return run


def picasso(job: dict[str, Any], turns: Turns) -> None:
    """Picasso: local maxima by net gradient, then the maximum likelihood fit of each."""
    import pandas
    from picasso import gaussmle, localize

    images = load(job)
    camera = {"Baseline": OFFSET, "Sensitivity": 1.0, "Gain": 1}

    def found(image: NDArray[Any], least: float) -> tuple[Any, Any, Any]:
        y, x, gradient = localize.identify_in_image(image.astype(np.float32), least, DIAMETER)
        return y, x, gradient

    gradients = np.sort(found(images[0], 0.0)[2])[-int(job["n"]) :]
    least = GRADIENT * float(np.median(gradients))
    for k in turns:
        image = images[back_and_forth(k, len(images))]
        y, x, gradient = found(image, least)
        table = pandas.DataFrame({"frame": 0, "y": y, "x": x, "net_gradient": gradient})
        spots = localize.get_spots(image[None], table, DIAMETER, camera)
        gaussmle.gaussmle(spots, 1e-3, 100, "sigma")


def trackpy_link(strategy: str) -> Job:
    """`trackpy.link_iter` with one of its strategies; it asks for the frames itself."""

    def run(job: dict[str, Any], turns: Turns) -> None:
        import trackpy

        trackpy.quiet()
        frames = _points(job)
        movie: Iterator[Any] = (frames[back_and_forth(k, len(frames))] for k in turns)
        for _ in trackpy.link_iter(
            movie, SEARCH_RANGE, memory=MEMORY, link_strategy=strategy,
            adaptive_stop=0.25 * SEARCH_RANGE, adaptive_step=0.9,  # only where it would give up
        ):  # fmt: skip
            pass

    return run


def laptrack(job: dict[str, Any], turns: Turns) -> None:
    """`laptrack.LapTrack`, some frames at a time."""
    from laptrack import LapTrack

    settings: dict[str, Any] = {
        "metric": "sqeuclidean",
        "cutoff": SEARCH_RANGE**2,
        "gap_closing_metric": "sqeuclidean",
        "gap_closing_cutoff": SEARCH_RANGE**2,
        "gap_closing_max_frame_count": MEMORY + 1,  # counts frames from the last point on
        "splitting_cutoff": False,
        "merging_cutoff": False,
    }
    track = LapTrack(**settings)
    frames, batch = _points(job), []
    for k in turns:
        batch.append(frames[back_and_forth(k, len(frames))])
        if len(batch) == BATCH:
            track.predict(batch)
            batch = []


def _points(job: dict[str, Any]) -> list[NDArray[np.float64]]:
    return [points[np.isfinite(points[:, 0])] for points in load(job)]


JOBS: dict[str, Job] = {
    "trackpy-numba": trackpy_locate("numba"),
    "trackpy-python": trackpy_locate("python"),
    "picasso": picasso,
    "trackpy-link": trackpy_link("numba"),
    "trackpy-link-python": trackpy_link("recursive"),
    "laptrack": laptrack,
}
COMMAND = (sys.executable, "-P", "-m", "livespt.tools.bench.others")

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(JOBS, PACKAGES)
