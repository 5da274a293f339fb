"""Columns of the features, by the names in `definitions`."""

from livespt.models.fingerprint.definitions import NAMES

ALPHA, D, OFFSET, FIT_P = map(NAMES.index, ("alpha", "D", "offset", "fit_p"))
LOG_EFFICIENCY, EFFICIENCY = NAMES.index("log_efficiency"), NAMES.index("efficiency")
FRACTAL_DIMENSION, GAUSSIANITY = NAMES.index("fractal_dimension"), NAMES.index("gaussianity")
KURTOSIS, MSD_RATIO = NAMES.index("kurtosis"), NAMES.index("msd_ratio")
TRAPPEDNESS, HULL = NAMES.index("trappedness"), NAMES.index("hull")
STEP_STATES, STEP_DWELL = NAMES.index("step_state_1"), NAMES.index("step_dwell")
MEAN_STEP, MEAN_MSD, MEAN_DOT = map(NAMES.index, ("mean_step", "mean_msd", "mean_dot"))
SAME_TURN, FORWARD = NAMES.index("same_turn"), NAMES.index("forward")
MIN_STEP, MAX_STEP, STEP_RANGE = map(NAMES.index, ("min_step", "max_step", "step_range"))
STEP_VARIATION, INSTANT_D = NAMES.index("step_variation"), NAMES.index("instant_D")
SLOW_SHARE, FAST_SHARE = NAMES.index("slow_share"), NAMES.index("fast_share")
SHARES, SEGMENTS = NAMES.index("normal_share"), NAMES.index("segments")
PLACE_MEAN, PLACE_MEDIAN = NAMES.index("place_mean"), NAMES.index("place_median")
PLACE_MAX, PLACE_MIN, PLACE_SD = map(NAMES.index, ("place_max", "place_min", "place_sd"))
BEHAVIOUR_JUMP = NAMES.index("behaviour_jump")
