"""Evaluate a localizer on simulated spots, compared with the bound and with other localizers.

The tables are `crowd` (100 and 500 spots that diffuse on 512 x 512 pixels), `robust` (other widths,
backgrounds and cameras; rings, hot pixels, cosmic rays), `cases` (spots at a distance from one
another) and `speed`. `targets` states which of the required values are reached.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.models.localize.localizer import Localizer
from livespt.models.render.spot_movies import SpotCase, bound, movie, spot_frame
from livespt.models.runtime.card import add_metrics
from livespt.tools.evaluate_localizer import targets
from livespt.tools.evaluate_localizer.other_localizers import (
    TunedLocalizer,
    available,
    skipped,
    tune,
)
from livespt.tools.evaluate_localizer.report import write_report
from livespt.tools.evaluate_localizer.speed import speed
from livespt.tools.score import spots as accuracy
from livespt.tools.score.spots import Floats, SpotTally

SEED = 20_000  # seed of evaluation frames, not used in training or tuning
TUNING = 30_000  # seed of the movies on which thresholds of other localizers are chosen
TUNED_ON = 4  # frames of such a movie
WIDE = (512, 512)
CASES = (
    SpotCase(snr=5), SpotCase(snr=7), SpotCase(snr=10), SpotCase(snr=20),
    SpotCase(snr=5, sigma_px=1.0), SpotCase(snr=20, sigma_px=1.0),
    SpotCase(snr=5, sigma_px=2.0), SpotCase(snr=20, sigma_px=2.0),
    SpotCase(background=20.0), SpotCase(background=1000.0), SpotCase(snr=5, background=20.0),
    SpotCase(snr=5, uneven=True), SpotCase(snr=10, uneven=True, background=300.0),
    SpotCase(offset=1000.0, gain_e_per_count=0.25), SpotCase(offset=10.0, gain_e_per_count=4.0),
    SpotCase(spread=0.3), SpotCase(n=100, apart_px=5.0), SpotCase(snr=5, n=100, apart_px=5.0),
    SpotCase(n=100, apart_px=0.0), SpotCase(snr=5, n=100, apart_px=0.0),
)  # fmt: skip
DENSE = {
    f"{n} spots, SNR {snr}": SpotCase(snr=snr, n=n, apart_px=0.0, shape=WIDE)
    for n in (100, 500)
    for snr in (3, 5, 10)
}
PLAIN = SpotCase(snr=5, n=100, apart_px=0.0, shape=WIDE)
ROBUST = {
    **{
        f"sigma {sigma}, SNR {snr}": PLAIN._replace(snr=snr, sigma_px=sigma)
        for sigma in (1.0, 1.6, 2.0)
        for snr in (3, 5, 10)
    },
    **{f"uneven, SNR {snr}": PLAIN._replace(snr=snr, uneven=True) for snr in (3, 5, 10)},
    **{f"40 defocus rings, SNR {snr}": PLAIN._replace(snr=snr, rings=40) for snr in (3, 5, 10)},
    "defocused by 0.4 waves": PLAIN._replace(snr=10, defocus=0.4),
    "SNR 4": PLAIN._replace(snr=4),
    "SNR 20": PLAIN._replace(snr=20),
    "SNR 40": PLAIN._replace(snr=40),
    "background 20": PLAIN._replace(background=20.0),
    "background 1000": PLAIN._replace(background=1000.0),
    "0.25 e/count, offset 1000": PLAIN._replace(gain_e_per_count=0.25, offset=1000.0),
    "4 e/count, offset 10": PLAIN._replace(gain_e_per_count=4.0, offset=10.0),
    "brightness x exp(0.5 normal)": PLAIN._replace(snr=10, spread=0.5),
    "100 hot pixels": PLAIN._replace(hot=100),
    "20 cosmic rays": PLAIN._replace(cosmic=20),
}
EMPTY = {
    "noise": SpotCase(n=0, shape=WIDE),
    "background 1000": SpotCase(n=0, background=1000.0, shape=WIDE),
    "uneven": SpotCase(n=0, uneven=True, shape=WIDE),
    "100 hot pixels": SpotCase(n=0, hot=100, shape=WIDE),
    "20 cosmic rays": SpotCase(n=0, cosmic=20, shape=WIDE),
}


def evaluate(
    model: str | Path,
    *,
    frames: int = 10,
    provider: str = "cpu",
    write: bool = False,
    judges: bool = False,
    report: Path | None = None,
) -> dict[str, Any]:
    """Tables of figures of a localizer; `figures` of score/spots.py explains them.

    Parameters
    ----------
    model : path of the `.onnx` file.
    frames : frames of each dense movie and of each of the `cases`; for each `robust` one a
        quarter.
    write : add the figures, without those of other localizers, to the card of the model.
    judges : run other localizers on the same frames.
    report : folder for `report.md` and pictures.

    Raises
    ------
    ModelError : the model cannot be opened or is not a localizer.
    """
    localizer = Localizer(model, provider=provider)
    dense, seen = _table(localizer, DENSE, frames, judges, 1)
    robust, _ = _table(localizer, ROBUST, max(frames // 4, 1), judges, 2)
    rows = [_case(localizer, k, case, frames) for k, case in enumerate(CASES)]
    empty = _empty(localizer, frames)
    timing = speed(localizer, _movie(DENSE["100 spots, SNR 10"], 6, (TUNING, 9))[0], judges)
    metrics: dict[str, Any] = {
        "crowd": dense,
        "robust": robust,
        "cases": rows,
        "least_recall": min(r["recall"] for r in rows if r["apart_px"] > 0),
        "least_precision": min(r["precision"] for r in rows),
        "false_per_megapixel": empty["noise"],
        "false_per_megapixel_of": empty,
        "frames_per_case": frames,
        "command": f"livespt evaluate localizer --frames {frames}",
    }
    if write:
        add_metrics(localizer.session.path, {"simulated": _small(metrics) | {"speed": timing}})
    metrics |= {"speed": timing, "milliseconds_512": timing["milliseconds_512"]}
    metrics["targets"] = targets.check_targets(localizer.session.name, dense, timing)
    if judges:
        metrics["judges_skipped"] = skipped()
    if report is not None:
        write_report(report, localizer, metrics, seen, DENSE)
    return metrics


def localize(localizer: Localizer, image: NDArray[Any]) -> Floats:
    """Positions y, x and their precision (n, 4) in a frame, pixels."""
    spots = localizer(image)
    return np.stack([spots[k].astype(np.float64) for k in ("y", "x", "dy", "dx")], axis=1)


def _movie(
    case: SpotCase, frames: int, seed: tuple[int, ...] = (SEED,)
) -> tuple[list[NDArray[np.uint16]], list[Floats]]:
    return movie((*seed, case.n, round(10 * case.snr)), case, frames)


def _table(
    localizer: Localizer, scenes: dict[str, SpotCase], frames: int, with_judges: bool, number: int
) -> tuple[list[dict[str, Any]], dict[str, SpotTally]]:
    """Lines of all scenes and localizers, and the matches of our localizer in each scene."""
    rows, ours = [], {}
    for k, (name, case) in enumerate(scenes.items()):
        images, truth = _movie(case, frames, (SEED, number, k))
        own = [accuracy.compare(at, localize(localizer, image), case.shape, frame=i)
               for i, (image, at) in enumerate(zip(images, truth, strict=True))]  # fmt: skip
        ours[name] = accuracy.together(own)
        limit = float("nan") if case.defocus or case.spread else bound(case)
        facts = {"scene": name, "n": case.n, "snr": case.snr}
        line = accuracy.figures(ours[name], limit)
        rows.append(facts | {"localizer": localizer.session.name} | line | {"common": None})
        for tuned in _tuned(case, (TUNING, number, k)) if with_judges else []:
            found = [accuracy.compare(at, tuned(image), case.shape, frame=i)
                     for i, (image, at) in enumerate(zip(images, truth, strict=True))]  # fmt: skip
            tally = accuracy.together(found)
            mine, theirs = accuracy.common(ours[name], tally)
            ratio = round(mine / theirs, 3) if theirs > 0 else None
            line = accuracy.figures(tally, limit) | {"common": ratio}
            rows.append(facts | {"localizer": tuned.localizer.name} | line)
    return rows, ours


def _tuned(case: SpotCase, seed: tuple[int, ...]) -> list[TunedLocalizer]:
    images, truth = _movie(case, TUNED_ON, seed)
    return [tune(other, images, truth) for other in available(case)]


def _case(localizer: Localizer, number: int, case: SpotCase, frames: int) -> dict[str, Any]:
    tallies = []
    for k in range(frames):
        image, points = spot_frame(np.random.default_rng((SEED, number, k)), case)
        tallies.append(accuracy.compare(points, localize(localizer, image), case.shape))
    tally, limit = accuracy.together(tallies), bound(case)
    line = accuracy.figures(tally, limit)
    facts = {k: getattr(case, k) for k in ("snr", "sigma_px", "background", "n", "apart_px")}
    return facts | {
        "uneven": case.uneven,
        "gain": case.gain_e_per_count,
        **{k: line[k] for k in ("recall", "precision", "rmse_px")},
        "bound": line["bound_px"],
        "ratio": round(line["rmse_px"] / limit, 3) if line["rmse_px"] is not None else None,
        "claimed": line["claimed_all"],
    }


def _empty(localizer: Localizer, frames: int) -> dict[str, float]:
    """Detections per million pixels in frames without particles."""
    found = {}
    for k, (name, case) in enumerate(EMPTY.items()):
        images, _ = movie((SEED, 999, k), case, frames)
        count = sum(len(localizer(image)) for image in images)
        found[name] = round(count / (frames * case.shape[0] * case.shape[1]) * 1e6, 3)
    return found


def _small(metrics: dict[str, Any]) -> dict[str, Any]:
    """Figures for the card: the lines of our localizer, without those that the command repeats."""
    kept = ("scene", "jaccard", "recall", "precision", "rmse_px", "isolated_px", "ratio", "claimed")
    own = metrics["crowd"][0]["localizer"]
    small = {
        table: [{k: row[k] for k in kept} for row in metrics[table] if row["localizer"] == own]
        for table in ("crowd", "robust")
    }
    return metrics | small
