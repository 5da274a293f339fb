"""Shared by all tests: one thread for sums, hypothesis without clocks, the real recordings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("livespt.tools.conformance")  # failures show their values
# before torch is loaded: small nets learn no faster on two threads, and where cores are busy these
# spin while they wait for each other (a minute for a test of five seconds)
os.environ.setdefault("OMP_NUM_THREADS", "1")
# compiling and loaded machines break deadlines, and look like slow generators; what is tried does
# not change from run to run
settings.register_profile(
    "livespt", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("livespt")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real recordings, named by LIVESPT_DATA; the test skips without it."""
    folder = os.environ.get("LIVESPT_DATA")
    if not folder:
        pytest.skip("LIVESPT_DATA does not name a folder of real recordings")
    return Path(folder)


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of motion networks as large as the shipped ones, of random weights.

    As the shipped ones, those of uncoating read intensities, too.

    `segmenter.onnx`, `uncoating.onnx` and of each NAME_whole.onnx. What they say means nothing;
    all that does not depend on the weights can be tested with them.
    """
    import torch

    from livespt.models.motion import features, intensity_features
    from livespt.models.networks.motion import Follow, Whole
    from livespt.models.networks.motion_graph import save
    from livespt.models.runtime.card import write_card

    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    decision = {"lag": 20, "threshold": 0.6, "hold": 2}
    told = features.COUNT, features.COUNT + intensity_features.COUNT
    kinds = (("segmenter", "segment", 4, 96, told[0]), ("uncoating", "uncoating", 1, 64, told[1]))
    for name, task, *size in kinds:
        for net, end in ((Follow(*size), ""), (Whole(*size), "_whole")):
            with torch.no_grad():
                for weight in net.parameters():
                    weight.mul_(2)  # so that answers differ from track to track
            own: dict[str, Any] = {"input": {}, "training": {}, "metrics": {}, "provenance": {}}
            if not end:
                own |= {"lag": 20, "farthest": 30, "decision": decision}
            path = save(net, folder / f"{name}{end}.onnx")
            write_card(path, task=task + end, seed=0, abstain_below=0.3, **own)
    return folder
