"""Evaluate a localizer on fields as microscopes record them, next to flat ones and to trackpy.

For every scene of field_scenes.py: false spots per million pixels without spots, and recall,
precision and Jaccard index at three *local* signal-to-noise ratios, with the recall on flat frames
at the same ratio beside it. trackpy's threshold is the best one for the truth of each scene.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.render.spot_movies import SpotCase
from livespt.models.runtime.card import add_metrics
from livespt.tools.evaluate_localizer.field_scenes import (
    NOISES,
    SCENES,
    Field,
    SceneFrame,
    scene_frame,
)
from livespt.tools.evaluate_localizer.other_localizers import (
    OtherLocalizer,
    TunedLocalizer,
    available,
    skipped,
    tune,
)
from livespt.tools.progress import steps
from livespt.tools.score.spots import pair

SEED, TUNING = 20_000, 30_000  # of evaluation, and of what trackpy's threshold is chosen on
SNRS = (3.5, 5.0, 10.0)
TUNED_ON = 4  # frames
MAX_FALSE = 4.0  # per million pixels
MAX_LOST = {"scene": 0.01, "noise": 0.02}  # recall below that on flat frames
MIN_JACCARD = 0.9  # among lines and rings
STRUCTURED = ("filaments", "rings")

Find = Callable[[NDArray[Any]], NDArray[np.float64]]
Draw = Callable[[Generator], Field]


def evaluate(
    model: str | Path,
    *,
    frames: int = 16,
    provider: str = "cpu",
    write: bool = False,
    judges: bool = True,
) -> dict[str, Any]:
    """Tables `fields` and `noises`, a line for each scene, and which targets are reached.

    Parameters
    ----------
    model : path of the `.onnx` file.
    frames : frames of 256 x 256 pixels for each scene and ratio.
    write : add the figures of our localizer to the card of the model.
    judges : run trackpy on the same frames.

    Raises
    ------
    ModelError : the model cannot be opened or is not a localizer.
    """
    localizer = Localizer(model, provider=provider)
    other = _trackpy() if judges else None
    tables: dict[str, list[dict[str, Any]]] = {"fields": [], "noises": []}
    work = [("fields", *item) for item in SCENES.items()]
    work += [("noises", *item) for item in NOISES.items()]
    for k, (kind, name, draw) in enumerate(steps(work, "evaluating", len(work))):
        line = {"scene": name} | _line(functools.partial(_places, localizer), draw, k, frames)
        if other is not None:
            tuned = _tuned(other, draw, k)
            theirs = _line(functools.partial(_first_two, tuned), draw, k, frames)
            line |= {f"trackpy_{key}": value for key, value in theirs.items()}
        tables[kind].append(line)
    result: dict[str, Any] = {**tables, "frames_per_case": frames}
    result["targets"] = _targets(tables)
    result["command"] = f"livespt evaluate fields --frames {frames}"
    if judges and other is None:
        result["judges_skipped"] = skipped()
    if write:
        own = {
            kind: [{k: v for k, v in row.items() if not k.startswith("trackpy")} for row in rows]
            for kind, rows in tables.items()
        }
        add_metrics(localizer.session.path, {"fields": own | {"frames_per_case": frames}})
    return result


def _trackpy() -> OtherLocalizer | None:
    found = available(SpotCase())
    return next((one for one in found if one.name == "trackpy 7"), None)


def _places(localizer: Localizer, image: NDArray[Any]) -> NDArray[np.float64]:
    spots = localizer(image)
    return np.stack([spots["y"], spots["x"]], axis=1).astype(np.float64)


def _first_two(tuned: TunedLocalizer, image: NDArray[Any]) -> NDArray[np.float64]:
    return tuned(image)[:, :2]


def _drawn(seed: int, k: int, snr: float, f: int, draw: Draw) -> SceneFrame:
    rng = np.random.default_rng((seed, 17, k, round(10 * snr), f))
    field = draw(rng)
    return scene_frame(rng, field, snr) if snr else scene_frame(rng, field, 1.0, 0)


def _tuned(other: OtherLocalizer, draw: Draw, k: int) -> TunedLocalizer:
    some = [_drawn(TUNING, k, 5.0, f, draw) for f in range(TUNED_ON)]
    images = [np.nan_to_num(one.image) for one in some]
    return tune(other, images, [one.points for one in some])


def _line(find: Find, draw: Draw, k: int, frames: int) -> dict[str, Any]:
    """False spots per million pixels of empty frames; shares by signal-to-noise ratio."""
    false, _, area, _ = _counts(find, draw, k, 0.0, frames)
    line: dict[str, Any] = {"false_per_megapixel": round(1e6 * false / area, 2)}
    for snr in SNRS:
        false, hit, _, true = _counts(find, draw, k, snr, frames)
        line[f"recall_{snr:g}"] = round(hit / true, 4)
        line[f"precision_{snr:g}"] = round(hit / max(hit + false, 1), 4)
        line[f"jaccard_{snr:g}"] = round(hit / (true + false), 4)
    return line


def _counts(find: Find, draw: Draw, k: int, snr: float, frames: int) -> tuple[int, int, int, int]:
    """False and found spots, measured pixels, true spots."""
    false = hit = area = true = 0
    for f in range(frames):
        one = _drawn(SEED, k, snr, f, draw)
        found = find(one.image)
        rows, _ = pair(one.points, found)
        hit += len(rows)
        false += len(found) - len(rows)
        true += len(one.points)
        area += int(one.counted.sum())
    return false, hit, area, true


def _targets(tables: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    lines = []
    flat = tables["fields"][0]
    for kind, rows, lost in (
        ("scene", tables["fields"], MAX_LOST["scene"]),
        ("noise", tables["noises"], MAX_LOST["noise"]),
    ):
        base = flat if kind == "scene" else rows[0]
        for row in rows:
            name = row["scene"]
            if name in STRUCTURED:
                value = row["jaccard_10"]
                lines.append(_target(f"{name}: Jaccard, SNR 10", value, value >= MIN_JACCARD))
                continue
            value = row["false_per_megapixel"]
            lines.append(_target(f"{name}: false a megapixel", value, value <= MAX_FALSE))
            for snr in SNRS:
                value = round(base[f"recall_{snr:g}"] - row[f"recall_{snr:g}"], 4)
                lines.append(_target(f"{name}: recall lost, SNR {snr:g}", value, value <= lost))
    return lines


def _target(name: str, value: float, met: bool) -> dict[str, Any]:
    return {"target": name, "value": value, "met": bool(met)}
