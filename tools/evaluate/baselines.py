"""Baselines of the segmenter, from the comparison in the DeepSPT paper, on the same tracks.

- Rolling MSD: the exponent of the mean squared displacement in a window, and three motions by two
  thresholds, as in that paper. It needs no training.
- An LSTM on windows, and a U-Net on whole tracks (models/networks/baselines.py). They are trained
  here for minutes on the DeepSPT set, half in 2-D and half in 3-D, in micrometres. This is the set
  on which they are evaluated, while the shipped segmenter is also trained on harder tracks, and
  without units.
"""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.simulate import tracking_errors
from livespt.models.simulate.steps import DIRECTED, NORMAL, SUBDIFFUSIVE
from livespt.models.simulate.tracks import Tracks, simulate_tracks
from livespt.stream.compiled import njit
from livespt.stream.errors import SettingError
from livespt.stream.types import MOTIONS
from livespt.tools.score.segmenter import SETS, UNSEEN, motion_scores, rounded
from livespt.tools.train.loop import THREADS, choose_device, train_network

if TYPE_CHECKING:
    from torch import Tensor

    from livespt.models.networks.baselines import UNet, WindowLSTM


Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MSD_POINTS = 10  # of the rolling window
SLOW, FAST = 0.7, 1.3  # exponents below which motion is subdiffusive, and above which directed
MIN_MSD_UM2 = 1e-12  # least MSD, so that particles that do not move have a logarithm, um2
WINDOW, STRIDE = 30, 10  # points of a window of the LSTM; points in its middle that it labels
POOL = 1000  # tracks made at a time
BATCH_LENGTH_RATIO = 1.5  # little padding, but batches still vary
PREDICTION_POINTS = 60_000  # in a batch


class BaselinePlan(NamedTuple):
    """Settings for the training of one network."""

    name: str  # name in the table
    steps: int
    batches: int  # number of batches of a pool
    rate: float  # greatest learning rate


PLANS = {
    "lstm": BaselinePlan("windowed LSTM", 3000, 120, 3e-3),
    "unet": BaselinePlan("whole-track U-Net", 2000, 30, 2e-3),
}


def compare(figures: dict[str, Any], tracks: int, seed: int, folder: Path | None) -> None:
    """Add the baselines to the tables of `evaluate_segmenter(tracks=tracks, seed=seed)`.

    This concerns only the tables of the DeepSPT set. Networks that are not in `folder` are trained
    first; without a folder, all are trained and none is kept.
    """
    if folder is None:
        with TemporaryDirectory() as short_lived:
            return compare(figures, tracks, seed, Path(short_lived))
    train_baselines(folder)
    for name in (name for name in SETS if name.startswith("deepspt")):
        known = simulate_tracks(tracks, UNSEEN + seed, **SETS[name])
        figures[name] = figures[name] + evaluate(known, folder)


def evaluate(known: Tracks, folder: Path) -> list[dict[str, Any]]:
    """A row of `motion_scores` for each baseline; `folder` holds the networks."""
    # the rolling MSD gives no probabilities, so it has no calibration error
    certain = motion_scores(rolling_msd(known), known, 0.0) | {"ece": None}
    rows = [{"reading": "rolling MSD"} | certain]
    for kind, plan in PLANS.items():
        net, figures = load(kind, folder)
        scores = motion_scores(read(net, kind, known), known, 0.0)
        rows.append({"reading": plan.name} | scores | figures)
    return [rounded(row) for row in rows]


def rolling_msd(known: Tracks) -> NDArray[np.float32]:
    """Motions (total, 4), one of them with probability 1, from the exponent around every point.

    The method has three motions, not the confined one. Points are assumed to be one frame apart, as
    in the DeepSPT set.
    """
    alpha = exponents(known.offset, known.point, MSD_POINTS)
    motion = np.select([alpha <= SLOW, alpha >= FAST], [SUBDIFFUSIVE, DIRECTED], NORMAL)
    shares: NDArray[np.float32] = np.eye(len(MOTIONS), dtype=np.float32)[motion]
    return shares


