"""Parts that the recipes of the motion networks share: batches, training loop, checkpoints."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from livespt.stream.errors import MissingError, SettingError
from livespt.tools import progress

if TYPE_CHECKING:
    from torch import Tensor, nn


WARM_UP = 0.05  # share of the steps in which the learning rate rises
MAX_GRADIENT_NORM = 1.0  # so that a single batch cannot spoil the weights
KEEP_EVERY = 250  # steps between checkpoints, and between evaluations on held-out tracks
PATIENCE = 12  # evaluations without improvement after which training ends
THREADS = 1  # with several threads, the order of sums, and so the weights, would vary


def train_network(
    net: nn.Module,
    loss_of: Callable[[int], Tensor],
    steps: int,
    rate: float,
    checkpoint: Path,
    resume: bool = False,
    title: str = "training",
    held_out_loss: Callable[[], float] | None = None,
) -> list[float]:
    """Train `net` in place; return the mean loss of every 50 steps.

    Parameters
    ----------
    loss_of : callable
        Returns the loss of step k. It must depend only on k and the weights, so that a resumed
        training gives the same result as an uninterrupted one.
    rate : float
        Greatest learning rate; it decreases to zero along a cosine.
    checkpoint : Path
        File that is written at intervals and removed at the end; `resume` continues from it.
    held_out_loss : callable
        Returns the loss on held-out tracks. The weights with the least such loss are kept, and
        training ends early after `PATIENCE` evaluations without improvement.

    Raises
    ------
    SettingError
        `resume` is given but there is no checkpoint.
    """
    import torch

    weights = list(net.parameters())
    optimizer = torch.optim.Adam(weights, lr=rate)
    first = 0
    history: list[float] = []
    recent: list[float] = []
    best = Best(net)
    if resume:
        first, history, recent = _restore(checkpoint, net, optimizer, best)
    net.train()
    for step in progress.steps(range(first, steps), title, steps, done=first):
        for group in optimizer.param_groups:
            group["lr"] = rate * _rise_and_fall(step / steps)
        optimizer.zero_grad()
        loss = loss_of(step)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, MAX_GRADIENT_NORM)
        optimizer.step()
        recent.append(float(loss.detach()))
        if len(recent) == 50:
            history.append(sum(recent) / 50)
            recent = []
        if (step + 1) % KEEP_EVERY == 0:
            if held_out_loss is not None and best.update(net, held_out_loss()):
                break
            _keep(checkpoint, net, optimizer, step + 1, history, recent, best)
    if held_out_loss is not None and best.loss < math.inf:
        best.update(net, held_out_loss())
        net.load_state_dict(best.weights)
    net.eval()
    return history


class Best:
    """The weights with the least loss on held-out tracks so far."""

    def __init__(self, net: nn.Module) -> None:
        self.loss, self.since = math.inf, 0
        self.weights = copy.deepcopy(net.state_dict())

    def update(self, net: nn.Module, loss: float) -> bool:
        """Compare a held-out loss with the best; return True if training should end."""
        if loss < self.loss:
            self.loss, self.since, self.weights = loss, 0, copy.deepcopy(net.state_dict())
        else:
            self.since += 1
        return self.since >= PATIENCE


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
    best: Best,
) -> None:
    import torch

    state = {
        "net": net.state_dict(),
        "optimizer": optimizer.state_dict(),  # type: ignore[attr-defined]
        "step": step,
        "history": history,
        "recent": recent,
        "best": {"loss": best.loss, "since": best.since, "weights": best.weights},
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)


def _restore(
    path: Path, net: nn.Module, optimizer: object, best: Best
) -> tuple[int, list[float], list[float]]:
    import torch

    if not path.is_file():
        raise SettingError(f"nothing to resume: no checkpoint {path}; start without --resume")
    state = torch.load(path, weights_only=True)  # only tensors and numbers, which cannot run code
    net.load_state_dict(state["net"])
    optimizer.load_state_dict(state["optimizer"])  # type: ignore[attr-defined]
    best.loss, best.since = state["best"]["loss"], state["best"]["since"]
    best.weights = state["best"]["weights"]
    return state["step"], state["history"], state["recent"]


def choose_device(device: str) -> str:
    """Return "cpu" or "cuda" for "auto", "cpu" or "cuda".

    Raises
    ------
    MissingError
        torch is not installed, or CUDA was requested but does not work.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingError("training needs torch: pip install 'livespt[train]'") from error
    works = torch.cuda.is_available()
    if device == "cuda" and not works:
        raise MissingError("CUDA was requested but torch does not find it: use --device cpu")
    return "cuda" if works and device != "cpu" else "cpu"


def plan(out: Path, only: str = "both", resume: bool = False) -> dict[str, tuple[Path, bool]]:
    """Networks to train, "follow" and "whole": the file of each, and whether it is resumed.

    With `resume`, a finished network is kept, and one that was not started is started.

    Raises
    ------
    SettingError
        A file cannot be written, or there is nothing to resume.
    """
    files = {"follow": out, "whole": out.with_name(f"{out.stem}_whole.onnx")}
    files = {kind: path for kind, path in files.items() if only in ("both", kind)}
    resumed = {
        kind: resume and path.with_suffix(".checkpoint").is_file() for kind, path in files.items()
    }
    if out.suffix != ".onnx":
        raise SettingError(f"--out {out} must end in .onnx")
    if not out.parent.is_dir():
        raise SettingError(f"--out {out}: there is no folder {out.parent}")
    if resume and not any(resumed.values()):
        checkpoint = out.with_suffix(".checkpoint")
        raise SettingError(f"nothing to resume: no checkpoint {checkpoint}; start without --resume")
    for path in files.values():
        if path.exists() and not resume:
            raise SettingError(f"--out {path} exists: choose another name or remove it")
    todo = {kind: path for kind, path in files.items() if resumed[kind] or not path.exists()}
    return {kind: (path, resumed[kind]) for kind, path in todo.items()}
