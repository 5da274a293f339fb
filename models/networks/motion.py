"""DeepSPT's question, asked while the track still grows.

Two networks, each for the segmenter (four motions) and for the uncoating classifier (one). They
are not DeepSPT's U-Net (Kaestel-Hansen et al., Nat. Methods 2025): same question, a thousandth of
the operations, and an answer at every point. Both read `models.motion.features`.

- `Follow` is causal: a recurrent layer carries what it knows of a track from point to point, so a
  new point costs one step, however long the track. One head answers for the newest point and for
  any point up to `LAG` points before it: it compares what was known then with what is known now.
- `Whole` looks both ways over a finished track: the same layer from its start and from its end.

Importing this module imports torch: import it where a network is trained or exported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from livespt.models.motion import features

LAG = 30  # points: the farthest look back
TAPS = 5  # of the way from the point asked for to the newest
MESSAGE = 32  # numbers kept of every point
ENTER = 64  # width between the traits and the recurrent layer


class Follow(nn.Module):
    """Scores (T, B, outputs) of tracks side by side, from what their points say (T, B, inputs).

    Parameters
    ----------
    outputs
        Scores a point: 4 motions, or 1 for uncoated against not.
    hidden
        Numbers that carry what is known of a track.
    inputs
        Numbers that are told of a point: COUNT of `models.motion.features`, and that of
        `models.motion.intensity_features` behind them where the network reads intensities, too.
    """

    temperature: Tensor

    def __init__(self, outputs: int, hidden: int = 96, inputs: int = features.COUNT) -> None:
        super().__init__()
        self.outputs, self.hidden, self.inputs = outputs, hidden, inputs
        self.enter = nn.Linear(inputs, ENTER)
        self.carry = nn.GRU(ENTER, hidden)
        self.tell = nn.Linear(hidden, MESSAGE)
        self.head = nn.Linear(TAPS * MESSAGE + 2, 64)
        self.leave = nn.Linear(64, outputs)
        # of each age: dividing by it calibrates; fitted on held-out tracks after training
        self.register_buffer("temperature", torch.ones(LAG + 1))

    def forward(self, x: Tensor, age: Tensor) -> Tensor:
        """Scores at every moment t of the point `age` (T, B) int64 before the newest, t - age."""
        messages = self.tell(self.carry(torch.relu(self.enter(x)))[0])  # (T, B, MESSAGE)
        return self.answer(taken(messages, age), age)

    def answer(self, taps: Tensor, age: Tensor) -> Tensor:
        """Scores (..., outputs) from `taps` (..., TAPS * MESSAGE) at `age` (...)."""
        facts = torch.cat([taps, age_facts(age)], -1)
        scores = self.leave(torch.relu(self.head(facts)))
        answer: Tensor = scores / self.temperature[age][..., None]
        return answer


def tap_of(age: Tensor, k: int) -> Tensor:
    """Points before the newest at which tap `k` lies: 0 is the newest, the last the one asked."""
    return (age * k + 2) // (TAPS - 1)


def age_facts(age: Tensor) -> Tensor:
    """What the head is told of the age (...): (..., 2)."""
    x = age.float()
    return torch.stack([x / LAG, torch.log1p(x) / 3.5], -1)


def taken(messages: Tensor, age: Tensor) -> Tensor:
    """Taps (T, B, TAPS * MESSAGE) of `messages` (T, B, MESSAGE) for the `age` (T, B) asked."""
    now = torch.arange(len(messages), device=messages.device)[:, None]
    rows = [(now - tap_of(age, k)).clamp(min=0) for k in range(TAPS)]
    parts = [torch.gather(messages, 0, r[..., None].expand_as(messages)) for r in rows]
    return torch.cat(parts, -1)


class Round(nn.Module):
    """One look over finished tracks, forwards and backwards: (T, B, inputs) to (T, B, 2 hidden)."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.enter_back = nn.Linear(inputs, ENTER), nn.Linear(inputs, ENTER)
        self.carry, self.carry_back = nn.GRU(ENTER, hidden), nn.GRU(ENTER, hidden)

    def forward(self, x: Tensor, back: Tensor, turn: Tensor) -> Tensor:
        """What is known at each point: of all before it, and of all after it."""
        ahead = self.carry(torch.relu(self.enter(x)))[0]
        behind = self.carry_back(torch.relu(self.enter_back(back)))[0]
        return torch.cat([ahead, turned(behind, turn)], -1)


def turned(x: Tensor, turn: Tensor) -> Tensor:
    """Rows of `x` (T, B, n) in the order `turn` (T, B): each track from its other end."""
    return torch.gather(x, 0, turn[..., None].expand_as(x))


class Whole(nn.Module):
    """Scores (T, B, outputs) of finished tracks, with all of each in view.

    Two rounds: the second hears, at every point, what the first made of the whole track.

    Parameters
    ----------
    outputs, inputs
        As in `Follow`.
    hidden
        Of either direction.
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
        """Scores from the traits of each point forwards, `x`, and backwards, `back`.

        `back` (T, B, inputs) begins with the last point of each track; `turn` (T, B) int64 is the
        row of `back` that tells of the point in that row of `x`: padding follows, it precedes
        nothing.
        """
        heard = self.first(x, back, turn)
        known = self.second(heard, turned(heard, turn), turn)
        answer: Tensor = self.leave(torch.relu(self.head(known))) / self.temperature
        return answer
