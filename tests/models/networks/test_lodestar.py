"""LodeSTAR: half-pixel conventions, equivariance of the losses, normalization, the ONNX graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from livespt.models.networks import lodestar, lodestar_graph


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blob(size: int, y: float, x: float, sigma: float = 2.0) -> torch.Tensor:
    """A Gaussian (size, size) at (y, x) from the middle."""
    line = torch.arange(size) - (size - 1) / 2
    return torch.exp(-((line[:, None] - y) ** 2 + (line[None] - x) ** 2) / (2 * sigma**2))


def centroid(views: torch.Tensor) -> torch.Tensor:
    """(n, 2) from the middle of views (n, 1, size, size)."""
    line = torch.arange(views.shape[-1]) - (views.shape[-1] - 1) / 2
    total = views.sum(dim=(1, 2, 3))
    y = (views[:, 0] * line[:, None]).sum(dim=(1, 2)) / total
    x = (views[:, 0] * line[None]).sum(dim=(1, 2)) / total
    return torch.stack([y, x], 1)


@pytest.mark.parametrize(("crop", "view"), [(35, 35), (35, 34), (41, 24), (36, 36)])
def test_copies_lie_where_they_say(crop: int, view: int) -> None:
    point = torch.tensor([1.3, -2.1])
    copies = lodestar.draw_copies(32, 2.5, 1.1, seeded())
    views = lodestar.transform(blob(crop, *point.tolist(), sigma=1.7), copies, view)
    wanted = copies.matrix @ point + copies.shift
    error = centroid(views) - wanted
    assert error.abs().max() < 0.05 and error.mean(dim=0).abs().max() < 0.01  # bicubic, no bias
    assert (copies.back(wanted) - point).abs().max() < 1e-4


def test_copies_turn_mirror_and_scale() -> None:
    copies = lodestar.draw_copies(400, 2.5, 1.3, seeded())
    scale = torch.linalg.det(copies.matrix)
    assert 0.4 < (scale < 0).float().mean() < 0.6
    assert 1 / 1.3**2 - 1e-4 <= scale.abs().min() and scale.abs().max() <= 1.3**2 + 1e-4
    assert copies.shift.abs().max() <= 2.5
    angle = torch.atan2(copies.matrix[:, 1, 0], copies.matrix[:, 0, 0])
    assert torch.histc(angle, 4, -torch.pi, torch.pi).min() > 60


def test_a_cell_is_the_middle_of_two_pixels() -> None:
    at = lodestar.positions(torch.zeros(1, 3, 5, 8))[0]  # of an input of 10 x 16 pixels
    pixel = at + torch.tensor([4.5, 7.5])[:, None, None]
    assert pixel[0, :, 0].tolist() == [0.5, 2.5, 4.5, 6.5, 8.5]
    assert pixel[1, 0].tolist() == [0.5 + 2 * k for k in range(8)]


@pytest.mark.parametrize("net", lodestar.NETS)
def test_output_cells_are_centred_on_their_pixels(net: str) -> None:
    """The gradient of a cell is symmetric about the point that `positions` counts from."""
    torch.manual_seed(0)
    layers = lodestar.build(net)
    for layer in layers:
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.constant_(layer.weight, 0.1)
            torch.nn.init.zeros_(layer.bias)
    image = torch.ones(1, 1, 80, 96, requires_grad=True)
    layers(image)[0, 0, 20, 25].backward()
    reach = image.grad[0, 0].abs() > 0
    rows, columns = (torch.nonzero(reach.any(dim=k)).flatten() for k in (1, 0))
    # max-pooling passes the gradient of equal pixels to one of two: half a cell of slack
    slack = 0.5 if net == "paper" else 0.0
    assert abs((rows[0] + rows[-1]) / 2 - 40.5) <= slack
    assert abs((columns[0] + columns[-1]) / 2 - 50.5) <= slack


def perfect(copies: lodestar.Copies, point: torch.Tensor, cells: int) -> torch.Tensor:
    """What a perfect network answers: every cell points at the particle, weight by nearness."""
    n = len(copies.shift)
    out = torch.zeros(n, 3, cells, cells)
    there = (copies.matrix @ point + copies.shift)[:, :, None, None]
    gap = there - lodestar.positions(out)
    out[:, :2] = gap
    out[:, 2] = 4 - (gap**2).sum(dim=1)
    return out


def test_losses_vanish_for_an_equivariant_answer_only() -> None:
    copies = lodestar.draw_copies(8, 3.0, 1.2, seeded())
    out = perfect(copies, torch.tensor([0.4, -0.7]), 16)
    trust, own = torch.ones(8), torch.ones(8, 16, 16)
    between, within = lodestar.losses(out, copies, trust, own, seeded())
    assert between < 1e-4 and within < 1e-4
    out[:, 0] += 0.3  # an offset that does not turn with the copies
    between, within = lodestar.losses(out, copies, trust, own, seeded())
    assert between > 0.1 and within < 1e-4
    noisy = perfect(copies, torch.zeros(2), 16)
    noisy[:, :2] += torch.randn(noisy[:, :2].shape, generator=seeded())
    assert lodestar.losses(noisy, copies, trust, own, seeded())[1] > 0.5


def test_cells_of_an_intruder_do_not_count() -> None:
    copies = lodestar.draw_copies(4, 2.0, 1.0, seeded())
    out = perfect(copies, torch.zeros(2), 16)
    own = torch.ones(4, 16, 16)
    own[:, :, 12:] = 0
    spoiled = out.clone()
    spoiled[:, :2, :, 12:] += 30
    spoiled[:, 2, :, 12:] = 9
    between, within = lodestar.losses(spoiled, copies, torch.ones(4), own, seeded())
    assert between < 1e-4 and within < 1e-4


def test_intruders_keep_their_distance() -> None:
    crop = blob(35, 0, 0, 1.5)
    copies = lodestar.draw_copies(64, 2.0, 1.0, seeded())
    views = lodestar.transform(crop, copies, 34)
    mixed, own = lodestar.intrude(views, crop, copies, 6.0, seeded(1))
    added = mixed - views
    present = added.abs().amax(dim=(1, 2, 3)) > 0.1
    assert 0.3 < present.float().mean() < 0.7
    assert bool((own[~present] == 1).all())
    bright = (added[present] / added[present].amax(dim=(1, 2, 3), keepdim=True)).clamp(min=0.2)
    gap = (centroid(bright - 0.2) - copies.shift[present]).norm(dim=1)
    assert gap.min() > 5.5
    # the particle's own cell is always its own
    cells = ((copies.shift + 16.5) / 2).round().long().clamp(0, 16)
    assert bool((own[torch.arange(64), cells[:, 0], cells[:, 1]] == 1).all())


def test_copies_of_any_brightness_have_the_noise_of_a_frame() -> None:
    views = torch.zeros(64, 1, 64, 64)
    views[..., :32] = 10.0
    for gain, noise, low, high in (((0.1, 0.1), 0.0, 0.95, 1.05), ((9.0, 9.0), 1.0, 0.95, 1.48)):
        varied = lodestar.vary(views, seeded(4), gain, noise)
        for half in (varied.views[..., :32], varied.views[..., 32:]):
            spread = half.std(dim=(1, 2, 3))
            assert low <= spread.min() and spread.max() <= high
        steps = varied.views[..., :32].mean(dim=(1, 2, 3)) - varied.views[..., 32:].mean((1, 2, 3))
        assert steps.tolist() == pytest.approx([10.0 * gain[0]] * 64, abs=0.2)
        assert varied.trust.mean() == pytest.approx(1, abs=1e-5)


def test_bright_copies_have_photon_noise() -> None:
    """Of variance 1 + shot signal; the shot may be half or double, on the average the same."""
    varied = lodestar.vary(torch.full((400, 1, 32, 32), 10.0), seeded(5), (2.0, 2.0), 0.0, 0.4)
    variance = varied.views.var(dim=(1, 2, 3))
    assert float(variance.median()) == pytest.approx(1 + 0.4 * 20, rel=0.1)
    assert 1 + 0.2 * 20 < 1.15 * float(variance.min()) < 1.4 * (1 + 0.2 * 20)
    assert 1 + 0.8 * 20 < 1.15 * float(variance.max()) < 1.4 * (1 + 0.8 * 20)


def noisy_frame(shape: tuple[int, int] = (128, 120), spots: int = 20) -> torch.Tensor:
    rng = np.random.default_rng(0)
    frame = rng.normal(1000, 10, shape)
    for y, x in rng.uniform(8, 110, (spots, 2)).astype(int):
        frame[y - 4 : y + 5, x - 4 : x + 5] += 300 * blob(9, 0, 0, 1.4).numpy()
    return torch.from_numpy(frame.astype(np.float32))


def test_normalized_frames_know_no_gain_and_offset() -> None:
    frame, normalize = noisy_frame(), lodestar.Normalize(32)
    plain = normalize(frame)
    for other in (3.7 * frame, frame + 5000, 0.01 * frame - 7):
        assert (normalize(other) - plain).abs().max() < 0.05
    assert (normalize(5000 - frame) + plain).abs().max() < 0.05  # dark particles mirror bright


@pytest.mark.parametrize("spots", [0, 30])
def test_noise_is_measured_beside_particles(spots: int) -> None:
    import onnxruntime

    content = lodestar_graph.serialize(lodestar.build("light"), lodestar.Normalize(32))
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (noise,) = session.run(["noise"], {"frame": noisy_frame(spots=spots).numpy()})
    assert float(noise) == pytest.approx(10, rel=0.05 if spots == 0 else 0.15)


def test_uneven_light_goes_away() -> None:
    ramp = torch.linspace(0, 800, 120).expand(128, 120)
    z = lodestar.Normalize(24)(noisy_frame(spots=0) + ramp)[0, 0]
    assert z[20:-20, 20:-20].std() < 1.2


CALM = {
    "zeros": np.zeros((40, 50)),
    "constant": np.full((40, 50), 65535.0),
    "fraction": np.full((33, 17), 0.1),
    "negative": np.full((16, 16), -3.0),
}


@pytest.mark.parametrize("case", CALM)
def test_a_frame_of_one_value_is_all_background(case: str) -> None:
    z = lodestar.Normalize(35)(torch.from_numpy(CALM[case].astype(np.float32)))
    assert bool(torch.isfinite(z).all()) and z.abs().max() < 0.5


def test_a_noiseless_frame_is_finite() -> None:
    frame = torch.zeros(64, 64)
    frame[20:29, 20:29] = blob(9, 0, 0, 1.4) * 1e4
    z = lodestar.Normalize(32)(frame)
    assert bool(torch.isfinite(z).all()) and z.max() > 10


@pytest.mark.parametrize("net", lodestar.NETS)
@pytest.mark.parametrize("shape", [(64, 64), (101, 77), (16, 16), (17, 130)])
def test_the_graph_is_the_torch_network(net: str, shape: tuple[int, int]) -> None:
    import onnxruntime

    torch.manual_seed(1)
    layers, normalize = lodestar.build(net), lodestar.Normalize(35)
    content = lodestar_graph.serialize(layers, normalize)
    assert content == lodestar_graph.serialize(layers, normalize)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    frame = noisy_frame((160, 160))[: shape[0], : shape[1]].contiguous()
    field, noise = session.run(None, {"frame": frame.numpy()})
    with torch.no_grad():
        wanted = layers(lodestar.squash(normalize(frame))).numpy()
    assert field.shape == (1, 3, shape[0] // 2, shape[1] // 2)
    np.testing.assert_allclose(field, wanted, atol=1e-5)
    assert 7 < float(noise) < 14


def test_training_teaches_equivariance() -> None:
    """A few hundred steps on one noisy crop: the loss falls, and shifted copies are followed."""
    torch.manual_seed(0)
    generator = seeded()
    crop = 12 * blob(25, 0.3, -0.2, 1.5) + torch.randn(25, 25, generator=generator)
    net = lodestar.build("light")
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    course = []
    for _ in range(350):
        copies = lodestar.draw_copies(8, 2.5, 1.1, generator)
        views = lodestar.transform(crop, copies, 24)
        varied = lodestar.vary(views, generator, (0.5, 2.0), 0.5)
        out = net(lodestar.squash(varied.views))
        own = torch.ones(8, 12, 12)
        between, within = lodestar.losses(out, copies, varied.trust, own, generator)
        optimizer.zero_grad()
        (between + within).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        course.append(float(between.detach()) + float(within.detach()))
    assert np.mean(course[-30:]) < 0.4 * np.mean(course[:30])
