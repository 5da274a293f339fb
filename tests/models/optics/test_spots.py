"""Optics: spots keep their photons and places, the camera its statistics, the bound its table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from livespt.models.optics.spots import camera, photons_for_snr, precision_bound, render, uneven
from livespt.stream.errors import SettingError


@pytest.mark.parametrize("sigma", [0.7, 1.3, 2.5])
@pytest.mark.parametrize("place", [(20.0, 30.0), (20.5, 29.5), (18.3, 31.77)])
def test_a_spot_keeps_its_photons_place_and_width(sigma: float, place: tuple[float, float]) -> None:
    image = render([place[0]], [place[1]], [1000.0], (48, 64), sigma).astype(np.float64)
    assert image.sum() == pytest.approx(1000, rel=2e-4)
    y, x = np.mgrid[:48, :64]
    middle = (y * image).sum() / image.sum(), (x * image).sum() / image.sum()
    assert middle == pytest.approx(place, abs=2e-3)
    width = ((y - middle[0]) ** 2 * image).sum() / image.sum()
    assert width == pytest.approx(sigma**2 + 1 / 12, rel=0.01)  # a pixel's own variance is 1/12


def test_a_pixel_is_the_integral_over_its_area() -> None:
    image = render(5.3, 6.1, 500.0, (12, 12), 1.3)
    fine = (np.arange(12 * 200) + 0.5) / 200 - 0.5
    line = [np.exp(-((fine - at) ** 2) / (2 * 1.3**2)) for at in (5.3, 6.1)]
    whole = np.outer(*line) * 500 / (2 * math.pi * 1.3**2) / 200**2
    exact = whole.reshape(12, 200, 12, 200).sum((1, 3))
    near = np.abs(np.subtract.outer(np.arange(12), [5.3, 6.1])) < 4 * 1.3
    inside = np.outer(near[:, 0], near[:, 1])
    np.testing.assert_allclose(image[inside], exact[inside], rtol=1e-3, atol=1e-4)
    assert np.abs(image - exact)[~inside].max() < 0.03  # cut off: 500 photons, 4 sigma


def test_spots_add_up_and_may_lie_outside() -> None:
    shape = (30, 40)
    y, x = np.array([5.0, 6.5, -1.0, 29.6, 300.0]), np.array([5.0, 7.0, 20.0, 39.9, -50.0])
    photons = np.array([100.0, 200.0, 300.0, 400.0, 500.0])
    together = render(y, x, photons, shape, 1.3, background=7.0)
    one_by_one = sum(render(y[i], x[i], photons[i], shape, 1.3) for i in range(5))
    np.testing.assert_allclose(together, np.asarray(one_by_one) + 7, rtol=1e-5)
    assert 0 < np.sum(together[:, 19:22] - 7) < 300  # cut by the edge
    assert together.dtype == np.float32 and together.shape == shape
    empty = render([], [], [], shape, 1.3, background=3.0)
    assert np.all(empty == 3)


@pytest.mark.parametrize(
    ("light", "gain", "read"), [(100.0, 1.0, 1.5), (5.0, 0.25, 0.0), (400.0, 0.5, 3.0)]
)
def test_camera_has_its_mean_and_variance(light: float, gain: float, read: float) -> None:
    rng = np.random.default_rng(1)
    counts = camera(
        np.full((400, 400), light, np.float32),
        rng,
        offset=100,
        gain_e_per_count=gain,
        read_noise_e=read,
    )
    assert counts.dtype == np.uint16
    variance = (light + read**2) / gain**2 + 1 / 12 * (read > 0)  # rounding adds 1/12
    assert counts.mean() == pytest.approx(100 + light / gain, abs=5 * variance**0.5 / 400)
    assert counts.var() == pytest.approx(variance, rel=0.02)


def test_camera_saturates_and_never_wraps() -> None:
    rng = np.random.default_rng(2)
    assert np.all(camera(np.full((5, 5), 1e6), rng) == 65535)
    assert camera(np.zeros((200, 200)), rng, offset=0, read_noise_e=2).max() < 20


def test_uneven_background_is_uneven_about_its_level() -> None:
    field = uneven((128, 200), 100.0, np.random.default_rng(3))
    assert field.shape == (128, 200) and field.dtype == np.float32
    assert field.mean() == pytest.approx(100, rel=0.01)
    assert field.min() > 10 and np.ptp(field) > 20
    steepest = max(np.abs(np.diff(field, axis=0)).max(), np.abs(np.diff(field, axis=1)).max())
    assert steepest < 5  # nothing as sharp as a spot
    again = uneven((128, 200), 100.0, np.random.default_rng(3))
    np.testing.assert_array_equal(field, again)


# Published with the definition of SNR above: sigma 1.3 px, b = 100 photons, read noise 1.5 e-.
TABLE = [(3, 370, 0.260), (5, 680, 0.148), (7, 1048, 0.101), (10, 1718, 0.066), (20, 5127, 0.028)]


@pytest.mark.parametrize(("snr", "photons", "bound"), TABLE)
def test_snr_and_bound_agree_with_the_table(snr: float, photons: float, bound: float) -> None:
    assert photons_for_snr(snr, 100, 1.3) == pytest.approx(photons, abs=1)
    peak = photons_for_snr(snr, 100, 1.3) / (2 * math.pi * 1.3**2)
    assert peak / np.sqrt(peak + 100) == pytest.approx(snr)
    least = precision_bound(photons, 100, 1.3, read_noise_e=1.5)
    assert least.shape == (1, 4)
    assert least[0, 0] == pytest.approx(least[0, 1]) == pytest.approx(bound, abs=6e-4)


def test_bound_of_photons_is_above_their_shot_noise() -> None:
    least = precision_bound([200.0, 2000.0], [50.0, 1e-6], 1.3)
    assert least[0, 2] > math.sqrt(200)
    assert least[1, 2] == pytest.approx(math.sqrt(2000), rel=0.02)  # no background: counting
    assert least[1, 0] == pytest.approx(math.sqrt((1.3**2 + 1 / 12) / 2000), rel=0.03)


def test_bound_is_reached_by_maximum_likelihood() -> None:
    """One Fisher scoring step from the truth is efficient where the bound holds."""
    rng = np.random.default_rng(4)
    size, photons, level, sigma = 15, 3000.0, 100.0, 1.3
    middle = size // 2
    mean = render(middle, middle, photons, (size, size), sigma, level).astype(np.float64)
    nudge = 1e-2
    slope = [
        (render(middle + a, middle + b, photons, (size, size), sigma).astype(np.float64)
         - render(middle - a, middle - b, photons, (size, size), sigma)) / (2 * nudge)
        for a, b in ((nudge, 0.0), (0.0, nudge))
    ]  # fmt: skip
    slope += [(mean - level) / photons, np.ones_like(mean)]
    design = np.stack([part.ravel() for part in slope])
    information = (design / mean.ravel()) @ design.T
    noise = rng.poisson(mean.ravel(), (4000, size * size)) - mean.ravel()
    estimate = np.linalg.solve(information, (design / mean.ravel()) @ noise.T)
    bound = precision_bound(photons, level, sigma, window=size)[0]
    np.testing.assert_allclose(estimate.std(1), bound, rtol=0.05)


@pytest.mark.parametrize(
    ("photons", "window", "words"), [(100.0, 8, "odd number"), (0.0, 9, "above 0")]
)
def test_what_has_no_bound_is_refused(photons: float, window: int, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        precision_bound(photons, 10.0, 1.3, window=window)
