"""Batches of tracks, side by side, that the networks which read tracks learn from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.motion import features, intensity_features
from livespt.models.simulate import tracking_errors
from livespt.models.simulate.tracks import Tracks

if TYPE_CHECKING:
    from torch import Tensor


POOL = 1536  # tracks made at a time; each is learned from once
BATCHES = 24  # of a pool, tracks of similar length together, as many points in each
KNOWN_SIZE_SHARE = 0.5  # of tracks whose pixel size is known
NEWEST_SHARE, OLDEST_SHARE = 0.25, 0.15  # of predictions that are of these points
INPUT = {  # as the cards say it
    "dtype": "float32",
    "axes": "track, trait",
    "traits": "models/motion/features.py; models/motion/intensity_features.py behind them where "
    "intensities are read",
    "pixels": "any size, the same in z, y and x; z = 0 in two dimensions; their size in um helps",
}


class TrackBatch(NamedTuple):
    """Tracks side by side, T points the longest; padding follows the shorter ones."""

    ahead: Tensor  # (T, B, inputs) float32
    back: Tensor  # likewise, each track from its last point on
    turn: Tensor  # (T, B) int64: row of `back` of the same point as that row of `ahead`
    truth: Tensor  # (T, B) int64, -1 in padding


class TrackBatches:
    """Batches of tracks that no other batch is made of.

    Parameters
    ----------
    make : callable
        Number of a pool to its tracks.
    seed : int
    truth : callable
        Tracks to what the network is to learn of every point.
    both : bool
        Tell of the tracks backwards, too.
    with_intensity : bool
        Tell of their intensities, too.
    """

    def __init__(
        self,
        make: Callable[[int], Tracks],
        seed: int,
        truth: Callable[[Tracks], Any],
        both: bool,
        with_intensity: bool = False,
    ) -> None:
        self._make, self._seed, self._truth = make, seed, truth
        self._both, self._with_intensity = both, with_intensity
        self._number = -1

    def __call__(self, step: int) -> TrackBatch:
        """The batch of step number `step`."""
        number, k = divmod(step, BATCHES)
        if number != self._number:
            self._fill(number)
        return self._batch(self._groups[k])

    def _fill(self, number: int) -> None:
        rng = np.random.default_rng((self._seed, number))
        tracks = self._make(number)
        pixel_sizes_um = (rng.random(len(tracks.uncoat)) < KNOWN_SIZE_SHARE).astype(np.float64)
        self._number, self._offset = number, tracks.offset
        self._labels = self._truth(tracks)
        self._ahead = features_of(tracks, pixel_sizes_um, self._with_intensity)
        self._back = (
            features_of(tracks, pixel_sizes_um, self._with_intensity, backwards=True)
            if self._both
            else self._ahead
        )
        count = np.diff(tracks.offset)
        order = np.argsort(count * rng.uniform(1, 1.1, len(count)), kind="stable")
        share = np.cumsum(count[order]) / count.sum()
        cuts = np.searchsorted(share, np.arange(1, BATCHES) / BATCHES)
        groups = np.split(order, cuts)
        self._groups = [groups[k] for k in rng.permutation(BATCHES)]

    def _batch(self, which: NDArray[np.int64]) -> TrackBatch:
        return side_by_side(self._offset, self._ahead, self._back, self._labels, which)


def features_of(
    tracks: Tracks,
    pixel_sizes_um: NDArray[np.float64],
    with_intensity: bool,
    backwards: bool = False,
) -> NDArray[np.float32]:
    """Features of every point (total, inputs); `pixel_sizes_um` (tracks,) are those of tracks."""
    motion = features.of_tracks(
        tracks.offset, tracks.frame, tracks.point, pixel_sizes_um, backwards
    )
    if not with_intensity:
        return motion
    seen = intensity_features.of_tracks(
        tracks.offset, tracking_errors.intensities(tracks), backwards
    )
    return np.concatenate([motion, seen], axis=1)


def side_by_side(
    offset: NDArray[np.int64],
    ahead: NDArray[np.float32],
    back: NDArray[np.float32],
    truth: NDArray[Any],
    which: NDArray[np.int64],
) -> TrackBatch:
    """Pad the tracks `which` of concatenated rows to a batch."""
    import torch

    count = offset[which + 1] - offset[which]
    k = np.arange(max(int(count.max(initial=1)), 1))[:, None]
    there = k < count
    rows = np.where(there, offset[which] + k, 0)
    turn = np.where(there, count - 1 - k, 0)
    ends = np.where(there, offset[which] + turn, 0)
    labels = np.where(there, truth[rows], -1).astype(np.int64)
    return TrackBatch(
        torch.from_numpy(ahead[rows] * there[..., None]),
        torch.from_numpy(back[ends] * there[..., None]),
        torch.from_numpy(turn),
        torch.from_numpy(labels),
    )


def ages(seed: int, step: int, shape: tuple[int, ...], lag: int) -> NDArray[np.int64]:
    """Ages (T, B) of the points to predict at each time of a batch, limited by the first point."""
    rng = np.random.default_rng((seed, step, lag))
    kind, age = rng.random(shape), rng.integers(0, lag + 1, shape)
    age[kind < NEWEST_SHARE] = 0
    age[kind > 1 - OLDEST_SHARE] = lag
    first: NDArray[np.int64] = np.minimum(age, np.arange(shape[0])[:, None])
    return first
