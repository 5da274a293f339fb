"""Baselines: small networks as the literature has them, which `evaluate segmenter` compares with.

Both read raw micrometres, as their models do, not `models.motion.features`. They are ours in code
and in size, trained for minutes; nothing of them is shipped.

- `WindowLSTM`: a bidirectional LSTM on short windows, as in the comparison of the DeepSPT paper
  (Kaestel-Hansen et al., Nat. Methods 2025), without its attention.
- `UNet`: that paper's own kind of network, whole tracks in view, with few channels.

Importing this module imports torch: import it where a network is trained or judged.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from livespt.stream.types import MOTIONS


class WindowLSTM(nn.Module):
    """Scores (T, B, 4) of windows side by side, from `inputs` numbers (T, B, inputs) a point."""

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        super().__init__()
        self.carry = nn.LSTM(inputs, hidden, bidirectional=True)
        self.leave = nn.Linear(2 * hidden, len(MOTIONS))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """`there` (T, B) bool: False in the padding that follows short windows, never read."""
        count = there.sum(0)
        if int(count.min()) == len(x):
            return torch.as_tensor(self.leave(self.carry(x)[0]))
        packed = pack_padded_sequence(x, count, enforce_sorted=False)
        told = pad_packed_sequence(self.carry(packed)[0], total_length=len(x))[0]
        return torch.as_tensor(self.leave(told))


class Convolutions(nn.Module):
    """Two times convolution, LayerNorm, ReLU, of channels (B, C, T); padding stays zero."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        reach = dilation * (kernel - 1) // 2
        widths = (inputs, outputs)
        self.convolve = nn.ModuleList(
            nn.Conv1d(n, outputs, kernel, padding=reach, dilation=dilation) for n in widths
        )
        self.norm = nn.ModuleList(nn.LayerNorm(outputs) for _ in widths)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """`there` (B, 1, T) float, 0 in padding."""
        for convolve, norm in zip(self.convolve, self.norm, strict=True):
            x = torch.relu(norm(convolve(x).mT).mT) * there
        return x


class UNet(nn.Module):
    """Scores (T, B, 4) of whole tracks side by side, from `inputs` numbers (T, B, inputs) a point.

    Encoder and bottom: kernel 5, dilation 2, halved by max-pooling; decoder: doubled to the
    nearest, one convolution, joined with what the encoder had, dilation 1.

    Padding follows the tracks and is set to zero after every convolution, as what lies beyond a
    track's end is: no answer depends on how much there is (DeepSPT's do). DeepSPT's BatchNorm is
    a LayerNorm over the channels of a point here: 30 tracks whose D spans four decades share no
    variance, and with BatchNorm the same training ended at 0.60 of the points right, not 0.75.
    """

    def __init__(self, inputs: int, widths: tuple[int, ...] = (16, 32, 64, 128)) -> None:
        super().__init__()
        self.halvings = len(widths) - 1
        self.down = nn.ModuleList(
            Convolutions(n, width, 5, 2)
            for n, width in zip((inputs, *widths[:-1]), widths, strict=True)
        )
        ups = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.up = nn.ModuleList(nn.Conv1d(n, width, 5, padding=2) for n, width in ups)
        self.joined = nn.ModuleList(Convolutions(2 * width, width, 5, 1) for _, width in ups)
        self.leave = nn.Conv1d(widths[0], len(MOTIONS), 1)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """`there` (T, B) bool: False in the padding that follows short tracks."""
        more = -len(x) % 2**self.halvings
        level = functional.pad(x.permute(1, 2, 0), (0, more))
        valid = [functional.pad(there.T[:, None].float(), (0, more))]
        kept: list[Tensor] = []
        for k, down in enumerate(self.down):
            level = down(level, valid[k])
            if k < self.halvings:
                kept.append(level)
                level = functional.max_pool1d(level, 2)
                valid.append(valid[k][..., ::2])  # a pair whose first point is padding is padding
        for k, (up, joined) in enumerate(zip(self.up, self.joined, strict=True)):
            at = self.halvings - 1 - k
            level = up(level.repeat_interleave(2, -1) * valid[at])
            level = joined(torch.cat([level * valid[at], kept[at]], 1), valid[at])
        scores: Tensor = self.leave(level)
        return scores[..., : len(x)].permute(2, 0, 1)
