"""The motion networks in torch: what an answer may depend on, and what not."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from livespt.models.motion import features
from livespt.models.networks.motion import LAG, TAPS, Follow, Whole, tap_of


def some_traits(n: int = 3, length: int = 50, seed: int = 0) -> Tensor:
    """Traits (T, n, COUNT) of no track in particular."""
    return torch.randn(length, n, features.COUNT, generator=torch.Generator().manual_seed(seed))


def ages_of(length: int, n: int, age: int) -> Tensor:
    """Everyone asks about the point `age` points back, or about the first."""
    return torch.arange(length)[:, None].expand(length, n).clamp(max=age)


def follow(outputs: int = 4) -> Follow:
    torch.manual_seed(0)
    return Follow(outputs, hidden=24).eval()


def whole(outputs: int = 4) -> Whole:
    torch.manual_seed(0)
    return Whole(outputs, hidden=24).eval()


def reversed_of(x: Tensor, counts: list[int]) -> tuple[Tensor, Tensor]:
    """`back` and `turn` of tracks of these lengths, padded behind."""
    back, turn = torch.zeros_like(x), torch.zeros(x.shape[:2], dtype=torch.int64)
    for i, n in enumerate(counts):
        back[:n, i] = x[:n, i].flip(0)
        turn[:n, i] = torch.arange(n).flip(0)
    return back, turn


@pytest.mark.parametrize("age", range(LAG + 1))
def test_taps_lead_from_the_newest_point_to_the_one_asked_for(age: int) -> None:
    taps = [int(tap_of(torch.tensor(age), k)) for k in range(TAPS)]
    assert taps[0] == 0 and taps[-1] == age and taps == sorted(taps)
    assert max(b - a for a, b in itertools.pairwise(taps)) <= -(-age // (TAPS - 1)) + 1


@torch.no_grad()
@pytest.mark.parametrize("age", [0, 1, 7, LAG])
def test_an_answer_depends_on_what_was_seen_and_on_nothing_later(age: int) -> None:
    net, x = follow(), some_traits()
    later = x.clone()
    later[30:] += 1
    before, after = (net(some, ages_of(50, 3, age)) for some in (x, later))
    assert torch.equal(before[:30], after[:30])
    assert (before[30:] - after[30:]).abs().amax((1, 2)).min() > 1e-4, "the newest point matters"


@torch.no_grad()
def test_the_past_reaches_far_and_neighbours_do_not_matter() -> None:
    net, x = follow(), some_traits()
    other = x.clone()
    other[0, 1] += 3
    one, two = net(x, ages_of(50, 3, 0)), net(other, ages_of(50, 3, 0))
    assert (one - two)[49, 1].abs().max() > 0
    assert (one - two)[:, (0, 2)].abs().max() < 1e-6


@torch.no_grad()
def test_hindsight_answers_otherwise_than_the_moment_did() -> None:
    net, x = follow(), some_traits()
    now, later = net(x, ages_of(50, 3, 0)), net(x, ages_of(50, 3, 10))
    assert (later[10:] - now[:-10]).abs().max() > 1e-2
    assert torch.equal(later[0], now[0]), "the first point has no point before it"


@torch.no_grad()
def test_each_age_has_its_own_temperature() -> None:
    net, x = follow(), some_traits()
    plain = [net(x, ages_of(50, 3, age)) for age in (0, 12)]
    net.temperature[:] = 2
    net.temperature[12] = 4
    warm = [net(x, ages_of(50, 3, age)) for age in (0, 12)]
    torch.testing.assert_close(warm[0], plain[0] / 2)
    torch.testing.assert_close(warm[1][12:], plain[1][12:] / 4)
    torch.testing.assert_close(warm[1][:12], plain[1][:12] / 2)


@torch.no_grad()
@pytest.mark.parametrize("outputs", [4, 1])
def test_padding_and_neighbours_do_not_matter_to_whole_tracks(outputs: int) -> None:
    net, x = whole(outputs), some_traits(4, 60)
    counts = [60, 1, 37, 12]
    back, turn = reversed_of(x, counts)
    together = net(x, back, turn)
    for i, n in enumerate(counts):
        mine = x[:n, i : i + 1]
        alone = net(mine, *reversed_of(mine, [n]))
        assert alone.shape == (n, 1, outputs)
        torch.testing.assert_close(together[:n, i], alone[:, 0], rtol=0, atol=1e-5)


@torch.no_grad()
def test_a_whole_track_is_seen_from_both_ends() -> None:
    net, x = whole().double(), some_traits(1).double()
    reference = net(x, *reversed_of(x, [50]))
    for place in (0, 49):
        other = x.clone()
        other[place] += 3
        change = (net(other, *reversed_of(other, [50])) - reference).abs().amax((1, 2))
        assert change.min() > 0