@njit()
def exponents(offset: Ints, point: Floats, window: int) -> Floats:
    """Slope (total,) of log MSD against log lag in the `window` points around each.

    All lags of the window are used. Near the ends of a track, the window is shifted to stay inside.
    With fewer than three points there is no slope, and the result is 1.
    """
    alpha = np.ones(len(point))
    for i in range(len(offset) - 1):
        n = min(window, offset[i + 1] - offset[i])
        if n < 3:
            continue
        x = np.log(np.arange(1.0, n))
        x -= x.mean()
        for row in range(offset[i], offset[i + 1]):
            low = min(max(row - n // 2, offset[i]), offset[i + 1] - n)
            slope = 0.0
            for lag in range(1, n):
                total = 0.0
                for k in range(low, low + n - lag):
                    for axis in range(3):
                        total += (point[k + lag, axis] - point[k, axis]) ** 2
                slope += x[lag - 1] * np.log(max(total / (n - lag), MIN_MSD_UM2))
            alpha[row] = slope / (x * x).sum()
    return alpha


class Runs(NamedTuple):
    """Ranges of rows that a network processes, and ranges that it labels."""

    low: Ints  # (m,) it processes the rows low:high
    high: Ints
    begin: Ints  # (m,) it labels the rows begin:end
    end: Ints


def runs_of(kind: str, offset: Ints) -> Runs:
    """Windows for the "lstm", whole tracks for the "unet"; every row is labelled once.

    At the ends of a track, the window is shifted to stay inside.
    """
    low, high = offset[:-1], offset[1:]
    if kind == "unet":
        return Runs(low, high, low, high)
    blocks = -(-(high - low) // STRIDE)
    first, last = np.repeat(low, blocks), np.repeat(high, blocks)
    number = np.arange(blocks.sum()) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    begin = first + STRIDE * number
    seen = np.minimum(begin - (WINDOW - STRIDE) // 2, last - WINDOW)
    seen = np.maximum(seen, first)
    return Runs(seen, np.minimum(seen + WINDOW, last), begin, np.minimum(begin + STRIDE, last))


def inputs_of(kind: str, known: Tracks) -> NDArray[np.float32]:
    """Input of the networks for every point, in um.

    For "lstm" (total, 4) it is the displacement from the previous point (z, y, x) and its length.
    For "unet" (total, 5) it is the position relative to the first point of the track, this length,
    and the dot product with the previous displacement. Values that need earlier points are 0.
    """
    first = known.offset[:-1]
    move = np.diff(known.point, axis=0, prepend=known.point[:1])
    move[first] = 0
    step = np.linalg.norm(move, axis=1)
    if kind == "lstm":
        return np.column_stack([move, step]).astype(np.float32)
    path = known.point - np.repeat(known.point[first], np.diff(known.offset), axis=0)
    dot = (move * np.roll(move, 1, 0)).sum(1)
    dot[first] = 0
    return np.column_stack([path, step, dot]).astype(np.float32)


def side_by_side(low: Ints, high: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Rows (T, m) of padded ranges, and a mask that is false in padding."""
    k = np.arange((high - low).max())[:, None]
    there = k < high - low
    return np.where(there, low + k, 0), there


def network(kind: str) -> WindowLSTM | UNet:
    """An untrained network."""
    from livespt.models.networks.baselines import UNet, WindowLSTM

    return WindowLSTM(4) if kind == "lstm" else UNet(5)


def read(net: WindowLSTM | UNet, kind: str, known: Tracks) -> NDArray[np.float32]:
    """Probabilities (total, 4) of the four motions."""
    import torch

    inputs, runs = inputs_of(kind, known), runs_of(kind, known.offset)
    probability = np.empty((len(inputs), len(MOTIONS)), np.float32)
    count = runs.high - runs.low
    order = np.argsort(count, kind="stable")
    limits = np.arange(PREDICTION_POINTS, count.sum(), PREDICTION_POINTS)
    cuts = np.searchsorted(np.cumsum(count[order]), limits)
    for which in np.split(order, cuts):
        rows, there = side_by_side(runs.low[which], runs.high[which])
        with torch.no_grad():
            x = torch.from_numpy(inputs[rows] * there[..., None])
            p = net(x, torch.from_numpy(there)).softmax(-1).numpy()
        mine = there & (rows >= runs.begin[which]) & (rows < runs.end[which])
        probability[rows[mine]] = p[mine]
    return probability


class Feed:
    """Batches for training; the tracks of a batch belong to one pool."""

    def __init__(self, kind: str, seed: int) -> None:
        self._kind, self._seed, self._number = kind, seed, -1

    def __call__(self, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs (T, B, inputs), mask (T, B) that is false in padding, motions (T, B) or -1."""
        import torch

        number, k = divmod(step, PLANS[self._kind].batches)
        if number != self._number:
            self._fill(number)
        which = self._groups[k]
        rows, there = side_by_side(self._runs.low[which], self._runs.high[which])
        x = self._inputs[rows] * there[..., None]
        label = np.where(there, self._label[rows], -1)
        return torch.from_numpy(x), torch.from_numpy(there), torch.from_numpy(label)

    def _fill(self, number: int) -> None:
        known = tracks_of(self._seed, number * POOL // 2, POOL)
        self._number, self._label = number, known.label.astype(np.int64)
        self._inputs = inputs_of(self._kind, known)
        self._runs = runs_of(self._kind, known.offset)
        rng = np.random.default_rng((self._seed, number))
        count = self._runs.high - self._runs.low
        order = np.argsort(count * rng.uniform(1, BATCH_LENGTH_RATIO, len(count)), kind="stable")
        batches = PLANS[self._kind].batches
        cuts = np.cumsum(count[order]) * batches / count.sum()
        groups = np.split(order, np.searchsorted(cuts, np.arange(1, batches)))
        self._groups = [groups[k] for k in rng.permutation(batches)]


def tracks_of(seed: int, first: int, n: int) -> Tracks:
    """Simulate `n` tracks of the DeepSPT set, half of them in 3-D, as in `train segmenter`."""
    parts = [
        simulate_tracks(n // 2, seed * 10 + kind, ndim=ndim, first=first)
        for kind, ndim in enumerate((2, 3))
    ]
    return tracking_errors.join(parts)


def train_baselines(folder: Path, steps: int | None = None, seed: int = 1) -> None:
    """Train the networks `lstm.pt` and `unet.pt`, unless they are in `folder`.

    `steps` replaces the number of steps in `PLANS`. Without torch, it raises MissingError.
    """
    choose_device("cpu")
    folder.mkdir(parents=True, exist_ok=True)
    for kind in PLANS:
        if not (folder / f"{kind}.pt").exists():
            _train(kind, folder / f"{kind}.pt", steps or PLANS[kind].steps, seed)


def _train(kind: str, path: Path, steps: int, seed: int) -> None:
    """Train one network and write it to `path`, with its description for the table."""
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    net, feed = network(kind), Feed(kind, seed)
    begin = time.process_time()

    def loss_of(step: int) -> Tensor:
        x, there, label = feed(step)
        return torch.nn.functional.cross_entropy(
            net(x, there).flatten(0, 1), label.flatten(), ignore_index=-1
        )

    checkpoint = path.with_suffix(".checkpoint")
    train_network(net, loss_of, steps, PLANS[kind].rate, checkpoint, title=PLANS[kind].name)
    figures = {
        "parameters": sum(p.numel() for p in net.parameters()),
        "steps": steps,
        "cpu_s": round(time.process_time() - begin),
    }
    torch.save({"weights": net.state_dict(), "told": figures}, path)
    checkpoint.unlink(missing_ok=True)


def load(kind: str, folder: Path) -> tuple[WindowLSTM | UNet, dict[str, Any]]:
    """Load the network of this kind from `folder`, and its description for the table."""
    import torch

    path = folder / f"{kind}.pt"
    if not path.is_file():
        raise SettingError(f"no {path}: the baselines are not trained yet")
    held = torch.load(path, weights_only=True)
    net = network(kind)
    net.load_state_dict(held["weights"])
    net.eval()
    return net, held["told"]
