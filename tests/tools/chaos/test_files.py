"""Harm to stores, models and movies: one of our errors or the truth, whatever is done to them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from livespt.tools.chaos.damage import damaged
from livespt.tools.chaos.files import run
from livespt.tools.chaos.good_files import SIGN, SampleFile, prepare

TRIALS = {"stores": 8, "models": 10, "tiff": 15, "zarr": 15}  # `livespt chaos files`: 2000


def contents(path: Path) -> dict[str, bytes]:
    files = [path, path.with_suffix(".json")] if path.is_file() else path.rglob("*")
    return {str(p): p.read_bytes() for p in files if p.is_file()}


@pytest.mark.parametrize(
    "kind", ["stores", "tiff", "zarr", pytest.param("models", marks=pytest.mark.slow)]
)
def test_harm_is_refused_or_harmless(kind: str, tmp_path: Path) -> None:
    goods = prepare(kind, tmp_path)
    before = [contents(good.path) for good in goods]
    outcomes: Counter[str] = Counter()
    for number in range(TRIALS[kind]):
        good = goods[number % len(goods)]
        with damaged(good.path, number, SIGN[kind]) as done:
            outcome, text = good.open(done.forged)
            assert outcome in ("read", "refused"), (number, done.what, text)
            assert good.noticed() or not done.visible, (number, done.what)
        outcomes[outcome] += 1
    assert outcomes["refused"] > TRIALS[kind] / 5  # harm is done
    assert [contents(good.path) for good in goods] == before  # and mended


def test_what_must_never_come_out_is_told() -> None:
    def broken(_: bool) -> None:
        raise ZeroDivisionError("of all things")

    outcome, text = SampleFile(Path("a"), [broken]).open(False)
    assert outcome == "foreign" and "ZeroDivisionError at test_files.py" in text


@pytest.mark.slow
def test_a_child_process_tries_them(tmp_path: Path) -> None:
    said: list[str] = []
    found = run(40, tmp_path, said.append)
    assert found["held"] and found["failures"] == 0, said
    assert found["stores"]["trials"] == 40 and found["tiff"]["trials"] == 4
