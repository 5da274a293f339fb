"""Baselines: small networks from the literature, with which `evaluate segmenter` compares.

Their input is in micrometres, as in the literature, not the motion features of this project. They
are reimplemented here at a small size and trained for minutes; they are not shipped.

- `WindowLSTM` is a bidirectional LSTM on short windows, as in the comparison of the DeepSPT paper
  (Kaestel-Hansen et al., Nat. Methods 2025), without its attention.
- `UNet` is a network for whole tracks of the kind of that paper, with few channels.

Importing this module imports torch: import it where a network is trained or evaluated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from livespt.stream.types import MOTIONS


class WindowLSTM(nn.Module):
    """Scores (T, B, 4) of B windows, from `inputs` numbers for each point (T, B, inputs)."""

    def __init__(self, inputs: int, hidden: int = 64) -> None:
        super().__init__()
        self.carry = nn.LSTM(inputs, hidden, bidirectional=True)
        self.leave = nn.Linear(2 * hidden, len(MOTIONS))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """Scores; `there` (T, B) is False in the padding behind short windows, which is ignored."""
        count = there.sum(0)
        if int(count.min()) == len(x):
            return torch.as_tensor(self.leave(self.carry(x)[0]))
        packed = pack_padded_sequence(x, count, enforce_sorted=False)
        states = pad_packed_sequence(self.carry(packed)[0], total_length=len(x))[0]
        return torch.as_tensor(self.leave(states))


class Convolutions(nn.Module):
    """Twice convolution, LayerNorm and ReLU, on channels (B, C, T); padding stays zero."""

    def __init__(self, inputs: int, outputs: int, kernel: int, dilation: int) -> None:
        super().__init__()
        reach = dilation * (kernel - 1) // 2
        widths = (inputs, outputs)
        self.convolve = nn.ModuleList(
            nn.Conv1d(n, outputs, kernel, padding=reach, dilation=dilation) for n in widths
        )
        self.norm = nn.ModuleList(nn.LayerNorm(outputs) for _ in widths)

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """Output channels; `there` (B, 1, T) is 1, or 0 in padding."""
        for convolve, norm in zip(self.convolve, self.norm, strict=True):
            x = torch.relu(norm(convolve(x).mT).mT) * there
        return x


class UNet(nn.Module):
    """Scores (T, B, 4) of B whole tracks, from `inputs` numbers for each point (T, B, inputs).

    Encoder and bottleneck have kernel 5 and dilation 2, and halve the length by max-pooling. The
    decoder doubles the length by nearest-neighbour interpolation, applies a convolution, joins the
    result with that of the encoder, and has dilation 1.

    Padding follows the tracks and is set to zero after every convolution, like the values beyond
    the end of a track, so that scores do not depend on the amount of padding (those of DeepSPT do).
    In place of the BatchNorm of DeepSPT there is a LayerNorm over the channels of a point: 30
    tracks with D over four decades have no common variance, and with BatchNorm the same training
    reached an accuracy of 0.60 instead of 0.75.
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
        """Scores; `there` (T, B) is False in the padding behind short tracks."""
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
