"""Learn the hidden Markov model of steps that fingerprints hold; run it to print its constants."""

from __future__ import annotations

import numpy as np

from livespt.models.fingerprint.step_hmm import Floats, StepModel, fit_step_model


def learn(tracks: int = 300, points: int = 30, seed: int = 1) -> StepModel:
    """Fit the model CHAIN to stretches of simulated tracks, in 2-D and 3-D, of both variants.

    The steps of each stretch of `points` points are divided by their mean; gaps end a stretch.
    """
    from livespt.models.simulate.tracks import VARIANTS, simulate_tracks

    steps: list[Floats] = []
    for variant in VARIANTS:
        for ndim in (2, 3):
            found = simulate_tracks(tracks, seed=seed, variant=variant, ndim=ndim)
            for i in range(tracks):
                rows = slice(found.offset[i], found.offset[i + 1])
                point, frame = found.point[rows], found.frame[rows]
                for k in range(0, len(point) - points + 1, points):
                    if frame[k + points - 1] - frame[k] == points - 1:
                        step = np.linalg.norm(np.diff(point[k : k + points], axis=0), axis=1)
                        steps.append(step / step.mean())
    offset = np.arange(len(steps) + 1) * (points - 1)
    return fit_step_model(np.concatenate(steps), offset)


def written(chain: StepModel) -> str:
    """The constants as they stand in models/fingerprint/step_hmm.py, to be put there."""
    lines = [
        f"    {name}=np.array({np.round(value, 4).tolist()}),"
        for name, value in zip(chain._fields, chain, strict=True)
    ]
    return "\n".join(["CHAIN = StepModel(", *lines, ")"])


if __name__ == "__main__":
    print(written(learn()))
