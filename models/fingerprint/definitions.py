"""Definition of each feature of a fingerprint: name, unit, formula, origin, and differences.

The origin is `P` for Pinholt et al. 2021 (PNAS 118, e2104624118), or `D` for features that DeepSPT
added. Notation, for a stretch of N points in d dimensions:

- n = N - 1 is the number of steps, T the number of frames from the first to the last point, and dt
  the frame interval (s).
- u_t is a step vector; a step over a gap of g frames is divided by sqrt(g). s_t = |u_t| is its
  length (um per frame), and p_t = u_t . u_(t+1).
- extent is the largest distance between two points, path the summed length of the raw steps.
- m_k and q_k are the means of |r|^2 and |r|^4 over all pairs k frames apart, k = 1..K.
  K = N/2 - 1, or N - 1 if N <= 20. Lags without any pair are left out.
- c is the motion with the largest probability (0..3 in the order of MOTIONS), and a segment is a
  run of points with equal c.
"""

from __future__ import annotations

from typing import NamedTuple


class Feature(NamedTuple):
    """Definition of one of the forty features."""

    name: str
    unit: str
    formula: str
    origin: str  # P or D
    still: str  # value if nothing moves or the stretch is too short
    differs: str = ""  # difference from the public DeepSPT code


GAPS = "public code counts points, not frames"
FEATURES = (
    Feature(
        "alpha",
        "1",
        "exponent of the least squares fit m_k = A k^alpha, equal weights, 1e-4 <= alpha <= 10",
        "P",
        "0 (also below 2 lags)",
        "solved to 1e-9 in one variable; the offset, 0 in the public fit, is feature 3",
    ),
    Feature("D", "um2/s^alpha", "A / (2 d dt^alpha) of the same fit", "P", "0", "no floor of 1e-9"),
    Feature(
        "offset",
        "um2",
        "intercept of the straight line through m_k, equal weights; not clipped",
        "P",
        "0 (also below 2 lags)",
        "constant 0 in the public code; here 2 d sigma^2 of Brownian motion seen with noise sigma,"
        " large where the MSD levels off, negative where it bends up",
    ),
    Feature(
        "fit_p",
        "1",
        "chi square tail of sum ((m_k / fit_k - 1)^2 / v_k), K - 2 degrees of freedom; v_k:"
        " relative variance of m_k of Brownian motion (Qian et al. 1991)",
        "P",
        "1 (also below 3 lags)",
        "public: error of 1e-10 (always 0), or its own residual; lags are taken as independent",
    ),
    Feature(
        "log_efficiency",
        "1",
        "ln max(feature 6, 1e-6)",
        "P",
        "ln 1e-6; 0 for one point",
        "floor, where the public code has minus infinity",
    ),
    Feature(
        "efficiency",
        "1",
        "|r_N - r_1|^2 / (T sum s_t^2), from 0 to 1",
        "P",
        "0",
        f"T for n: {GAPS}",
    ),
    Feature("fractal_dimension", "1", "ln N / (ln N + ln(extent / path)) (Katz)", "P", "0"),
    Feature(
        "gaussianity",
        "1",
        "mean over k of d/(d + 2) q_k / m_k^2: 1 for Brownian motion; lags with m_k = 0 left out",
        "P",
        "0",
        "public: sum of fourth powers of coordinates, over the square of the next lag's m",
    ),
    Feature(
        "kurtosis",
        "1",
        "Pearson kurtosis of positions along the main axis of their covariance (3: Gaussian)",
        "P",
        "0",
    ),
    Feature(
        "msd_ratio",
        "1",
        "mean over k < K of m_k / m_(k+1) - k/(k + 1): 0 for Brownian motion",
        "P",
        "0 (also below 2 lags)",
        "public: index instead of lag, so one too small",
    ),
    Feature(
        "trappedness",
        "1",
        "1 - min(1, a exp(-b D n dt / R^2)): D = (m_2 - m_1) / (2 d dt), at least 0 (first two lags"
        " seen); R = extent / 2; disc: a = 1.602, b = 5.783; ball: a = 2, b = pi^2",
        "P",
        "0 (also below 2 lags)",
        "public: MSD difference for D, and log10 taken for ln",
    ),
    *(
        Feature(
            f"step_state_{j}",
            "1",
            f"share of steps in state {j} of 4, slow to fast, on the Viterbi path",
            "P",
            "1 in the slowest, 0 in others; 0 for one point",
            "steps in units of their mean (or `step_um`), own constants (fingerprint_hmm);"
            " public: absolute um, two states nearly equal, 2-D constants in 3-D",
        )
        for j in (1, 2, 3, 4)
    ),
    Feature(
        "step_dwell",
        "steps",
        "mean length of runs of one state of steps, first and last run left out; one switch: the"
        " longer run; none: n",
        "P",
        "n",
    ),
    Feature("mean_step", "um", "mean s_t", "D", "0", GAPS),
    Feature("mean_msd", "um2", "mean m_k over k", "D", "0", GAPS),
    Feature("mean_dot", "um2", "mean p_t", "D", "0 (also below 3 points)", GAPS),
    Feature(
        "same_turn",
        "1",
        "share of neighbours p_t, p_(t+1) of equal sign",
        "D",
        "0 (also below 4 points)",
        "a p_t of 0 has no sign",
    ),
    Feature(
        "forward",
        "1",
        "share of p_t > 0",
        "D",
        "0 (also below 3 points)",
        "public: skips the first p_t",
    ),
    Feature("min_step", "um", "min s_t", "D", "0"),
    Feature("max_step", "um", "max s_t", "D", "0"),
    Feature("step_range", "um", "max s_t - min s_t", "D", "0"),
    Feature("step_variation", "1", "standard deviation (n - 1) of s_t / mean s_t", "D", "0"),
    Feature(
        "slow_share",
        "1",
        "share of s_t < slow_um",
        "D",
        "1; one point: 0",
        "0.1 um made a setting",
    ),
    Feature("fast_share", "1", "share of s_t > fast_um", "D", "0", "0.4 um made a setting"),
    Feature(
        "hull",
        "um2 or um3",
        "area (2-D) or volume (3-D) of convex hull",
        "D",
        "0 (also if flat)",
    ),
    *(
        Feature(f"{name}_share", "1", f"share of frames of {name}", "D", "no probabilities: 0")
        for name in ("normal", "directed", "confined", "subdiffusive")
    ),
    Feature("segments", "1", "number of segments", "D", "no probabilities: 0"),
    Feature("instant_D", "um2/s", "mean s_t^2 / (2 d dt)", "D", "0", GAPS),
    *(
        Feature(
            f"place_{name}",
            "1",
            f"{name} over segments i = 1, 2.. of i (c_i + 1)",
            "D",
            "no probabilities: 0",
            "public: i from 0, which makes the minimum a constant",
        )
        for name in ("mean", "median", "max", "min", "sd")
    ),
    Feature(
        "behaviour_jump",
        "1",
        "median |g_(i+1) - g_i| over segments, g = 0, 1, 4, 6 for the four behaviours",
        "D",
        "0 (also one segment)",
    ),
)
NAMES = tuple(feature.name for feature in FEATURES)
COUNT = len(FEATURES)
