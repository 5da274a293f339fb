"""Fingerprints: every feature against its formula written out, and where nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from scipy.stats import chi2, kurtosis

from livespt.models.fingerprint import displacements as msd, step_hmm as hmm
from livespt.models.fingerprint.definitions import COUNT, FEATURES, NAMES
from livespt.models.fingerprint.fingerprint import Units, fingerprints, of_tracks, rolling
from livespt.stream.errors import InputError, SettingError

Floats = NDArray[np.float64]
UNITS = {ndim: Units(ndim, 0.2, 0.05, 0.15, 0.5) for ndim in (2, 3)}


def track(n: int, seed: int, gaps: bool = False) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Points (n, 3) in pixels, frames (n,), probabilities (n, 4) in runs."""
    rng = np.random.default_rng(seed)
    step = rng.normal(size=(n, 3)) * rng.choice([0.3, 1.0, 2.0], (n, 1)) * [0.8, 1.0, 1.3]
    step[n // 2 :] += 0.5
    jump = rng.choice([1, 1, 1, 2, 4], n) if gaps else np.ones(n)
    state = np.repeat(rng.dirichlet(np.full(4, 0.4), n // 7 + 1), 7, axis=0)[:n]
    return (
        np.cumsum(step, axis=0) + np.array([5, 80, 90]),
        np.cumsum(jump).astype(np.int64) + 9,
        state,
    )


def viterbi(x: Floats) -> list[int]:
    """The best path, by plain dynamic programming over lists."""
    chain = hmm.CHAIN

    def fits(value: float, j: int) -> float:
        z = (value - chain.mean[j]) / chain.deviation[j]
        return float(-0.5 * z**2 - math.log(chain.deviation[j] * math.sqrt(2 * math.pi)))

    best = [(math.log(chain.start[j]) + fits(x[0], j), [j]) for j in range(4)]
    for value in x[1:]:
        best = [
            max(
                (best[i][0] + math.log(chain.move[i, j]) + fits(value, j), [*best[i][1], j])
                for i in range(4)
            )
            for j in range(4)
        ]
    return max(best)[1]


def runs(values: list[int]) -> list[tuple[int, int]]:
    """(value, length) of each run of equal values."""
    out: list[tuple[int, int]] = []
    for v in values:
        if out and out[-1][0] == v:
            out[-1] = (v, out[-1][1] + 1)
        else:
            out.append((v, 1))
    return out


def slow(point: Floats, frame: NDArray[np.int64], state: Floats, units: Units) -> dict[str, float]:
    """All forty features, each as its formula says, one after another."""
    d, dt = units.ndim, units.frame_interval_s
    r = point[:, 3 - d :] * units.pixel_size_um
    n = len(r)
    gap = np.diff(frame)
    u = np.diff(r, axis=0) / np.sqrt(gap)[:, None]
    s = np.linalg.norm(u, axis=1)
    p = np.array([u[t] @ u[t + 1] for t in range(n - 2)])
    most = n - 1 if n <= 20 else n // 2 - 1
    by_lag: dict[int, list[float]] = {}
    for i in range(n):
        for j in range(i + 1, n):
            if frame[j] - frame[i] <= most:
                by_lag.setdefault(int(frame[j] - frame[i]), []).append(((r[j] - r[i]) ** 2).sum())
    k = np.array(sorted(by_lag))
    m = {int(lag): float(np.mean(by_lag[lag])) for lag in k}
    q = {int(lag): float(np.mean(np.square(by_lag[lag]))) for lag in k}
    mk = np.array([m[int(lag)] for lag in k])

    def left(alpha: float) -> float:
        e = k**alpha
        return float(((mk - (mk @ e) / (e @ e) * e) ** 2).sum())

    grid = np.linspace(1e-4, 10, 4001)
    at = grid[np.argmin([left(a) for a in grid])]
    span = (max(at - 0.003, 1e-4), min(at + 0.003, 10.0))
    alpha = float(minimize_scalar(left, bounds=span, method="bounded", options={"xatol": 1e-10}).x)
    e = k**alpha
    a = (mk @ e) / (e @ e)
    relative = [
        2
        / d
        / (n - g) ** 2
        * sum(
            (n - g - abs(j)) * (1 - abs(j) / g) ** 2
            for j in range(-min(g, n - g) + 1, min(g, n - g))
        )
        for g in k.tolist()
    ]
    square = (((mk / (a * e)) - 1) ** 2 / relative).sum()
    extent = pdist(r).max()
    path = np.linalg.norm(np.diff(r, axis=0), axis=1).sum()
    efficiency = ((r[-1] - r[0]) ** 2).sum() / ((frame[-1] - frame[0]) * (s**2).sum())
    axis = np.linalg.eigh(np.cov(r.T))[1][:, -1]
    first, decay = (1.602, 5.783) if d == 2 else (2, math.pi**2)
    rise = max((mk[1] - mk[0]) / (k[1] - k[0]), 0) / (2 * d)
    trapped = 1 - min(1, first * math.exp(-decay * rise * (n - 1) / (extent / 2) ** 2))
    step_runs = runs(viterbi(s / s.mean()))
    inner = [length for _, length in step_runs[1:-1]]
    if not inner:
        inner = [max(length for _, length in step_runs)]
    path_state = [v for v, length in step_runs for _ in range(length)]
    kind = state.argmax(axis=1).tolist()
    kinds = [v for v, _ in runs(kind)]
    place = np.array([(i + 1) * (c + 1) for i, c in enumerate(kinds)])
    weight = np.array([0, 1, 4, 6])[kinds]
    sign = np.sign(p)
    values = [
        alpha,
        a / (2 * d * dt**alpha),
        np.polynomial.Polynomial.fit(k, mk, 1).convert().coef[0],
        chi2.sf(square, len(k) - 2),
        math.log(max(efficiency, 1e-6)),
        efficiency,
        math.log(n) / (math.log(n) + math.log(extent / path)),
        np.mean([q[g] / m[g] ** 2 * d / (d + 2) for g in m]),
        kurtosis(r @ axis, fisher=False),
        np.mean([m[g] / m[g + 1] - g / (g + 1) for g in m if g + 1 in m]),
        trapped,
        *[np.mean([v == j for v in path_state]) for j in range(4)],
        np.mean(inner),
        s.mean(),
        mk.mean(),
        p.mean(),
        np.mean(sign[1:] == sign[:-1]),
        np.mean(p > 0),
        s.min(),
        s.max(),
        s.max() - s.min(),
        s.std(ddof=1) / s.mean(),
        np.mean(s < units.slow_um),
        np.mean(s > units.fast_um),
        ConvexHull(r).volume,
        *[np.mean(np.equal(kind, j)) for j in range(4)],
        len(kinds),
        (s**2).mean() / (2 * d * dt),
        place.mean(),
        np.median(place),
        place.max(),
        place.min(),
        place.std(),
        np.median(np.abs(np.diff(weight))) if len(kinds) > 1 else 0.0,
    ]
    return dict(zip(NAMES, map(float, values), strict=True))


@pytest.mark.parametrize("ndim", (2, 3))
@pytest.mark.parametrize(
    "n, gaps", ((12, False), (30, False), (30, True), (90, True), (150, False))
)
def test_each_feature_is_its_formula(ndim: int, n: int, gaps: bool) -> None:
    for seed in range(3):
        one = track(n, seed + 10 * n, gaps)
        found = fingerprints(*(part[None] for part in one), UNITS[ndim])[0]
        for name, value, truth in zip(NAMES, found, slow(*one, UNITS[ndim]).values(), strict=True):
            assert value == pytest.approx(truth, rel=2e-5, abs=1e-6), (name, seed)


def test_a_long_segment_is_its_formula_too() -> None:
    one = track(450, 3)
    found = of_tracks(np.array([0, 450]), *one, UNITS[3])[0]
    truth = list(slow(*one, UNITS[3]).values())
    assert found == pytest.approx(truth, rel=1e-4, abs=1e-6)


def test_sums_by_fourier_are_the_sums_over_pairs() -> None:
    for drift in (0.0, 1.0):
        point = track(1500, 1)[0] + drift * np.arange(1500)[:, None]
        most = msd.lags(len(point))
        second, fourth = np.empty(most), np.empty(most)
        msd.pairs(*np.ascontiguousarray(point.T), most, second, fourth)
        two, four = msd.fourier(point, most)
        assert two == pytest.approx(second, rel=1e-9)
        assert four == pytest.approx(fourth, rel=1e-7)


def test_hulls_of_many_points_and_of_flat_ones() -> None:
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(300, 3))
    ball /= np.linalg.norm(ball, axis=1)[:, None]
    grid = np.stack(np.meshgrid(*[np.arange(4.0)] * 3), axis=-1).reshape(-1, 3)
    flat = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 3))
    line = np.outer(np.arange(9.0), [1, 2, 3])
    clouds = (ball, grid, flat, line, np.repeat(grid, 2, axis=0))
    hulls = (ConvexHull(ball).volume, 27.0, 0.0, 0.0, 27.0)
    for cloud, truth in zip(clouds, hulls, strict=True):
        offset, frame = np.array([0, len(cloud)]), np.arange(len(cloud))
        found = of_tracks(offset, cloud, frame, None, Units(3))[0, NAMES.index("hull")]
        assert found == pytest.approx(truth, rel=1e-6, abs=1e-9)


