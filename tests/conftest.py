"""Shared by all tests: one thread for sums, hypothesis without clocks, the real recordings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# before torch is loaded: small nets learn no faster on two threads, and where cores are busy these
# spin while they wait for each other (a minute for a test of five seconds)
os.environ.setdefault("OMP_NUM_THREADS", "1")
# compiling and loaded machines break deadlines, and look like slow generators
settings.register_profile("livespt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("livespt")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real recordings, named by LIVESPT_DATA; the test skips without it."""
    folder = os.environ.get("LIVESPT_DATA")
    if not folder:
        pytest.skip("LIVESPT_DATA does not name a folder of real recordings")
    return Path(folder)
