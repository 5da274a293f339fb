"""Learning: what the recipes of both motion networks share: windows, the loop, checkpoints.

One analyzer reads both networks from the same windows, hence one WINDOW and one LAG.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from livespt.models import crops
from livespt.models.motion import Tracks
from livespt.stream.errors import MissingError, SettingError

if TYPE_CHECKING:
    from torch import Tensor, nn

WINDOW = 96  # points: settled, 64 cost 4 points of accuracy in 2-D, 3 in 3-D; 128 gain one
LAG = 20  # frames: 5 points of accuracy above lag 0; 10 frames more gain less than one (2-D)
POINTS = 9600  # a step
# lengths of the windows of a step, and how often: mostly the live one, and longer ones, because
# whole tracks are read too
LENGTHS, OFTEN = (64, WINDOW, 200, 400), (0.25, 0.35, 0.2, 0.2)
POOL, RENEW = 2000, 250  # tracks at a time; steps after which others take their place
WRONG_LINKS = 0.03  # windows with a point that belongs elsewhere
WARM_UP = 0.05  # of the steps: the rate rises
CLIP = 1.0  # norm of the gradient: one odd batch must not undo a thousand
KEEP_EVERY = 250  # steps between checkpoints
THREADS = 1  # sums in another order learn other weights

INPUT = {  # as the cards say it
    "dtype": "float32",
    "axes": "window, point, column",
    "columns": ["dt frames", "z", "y", "x", "valid"],
    "pixels": "any size, the same in z, y and x; z = 0 in two dimensions",
}


class Pools:
    """Tracks that a step draws its windows from; the newest pool is kept."""

    def __init__(self, make: Callable[[int], Tracks]) -> None:
        self._make = make
        self._held: tuple[int, Tracks] | None = None

    def __call__(self, step: int) -> Tracks:
        """Return the pool of step number `step`."""
        number = step // RENEW
        if self._held is None or self._held[0] != number:
            self._held = number, self._make(number)
        return self._held[1]


def batch(
    pools: Pools, seed: int, step: int, truth: Callable[[crops.Crops], Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Windows (n, N, 5), truth (n, N) and what is no padding (n, N) of step number `step`."""
    import torch

    rng = np.random.default_rng((seed, step))
    length = int(rng.choice(LENGTHS, p=OFTEN))
    some = crops.draw(rng, pools(step), POINTS // length, length)
    some = crops.teleport(rng, some, WRONG_LINKS)
    windows = torch.from_numpy(some.windows)
    return windows, torch.from_numpy(truth(some)), windows[:, :, 4] > 0


def fit(
    net: nn.Module,
    loss_of: Callable[[int], Tensor],
    steps: int,
    rate: float,
    checkpoint: Path,
    resume: bool = False,
    title: str = "training",
) -> list[float]:
    """Train `net` in place; return the mean loss of every 50 steps.

    Parameters
    ----------
    loss_of : callable
        Loss of step number k; it must depend on k and the weights alone, so that a run which is
        resumed ends as one that never stopped.
    rate : float
        Highest learning rate; it falls to zero along a cosine.
    checkpoint : Path
        Written now and then, removed at the end; `resume` goes on from there.

    Raises
    ------
    SettingError
        `resume` without a checkpoint.
    """
    import torch
    from tqdm import tqdm

    weights = list(net.parameters())
    optimizer = torch.optim.Adam(weights, lr=rate)
    first = 0
    history: list[float] = []
    recent: list[float] = []
    if resume:
        first, history, recent = _restore(checkpoint, net, optimizer)
    net.train()
    for step in tqdm(range(first, steps), desc=title, initial=first, total=steps, disable=None):
        for group in optimizer.param_groups:
            group["lr"] = rate * _rise_and_fall(step / steps)
        optimizer.zero_grad()
        loss = loss_of(step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimizer.step()
        recent.append(float(loss.detach()))
        if len(recent) == 50:
            history.append(sum(recent) / 50)
            recent = []
        if (step + 1) % KEEP_EVERY == 0:
            _keep(checkpoint, net, optimizer, step + 1, history, recent)
    net.eval()
    return history


def _rise_and_fall(done: float) -> float:
    if done < WARM_UP:
        return (done + 1e-3) / WARM_UP
    return 0.5 + 0.5 * math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))


def _keep(
    path: Path,
    net: nn.Module,
    optimizer: object,
    step: int,
    history: list[float],
    recent: list[float],
) -> None:
    import torch

    state = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),  # type: ignore[attr-defined]
        "step": step,
        "history": history,
        "recent": recent,
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _restore(path: Path, net: nn.Module, optimizer: object) -> tuple[int, list[float], list[float]]:
    import torch

    if not path.is_file():
        raise SettingError(f"nothing to resume: no checkpoint {path}; start without --resume")
    state = torch.load(path, weights_only=True)  # plain tensors and numbers: runs no code
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])  # type: ignore[attr-defined]
    return state["step"], state["history"], state["recent"]


def choose_device(device: str) -> str:
    """Return "cpu" or "cuda" for "auto", "cpu" or "cuda".

    Raises
    ------
    MissingError
        Torch is not installed, or CUDA was asked for and does not work.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingError("training needs torch: pip install 'livespt[train]'") from error
    works = torch.cuda.is_available()
    if device == "cuda" and not works:
        raise MissingError("CUDA was asked for and torch finds none here: use --device cpu")
    return "cuda" if works and device != "cpu" else "cpu"


def check_out(out: Path) -> None:
    """Refuse a model path that cannot be written, before hours of work."""
    if out.suffix != ".onnx":
        raise SettingError(f"--out {out} must end in .onnx")
    if not out.parent.is_dir():
        raise SettingError(f"--out {out}: there is no folder {out.parent}")
    if out.exists():
        raise SettingError(f"--out {out} exists: choose another name or remove it")
