"""Networks that predict the motion states of growing tracks and of finished ones.

The segmenter has four outputs (four motions), the uncoating classifier one. They solve the task of
DeepSPT (Kaestel-Hansen et al., Nat. Methods 2025), but are not its U-Net: they need a thousandth of
the operations and give a prediction at every point. Their input are the motion features of each
point (models/motion/features.py).

- `Follow` is causal. A recurrent layer keeps a hidden state of the track, so that a new point costs
  one step, however long the track is. One head predicts the state of the newest point and of any
  point up to `LAG` points before it: it compares what was known at that point with what is known
  now.
- `Whole` is bidirectional: it processes a finished track from its start and from its end.

Importing this module imports torch: import it where a network is trained or exported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from livespt.models.motion import features

LAG = 30  # greatest age of a predicted point, in points before the newest
TAPS = 5  # points that the head sees, evenly spaced from the newest to the predicted one
MESSAGE = 32  # numbers that are kept for every point
ENTER = 64  # width between the features and the recurrent layer


class Follow(nn.Module):
    """Scores (T, B, outputs) of B tracks, from the features of their points (T, B, inputs).

    Parameters
    ----------
    outputs
        Scores of a point: 4 for motions, 1 for uncoating.
    hidden
        Size of the hidden state of a track.
    inputs
        Number of features of a point: the motion features, followed by the intensity features
        if the network uses intensities.
    """

    temperature: Tensor

    def __init__(self, outputs: int, hidden: int = 96, inputs: int = features.COUNT) -> None:
        super().__init__()
        self.outputs, self.hidden, self.inputs = outputs, hidden, inputs
        self.enter = nn.Linear(inputs, ENTER)
        self.carry = nn.GRU(ENTER, hidden)
        self.to_message = nn.Linear(hidden, MESSAGE)
        self.head = nn.Linear(TAPS * MESSAGE + 2, 64)
        self.leave = nn.Linear(64, outputs)
        # one for each age; fitted on held-out tracks after training, it calibrates the scores
        self.register_buffer("temperature", torch.ones(LAG + 1))

    def forward(self, x: Tensor, age: Tensor) -> Tensor:
        """Scores, at every time t, of the point t - `age`; `age` (T, B) is int64."""
        messages = self.to_message(self.carry(torch.relu(self.enter(x)))[0])  # (T, B, MESSAGE)
        return self.scores(gather_taps(messages, age), age)

    def scores(self, taps: Tensor, age: Tensor) -> Tensor:
        """Scores (..., outputs) from `taps` (..., TAPS * MESSAGE) at `age` (...)."""
        facts = torch.cat([taps, age_facts(age)], -1)
        scores = self.leave(torch.relu(self.head(facts)))
        calibrated: Tensor = scores / self.temperature[age][..., None]
        return calibrated


def tap_of(age: Tensor, k: int) -> Tensor:
    """Age of the point of tap `k`: tap 0 is the newest point, the last tap the predicted one."""
    return (age * k + 2) // (TAPS - 1)


def age_facts(age: Tensor) -> Tensor:
    """Encoding (..., 2) of the age (...), an input of the head."""
    x = age.float()
    return torch.stack([x / LAG, torch.log1p(x) / 3.5], -1)


def gather_taps(messages: Tensor, age: Tensor) -> Tensor:
    """Gather the taps (T, B, TAPS * MESSAGE) of `messages` (T, B, MESSAGE) for `age` (T, B)."""
    now = torch.arange(len(messages), device=messages.device)[:, None]
    rows = [(now - tap_of(age, k)).clamp(min=0) for k in range(TAPS)]
    parts = [torch.gather(messages, 0, r[..., None].expand_as(messages)) for r in rows]
    return torch.cat(parts, -1)


class Round(nn.Module):
    """A bidirectional recurrent layer: (T, B, inputs) to (T, B, 2 hidden)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.enter_back = nn.Linear(inputs, ENTER), nn.Linear(inputs, ENTER)
        self.carry, self.carry_back = nn.GRU(ENTER, hidden), nn.GRU(ENTER, hidden)

    def forward(self, x: Tensor, back: Tensor, turn: Tensor) -> Tensor:
        """Hidden states at each point, from the points before it and from those after it."""
        ahead = self.carry(torch.relu(self.enter(x)))[0]
        behind = self.carry_back(torch.relu(self.enter_back(back)))[0]
        return torch.cat([ahead, turned(behind, turn)], -1)


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """Reverse each track: rows of `x` (T, B, n) in the order `turn` (T, B)."""
    return torch.gather(x, 0, turn[..., None].expand_as(x))


class Whole(nn.Module):
    """Scores (T, B, outputs) of finished tracks, each from the whole track.

    There are two bidirectional layers, so that the second one has, at every point, the result of
    the first one for the whole track.

    Parameters
    ----------
    outputs, inputs
        As in `Follow`.
    hidden
        Size of the hidden state of each direction.
    """

    temperature: Tensor

    def __init__(self, outputs: int, hidden: int = 96, inputs: int = features.COUNT) -> None:
        super().__init__()
        self.outputs, self.hidden, self.inputs = outputs, hidden, inputs
        self.first, self.second = Round(inputs, hidden), Round(2 * hidden, hidden)
        self.head = nn.Linear(2 * hidden, 96)
        self.leave = nn.Linear(96, outputs)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, x: Tensor, back: Tensor, turn: Tensor) -> Tensor:
        """Scores from the features of each point, computed forwards (`x`) and backwards (`back`).

        `back` (T, B, inputs) begins with the last point of each track. `turn` (T, B) int64 is, for
        each row of `x`, the row of `back` with the same point. Padding comes after the points.
        """
        heard = self.first(x, back, turn)
        known = self.second(heard, turned(heard, turn), turn)
        scores: Tensor = self.leave(torch.relu(self.head(known))) / self.temperature
        return scores
