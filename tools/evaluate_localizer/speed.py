"""CPU time of a localizer per frame, compared with trackpy on the same frames."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.render.spot_movies import SpotCase, movie
from livespt.tools.evaluate_localizer.other_localizers import (
    OtherLocalizer,
    TunedLocalizer,
    available,
    skipped,
)

ROUNDS = 3  # repetitions over all frames; the localizers alternate on each frame
TRACKPY_MASS = 800.0  # threshold: about half the mass of a spot at SNR 10
SEED = 30_009


def speed(
    localizer: Localizer, images: list[NDArray[np.uint16]], with_trackpy: bool = True
) -> dict[str, Any]:
    """Median times of one frame, including network, peaks and sub-pixel refinement.

    Parameters
    ----------
    images : frames of 512 x 512 pixels with 100 spots.
    with_trackpy : also time trackpy (diameter 7, numba engine), in alternation.
    """
    localizer.warm_up((512, 512))
    calls: dict[str, Callable[[NDArray[Any]], Any]] = {"ours": localizer}
    trackpy = _trackpy() if with_trackpy and "trackpy" not in skipped() else None
    if trackpy is not None:
        calls["trackpy"] = trackpy.__call__
    cpu, wall = _in_turn(calls, images, ROUNDS)
    large = movie((SEED,), SpotCase(n=1600, apart_px=0.0, shape=(2048, 2048)), 1)[0]
    localizer.warm_up((2048, 2048))
    big = _in_turn({"large": localizer, "small": lambda _: localizer(images[0])}, large, 5)[0]
    facts: dict[str, Any] = {
        "provider": localizer.provider,
        "milliseconds_512": round(cpu["ours"], 2),
        "milliseconds_2048": round(big["large"], 2),
        "larger_frame_ratio": round(big["large"] / big["small"], 2),
    }
    if trackpy is not None:
        facts["trackpy_milliseconds"] = round(cpu["trackpy"], 2)
        facts["trackpy_over_ours"] = round(cpu["trackpy"] / cpu["ours"], 2)
    if localizer.provider == "cuda":
        facts["wall_milliseconds_512"] = round(wall["ours"], 3)
        facts["frames_per_s"] = round(1e3 / wall["ours"], 1)
    return facts


def _trackpy() -> TunedLocalizer:
    found: list[OtherLocalizer] = available(SpotCase(n=100, apart_px=0.0, shape=(512, 512)))
    return TunedLocalizer(next(other for other in found if other.name == "trackpy 7"), TRACKPY_MASS)


def _in_turn(
    calls: dict[str, Callable[[NDArray[Any]], Any]], images: list[NDArray[Any]], rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Median CPU and wall milliseconds of each call."""
    for call in calls.values():
        call(images[0])
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    wall: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for image in images:
            for name, call in calls.items():
                start, watch = time.process_time(), time.perf_counter()
                call(image)
                cpu[name].append(time.process_time() - start)
                wall[name].append(time.perf_counter() - watch)
    cpu_ms, wall_ms = (
        {name: 1e3 * float(np.median(t)) for name, t in times.items()} for times in (cpu, wall)
    )
    return cpu_ms, wall_ms