def test_brownian_motion_has_the_values_it_should() -> None:
    rng = np.random.default_rng(4)
    for ndim in (2, 3):
        points = np.cumsum(rng.normal(size=(2000, 100, 3)), axis=1)
        frames = np.tile(np.arange(100), (2000, 1))
        mean = dict(
            zip(NAMES, fingerprints(points, frames, None, Units(ndim)).mean(axis=0), strict=True)
        )
        assert mean["instant_D"] == pytest.approx(0.5, rel=0.01)
        assert mean["alpha"] == pytest.approx(1, abs=0.08)
        assert mean["msd_ratio"] == pytest.approx(0, abs=0.02)
        assert mean["efficiency"] == pytest.approx(1 / 99, rel=0.1)
        early = np.empty(1), np.empty(1)
        msd.pairs(*np.ascontiguousarray(points.reshape(-1, 3)[:2000].T), 1, *early)
        assert mean["same_turn"] == pytest.approx(0.5, abs=0.01)


def test_what_short_and_still_tracks_are_told() -> None:
    zero = np.zeros((1, 6, 3))
    frames = np.arange(6)[None]
    state = np.tile([0.7, 0.1, 0.1, 0.1], (1, 6, 1))
    truth = dict.fromkeys(NAMES, 0.0) | {
        "fit_p": 1.0,
        "log_efficiency": math.log(1e-6),
        "step_state_1": 1.0,
        "step_dwell": 5.0,
        "slow_share": 1.0,
        "normal_share": 1.0,
        "segments": 1.0,
        **{f"place_{name}": 1.0 for name in ("mean", "median", "max", "min")},
    }
    for ndim in (2, 3):
        still = fingerprints(zero, frames, state, Units(ndim))[0]
        assert dict(zip(NAMES, still, strict=True)) == pytest.approx(truth)
        points = track(6, 1)[0][None]
        for n in range(7):
            part = fingerprints(points, frames, state, Units(ndim), np.array([n]))
            assert np.isfinite(part).all()
            alone = of_tracks(
                np.array([0, n]), points[0, 6 - n :], frames[0, 6 - n :], None, Units(ndim)
            )
            assert np.array_equal(part[0, :28], alone[0, :28])
            if n == 1:
                known = {"fit_p", "normal_share", "segments"}
                known |= {name for name in NAMES if name.startswith("place_") and name[6:] != "sd"}
                assert {name for name, v in zip(NAMES, part[0], strict=True) if v} == known


