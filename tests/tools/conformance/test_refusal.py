"""Refusals are told from other errors, and importing the suites loads no test runner."""

from __future__ import annotations

import subprocess
import sys

import pytest

from livespt.stream.errors import InputError
from livespt.tools.conformance.refusal import refusal


def test_importing_the_suites_loads_no_test_runner() -> None:
    names = ("linker", "localizer", "recording", "refusal", "samples", "sink", "source")
    code = f"import sys\nfor name in {names}: __import__('livespt.tools.conformance.' + name)\n"
    code += "print([name for name in ('pytest', '_pytest', 'hypothesis') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_refusal_is_one_line_of_the_right_error() -> None:
    def refuse(text: str) -> None:
        raise InputError(text)

    assert refusal(InputError, lambda: refuse("movie.tif is truncated")) == "movie.tif is truncated"
    for wrong in (lambda: None, lambda: refuse("two\nlines"), lambda: refuse("")):
        with pytest.raises(AssertionError):
            refusal(InputError, wrong)
    with pytest.raises(KeyError):
        refusal(InputError, lambda: {}["x"])
