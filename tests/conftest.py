"""Shared by all tests: hypothesis without deadlines, which compiling and loaded machines break."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("livespt", deadline=None)
settings.load_profile("livespt")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of real recordings, named by LIVESPT_DATA; the test skips without it."""
    folder = os.environ.get("LIVESPT_DATA")
    if not folder:
        pytest.skip("LIVESPT_DATA does not name a folder of real recordings")
    return Path(folder)