def test_windows_segments_and_rolling_agree_to_the_byte() -> None:
    point, frame, state = track(50, 2)
    all_windows = rolling(np.array([0, 20, 50]), point, frame, state, UNITS[3])
    assert all_windows.shape == (50, COUNT) and all_windows.dtype == np.float32
    for end, start in ((20, 0), (41, 20), (50, 20)):
        part = slice(start, end)
        one = of_tracks(np.array([0, end - start]), point[part], frame[part], state[part], UNITS[3])
        assert np.array_equal(one[0], all_windows[end - 1])


def test_units_are_those_of_the_table() -> None:
    one = [part[None] for part in track(30, 5)]
    small = fingerprints(*one, Units(3, 0.1, 1.0, 0.1, 0.3))[0]
    large = fingerprints(*one, Units(3, 0.2, 0.5, 0.2, 0.6))[0]
    factor = {"um": 2.0, "um2": 4.0, "um2 or um3": 8.0, "um2/s": 8.0}
    for feature, a, b in zip(FEATURES, small, large, strict=True):
        times = factor.get(feature.unit, 1.0)
        if feature.name == "D":
            times = 4 * 2 ** float(small[0])
        assert b == pytest.approx(a * times, rel=1e-5, abs=1e-7), feature.name


def test_a_chain_is_found_again() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([0.3, 1.0, 2.0, 4.0])
    state, move = [0], 0.9
    for _ in range(6000):
        state.append(state[-1] if rng.random() < move else int(rng.integers(4)))
    step = truth[state] + rng.normal(0, 0.1, len(state))
    chain = hmm.fit_step_model(step, np.array([0, 3000, len(step)]))
    assert chain.mean == pytest.approx(truth, abs=0.02)
    assert np.diag(chain.move) == pytest.approx(0.925, abs=0.03)
    for part in (hmm.CHAIN, chain):
        assert part.move.sum(axis=1) == pytest.approx(np.ones(4))
        assert (np.diff(part.mean) > 0).all()


def test_the_table_documents_forty_features() -> None:
    assert COUNT == 40 == len(set(NAMES))
    for feature in FEATURES:
        assert feature.unit and feature.formula and feature.still and feature.origin in ("P", "D")


@pytest.mark.parametrize(
    "change, says",
    (
        ({"points": np.full((1, 5, 3), np.nan)}, "row 0"),
        ({"frames": np.array([[0, 1, 1, 2, 3]])}, "row 2"),
        ({"states": np.full((1, 5, 4), np.nan)}, "row 0"),
        ({"states": np.ones((1, 4, 4))}, "probabilities"),
        ({"frames": np.arange(4)[None]}, "frames"),
        ({"points": np.ones((5, 3))}, "(n, W, 3)"),
        ({"count": np.array([6])}, "count"),
    ),
)
def test_bad_input_is_refused(change: dict[str, object], says: str) -> None:
    good: dict[str, object] = {
        "points": np.ones((1, 5, 3)),
        "frames": np.arange(5)[None],
        "states": None,
        "units": Units(),
    }
    with pytest.raises(InputError, match=says.replace("(", r"\(").replace(")", r"\)")):
        fingerprints(**(good | change))  # type: ignore[arg-type]


def test_bad_units_are_refused() -> None:
    one = [part[None] for part in track(5, 0)]
    for units in (Units(4), Units(2, 0.0), Units(2, 1.0, math.nan), Units(2, slow_um=-1.0)):
        with pytest.raises(SettingError, match="fingerprint"):
            fingerprints(*one, units)
