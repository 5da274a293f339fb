"""DeepSPT's question in a network small enough to be asked again at every frame.

One design serves the segmenter (four motions) and the uncoating classifier. It is not DeepSPT's
U-Net (Kaestel-Hansen et al., Nat. Methods 2025): same question, a thousandth of the operations.

- Lengths are measured in the track's own typical step, so neither pixel size nor D matters.
- Steps meet learned filters, the same for every axis; only norms of the filtered vectors and
  angles between them go on. So a track turned in space gives the same answer, in 2-D and in 3-D.
- A dilated convolutional trunk of cells, two points a cell counted from the last point on: motion
  hardly changes within a cell, and half the rate is half the cost. Each point gets its own scores.
- What precedes the first point stays silent in every layer, so the answer does not depend on how
  much padding precedes a young track, nor on the other windows of a batch.

Importing this module imports torch: import it where a network is trained or exported.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LAGS = (1, 2, 4, 8, 16, 32)  # points spanned by the first filters
CELL = 2  # points
QUIET = 0.01  # squared typical steps: below this a filtered length counts as nothing
STUCK = 1e-4  # pixels: typical step of a particle that does not move at all
SILENCE = -1e6  # far below what any layer can add, so that a rectifier keeps padding at zero


class Motion(nn.Module):
    """Scores (n, N, outputs) of windows (n, N, 5); columns dt, z, y, x, valid (stream/window.py).

    Parameters
    ----------
    outputs
        Scores a point: 4 motions, or 1 for uncoated against not.
    channels
        Width of the trunk; ONNX Runtime is fast at multiples of 16.
    dilations
        One residual block each; its kernel spans three cells, `dilation` apart.
    """

    temperature: Tensor

    def __init__(
        self,
        outputs: int,
        channels: int = 64,
        dilations: tuple[int, ...] = (1, 2, 4, 8, 16, 1, 4, 16),
    ) -> None:
        super().__init__()
        self.outputs = outputs
        left, right = first_filters(LAGS)
        self.pairs = len(left)
        taps = torch.cat([left, right])[:, None, None]  # (2 pairs, 1, 1, taps)
        self.filters = nn.Conv2d(1, len(taps), (1, taps.shape[3]), (1, CELL), bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(taps)
        self.enter = nn.Conv2d(3 * self.pairs + 3 * CELL + 1, channels, 1)
        self.blocks = nn.ModuleList([Block(channels, d) for d in dilations])
        self.leave = nn.Conv2d(channels, CELL * outputs, 1)
        # dividing by it calibrates; fitted on held-out tracks after training
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, windows: Tensor) -> Tensor:
        n, length = windows.shape[0], windows.shape[1]
        odd = length % CELL
        features, silence = self.features(functional.pad(windows, (0, 0, odd, 0)))
        x = self.enter(features) + silence  # (n, channels, 1, cells)
        for block in self.blocks:
            x = block(x)
        scores = self.leave(torch.relu(x)).reshape(n, CELL, self.outputs, -1)
        scores = scores.permute(0, 3, 1, 2).reshape(n, -1, self.outputs)
        answer: Tensor = scores[:, odd:] / self.temperature
        return answer

    def features(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """What the trunk sees (n, features, 1, cells), and the silence of padding, likewise."""
        n, valid = windows.shape[0], windows[:, :, 4]  # (n, N)
        before = functional.pad(windows[:, :-1], (0, 0, 1, 0))
        stepped = valid * before[:, :, 4]  # a step needs both ends
        steps = (windows[:, :, 1:4] - before[:, :, 1:4]) * stepped[:, :, None]
        dt = windows[:, :, 0].clamp(min=1.0)
        flat = (steps[:, :, 0].abs().amax(1) == 0).to(steps.dtype)  # (n,)

        # typical step a frame; the square root keeps a wrong link from setting the scale
        roots = ((steps * steps).sum(2) / dt + 1e-12).sqrt().sqrt() * stepped
        root = roots.sum(1) / stepped.sum(1).clamp(min=1.0)
        scale = (root * root).clamp(min=STUCK)  # (n,)

        units = (steps / scale[:, None, None]).transpose(1, 2)[:, None]  # (n, 1, 3, N)
        reach = self.filters.kernel_size[1] // 2
        units = functional.pad(units, (reach - CELL // 2, reach - CELL // 2))
        vectors = self.filters(units)  # (n, 2 pairs, 3, cells)
        left, right = vectors[:, : self.pairs], vectors[:, self.pairs :]
        energy = (vectors * vectors).sum(2, keepdim=True) + QUIET
        dots = (left * right).sum(2, keepdim=True)
        cosines = dots / (energy[:, : self.pairs] * energy[:, self.pairs :]).sqrt()

        facts = torch.stack([valid, stepped, dt.log() * stepped], 2)  # (n, N, 3)
        facts = facts.reshape(n, -1, CELL * 3).transpose(1, 2)[:, :, None]  # (n, 6, 1, cells)
        flat = flat[:, None, None, None].expand_as(facts[:, :1])
        padded = 1 - facts[:, 3:4]  # the later point of a cell decides: padding lies on the left
        return torch.cat([0.5 * energy.log(), cosines, facts, flat], 1), padded * SILENCE


class Block(nn.Module):
    """Residual block: look around, `dilation` cells apart, and mix."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(
            channels, channels, (1, 3), padding=(0, dilation), dilation=(1, dilation)
        )
        self.mix = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.mix.weight)  # a block starts as nothing: deep, yet trainable unnormed
        nn.init.zeros_(self.mix.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.mix(torch.relu(self.look(torch.relu(x))))
        return y


def first_filters(lags: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Two sets (pairs, taps) of filters of steps to start from; rows of a pair make an angle.

    For each lag k the displacements over k points before and after a point (their angle is the
    turning angle at lag k), then with triangular weights: the way between the mean positions of
    neighbouring stretches, which localization noise disturbs less. Lag 1 stands for both points
    of a cell.
    """
    reach = max(lags)
    left, right = [], []
    for flat in (True, False):
        for lag in lags:
            if lag == 1 and not flat:
                continue  # a triangle of one point is the step itself
            ramp = (torch.arange(lag) + 0.5) / lag
            weight = torch.ones(lag) if flat else torch.minimum(ramp, 1.5 - ramp)
            weight = weight / weight.norm()  # white steps give every filter the same length
            for shift in (0, 1) if lag == 1 else (1,):
                past, ahead = torch.zeros(2 * reach + CELL), torch.zeros(2 * reach + CELL)
                here = reach + shift  # tap of the step that leads to this point of the cell
                past[here + 1 - lag : here + 1] = weight
                ahead[here + 1 : here + 1 + lag] = weight
                left.append(past)
                right.append(ahead)
    return torch.stack(left), torch.stack(right)
