"""Composition: settings of runs to come and of runs replayed; nothing is compiled in mid-run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build import make_frame
from livespt.stream.link import link_frame
from livespt.stream.settings import MOTION_MODELS
from livespt.stream.types import Frame
from livespt.tools.runs.compose import compose
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.provenance import INSTRUCTION_SETS, differences

FACTS = Facts("test", "yx", (64, 64), "<u2")


def frame(number: int) -> Frame:
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:64, :64]
    light = 100 + 900 * np.exp(-((y - 30) ** 2 + (x - 20 - number) ** 2) / 3)
    image = rng.poisson(light).astype("<u2")
    return make_frame(number, image=image)


def test_a_replay_links_as_the_run_did() -> None:
    origin = compose(FACTS, Options(settings={"motion": "brownian"}), "live").start
    assert compose(FACTS, Options(), "replay", origin).analyzer.settings.motion == "brownian"
    settings = {key: value for key, value in origin.settings.items() if key != "motion"}
    older = replace(origin, settings=settings)  # written before there were motion models
    assert compose(FACTS, Options(), "replay", older).analyzer.settings.motion == "none"
    chosen = compose(FACTS, Options(settings={"motion": "auto"}), "replay", older)
    assert chosen.analyzer.settings.motion == "auto"


def test_what_may_make_the_bytes_of_a_replay_differ_is_said() -> None:
    origin = compose(FACTS, Options(), "live").start
    assert differences(compose(FACTS, Options(), "replay", origin).start, origin) == []
    other = compose(FACTS, Options(threads=2), "replay", origin).start
    assert differences(other, origin) == ["threads 2 instead of 1"]
    machine = {**origin.machine, "instructions": "avx2 fma"}
    here = replace(other, machine={**machine, "instructions": "fma avx512vnni"})
    for there, words in (
        (machine, ["a processor without avx2 and with avx512vnni"]),
        ({**machine, "instructions": "avx512vnni fma"}, []),
        ({name: machine[name] for name in machine if name != "instructions"}, []),  # an older run
    ):
        assert differences(here, replace(other, machine=there)) == words


def test_the_first_word_names_instruction_sets() -> None:
    told = compose(FACTS, Options(), "live").start.machine["instructions"].split()
    assert told == [name for name in INSTRUCTION_SETS if name in told], "in one order"
    flags = Path("/proc/cpuinfo")
    if flags.exists() and " avx2 " in flags.read_text():
        assert "avx2" in told


@pytest.mark.parametrize("motion", MOTION_MODELS)
def test_the_rehearsal_compiles_what_the_run_uses(motion: str) -> None:
    analyzer = compose(FACTS, Options(settings={"motion": motion}), "live").analyzer
    linking = (link_frame.first_bad, link_frame.measured, link_frame.plain, link_frame.moving)
    before = [len(function.signatures) for function in linking]
    assert [analyzer(frame(number)).degraded for number in range(3)] == [0, 0, 0]
    assert [len(function.signatures) for function in linking] == before
    assert before[2 if motion == "none" else 3] > 0
