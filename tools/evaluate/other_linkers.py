"""Other linkers: for comparison on the same points.

They are trackpy (Crocker-Grier), laptrack (Jaqaman et al., Nat. Methods 5, 695 (2008), as in
TrackMate) and btrack (Kalman filters and a Bayesian belief matrix, followed by its optimizer over
whole tracks). None of them is installed with livespt.
"""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import MissingError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Linked = Callable[[Ints, Floats, float, int], Ints]


def available() -> dict[str, Linked]:
    """Linkers that run on this computer, by name."""
    known: dict[str, Linked] = {
        "trackpy": by_trackpy,
        "laptrack": by_laptrack,
        "btrack": by_btrack,
        "btrack_brownian": partial(by_btrack, brownian=True),
    }
    return {name: one for name, one in known.items() if missing(name.split("_")[0]) is None}


def versions() -> dict[str, str]:
    """Version of each linker, or why it does not run."""
    return {name: missing(name) or version(name) for name in ("trackpy", "laptrack", "btrack")}


def missing(name: str) -> str | None:
    """Why a linker does not run on this computer; None if it does."""
    found = find_spec(name)
    if found is None or found.origin is None:
        return f"{name} is not installed; pip install {name}"
    if name == "btrack":  # its compiled part needs a recent C++ library
        ending = {"darwin": "dylib", "win32": "DLL"}.get(sys.platform, "so")
        try:
            ctypes.CDLL(str(Path(found.origin).parent / "libs" / f"libtracker.{ending}"))
        except OSError as error:
            return f"btrack cannot be loaded: {error}"
    return None


def by_trackpy(frame: Ints, points: Floats, search_range: float, memory: int) -> Ints:
    """Track of each point, by `trackpy.link_iter`.

    Parameters
    ----------
    frame : (n,) int
        Frames in ascending order; frames without points count as well.
    points : (n, 2 or 3)
    search_range : float
        Greatest distance of a link, in the unit of the points.
    memory : int
        Frames for which a particle may be missed.
    """
    need("trackpy")
    import trackpy

    trackpy.quiet()
    linked = trackpy.link_iter(
        iter(_movie(frame, points)),
        search_range,
        memory=memory,
        adaptive_stop=0.25 * search_range,  # only where it would fail (SubnetOversizeException)
        adaptive_step=0.9,
    )
    tracks = [np.asarray(ids, np.int64) for _, ids in linked]
    return np.concatenate([np.empty(0, np.int64), *tracks])


def by_laptrack(frame: Ints, points: Floats, search_range: float, memory: int) -> Ints:
    """Track of each point, by `laptrack.LapTrack`; gaps closed within the same range."""
    need("laptrack")
    from laptrack import LapTrack

    settings: dict[str, Any] = {
        "metric": "sqeuclidean",
        "cutoff": search_range**2,
        "gap_closing_metric": "sqeuclidean",
        "gap_closing_cutoff": search_range**2 if memory else False,
        "gap_closing_max_frame_count": memory + 1,  # frames since the last point
        "splitting_cutoff": False,
        "merging_cutoff": False,
    }
    movie = _movie(frame, points)
    tree = LapTrack(**settings).predict(movie)
    first = np.concatenate([[0], np.cumsum([len(at) for at in movie])])
    parent = np.arange(len(frame))
    for (one, i), (two, j) in sorted(tree.edges()):
        parent[first[two] + j] = parent[first[one] + i]
    return parent


def by_btrack(
    frame: Ints, points: Floats, search_range: float, memory: int, *, brownian: bool = False
) -> Ints:
    """Track of each point, by btrack, including its optimizer over whole tracks.

    Numbers without a unit are those of its `particle_config.json`. Lengths, which in this file are
    chosen for cells, are proportional to the search range. With `brownian`, there is no velocity,
    and `accuracy` and `prob_not_assign` are as tolerant as random steps need (the best of twelve
    choices).
    """
    need("btrack")
    from btrack import BayesianTracker
    from btrack.constants import BayesianUpdates
    from btrack.io.utils import localizations_to_objects

    logging.getLogger("btrack").setLevel(logging.ERROR)
    at = np.zeros((len(points), 3))
    at[:, 3 - points.shape[1] :] = points
    low, high = at.min(0) - 1, at.max(0) + 1
    config: dict[str, Any] = {
        "motion_model": _motion_model(search_range, memory, brownian),
        "hypothesis_model": _hypothesis_model(search_range, memory),
        "max_search_radius": search_range,
        "update_method": BayesianUpdates.APPROXIMATE,  # EXACT needs minutes per frame of 1000
        "volume": tuple(zip(low[::-1].tolist(), high[::-1].tolist(), strict=True)),
    }
    track = np.full(len(frame), -1, np.int64)
    with BayesianTracker(verbose=False) as tracker:
        tracker.configure(config)
        table = {"t": frame, "x": at[:, 2], "y": at[:, 1], "z": at[:, 0]}
        tracker.append(localizations_to_objects(table))
        tracker.track()
        tracker.optimise(options={"tm_lim": 60_000, "msg_lev": "GLP_MSG_OFF"})
        for number, refs in enumerate(tracker.refs):
            rows = np.array(refs)
            track[rows[rows >= 0]] = number  # below 0 are points that it inserts into gaps
    return track


def _motion_model(search_range: float, memory: int, brownian: bool) -> dict[str, Any]:
    move = np.eye(6)
    if not brownian:
        move[:3, 3:] = np.eye(3)
    return {
        "measurements": 3,
        "states": 6,
        "dt": 1.0,
        "accuracy": min(search_range * (1.0 if brownian else 0.25), 10.0),  # its upper limit is 10
        "prob_not_assign": 0.1 if brownian else 0.001,
        "max_lost": memory,
        "A": move,
        "H": np.eye(3, 6),
        "P": np.diag([0.1, 0.1, 0.1, 1, 1, 1]) * search_range**2,
        "G": np.array([0.5, 0.5, 0.5, 1, 1, 1]) * 0.3 * search_range,
        "R": np.eye(3) * (0.05 * search_range) ** 2,
    }


def _hypothesis_model(search_range: float, memory: int) -> dict[str, Any]:
    return {
        "hypotheses": ["P_FP", "P_init", "P_term", "P_link"],
        "lambda_time": 5.0,
        "lambda_dist": 3.0,
        "lambda_link": search_range,
        "lambda_branch": 50.0,
        "eta": 1e-10,
        "theta_dist": 2 * search_range,
        "theta_time": 5.0,
        "dist_thresh": 2 * search_range,
        "time_thresh": memory + 1,
        "apop_thresh": 5,
        "segmentation_miss_rate": 0.1,
        "apoptosis_rate": 0.001,
        "relax": True,
    }


def need(name: str) -> None:
    """Raise MissingError if a package is not installed."""
    reason = missing(name)
    if reason is not None:
        raise MissingError(reason)


def _movie(frame: Ints, points: Floats) -> list[Floats]:
    """Points of every frame from the first to the last."""
    every = np.arange(frame.min(), frame.max() + 1)
    cuts = np.searchsorted(frame, every[1:])
    return np.split(points, cuts)
