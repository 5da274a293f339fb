"""Resume: a run cut anywhere becomes, byte for byte, the run that was never cut."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from livespt.acquisition.replay import open_movie
from livespt.acquisition.simulate import Scenario, virus_entry
from livespt.stream import pipeline
from livespt.stream.checkpoints import Checkpoints, read_checkpoint
from livespt.stream.columns import TABLES
from livespt.stream.store import RunReader, RunWriter, open_run
from livespt.stream.types import Frame, Stop, Update
from livespt.stream.verify import verify
from livespt.tools.compose import Facts, Options, compose
from livespt.tools.replay import chosen
from livespt.tools.resume import resume

FREE = "tcp://127.0.0.1:0"  # any free port
N = 60
SKIPPED = (20, 21, 40, N - 1)  # by the live run that is replayed
CUTS = (0, 19, 41)


def facts_of(frames: list[Frame]) -> Facts:
    image = frames[0].image
    return Facts("source.zarr", "yx", image.shape, image.dtype.str, 0.1, 0.05)


def nothing(frame: Frame) -> Update:
    """What an analyzer finds in a frame where nothing is."""
    empty = [np.empty(0, TABLES[name]) for name in ("spots", "states", "events")]
    return Update(*frame[:5], 0, *empty)


class Copies:
    """Sink that stores as a replay does and keeps copies of the run as a kill would leave it."""

    def __init__(self, writer: RunWriter, path: Path, folder: Path) -> None:
        self._writer, self._path, self._folder = writer, path, folder
        self.close = writer.close

    def __call__(self, frame: Frame, update: Update) -> None:
        if frame.number == 0:
            shutil.copytree(self._path, self._folder / "begun.zarr")
        self._writer.add_frame(frame)
        if frame.number in CUTS:
            shutil.copytree(self._path, self._folder / f"before{frame.number}.zarr")
        self._writer.commit(frame, update)
        if frame.number in CUTS:
            shutil.copytree(self._path, self._folder / f"after{frame.number}.zarr")

    def finish(self, update: Update) -> None:
        shutil.copytree(self._path, self._folder / "unsettled.zarr")
        self._writer.finish(update)
        shutil.copytree(self._path, self._folder / "settled.zarr")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs: `source`, that skipped some frames, `whole`, its replay, and copies made on the way."""
    folder = tmp_path_factory.mktemp("resume")
    scenario = Scenario(11, N, (96, 96), viruses=8, uncoating=4, visitors=6)
    frames = list(virus_entry(scenario))
    chain = compose(facts_of(frames), Options(), "replay")
    writer = RunWriter(folder / "source.zarr", replace(chain.start, mode="live"))
    for frame in frames:
        writer.add_frame(frame)
        if frame.number not in SKIPPED:
            writer.commit(frame, nothing(frame))
    writer.close(Stop("r", "complete"))

    path = folder / "whole.zarr"
    writer = RunWriter(path, chain.start)
    source = chosen(open_movie(folder / "source.zarr"), False, writer)
    pipeline.run(
        writer.tables.taking(source),
        chain.analyzer,
        [Copies(writer, path, folder), Checkpoints(path, chain.analyzer, writer.tables, 0.1)],
        chain.start,
        chain.stages,
    )
    return folder


def same_bytes(one: RunReader, other: RunReader) -> None:
    for name in ("spots", "states", "events"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert len(ours) and ours.tobytes() == theirs.tobytes(), name
        files = sorted(p.relative_to(one.path) for p in (one.path / name).rglob("*") if p.is_file())
        for file in files:
            assert (one.path / file).read_bytes() == (other.path / file).read_bytes(), file


def whole(path: Path, like: Path) -> RunReader:
    """The run at `path`, if it is whole and the same as `like`."""
    run, other = open_run(path), open_run(like)
    same_bytes(run, other)
    assert run.stop is not None and run.stop.status in ("complete", "aborted")
    for name in ("number", "frame", "analyzed", "spots", "lost"):
        assert np.array_equal(run.frames[name], other.frames[name]), name
    assert not list(verify(path)) and not (path / "journal").exists()
    return run


def torn(path: Path) -> None:
    """What a kill in the middle of a write leaves, everywhere at once."""
    for log in ((path / "movie/0/commit.log"), *(path / "journal").glob("*.log")):
        with log.open("ab") as file:
            file.write(b"LSJ1 torn")
    with (path / "journal/taken.bin").open("ab") as file:
        file.write(b"abc")
    for name in ("journal/00000007.partial", "journal/snapshot.partial", "zarr.json.1.partial"):
        (path / name).write_bytes(b"torn")
    (path / "spots/x/zarr.aa.partial").write_bytes(b"torn")


# copies, and the first frame that each does not hold
COPIES = {"begun": 0, "unsettled": N, "settled": N}
COPIES |= {f"before{n}": n for n in CUTS} | {f"after{n}": n + 1 for n in CUTS}


@pytest.mark.parametrize("name", COPIES)
def test_a_replay_cut_anywhere_becomes_the_whole_run(
    name: str, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.zarr"
    shutil.copytree(folder / f"{name}.zarr", path)
    torn(path)
    checkpoint = read_checkpoint(path)
    done = resume(path, movie=folder / "source.zarr", say=str)
    whole(path, folder / "whole.zarr")
    first = -1 if checkpoint is None else checkpoint.mark.number
    analyzed = [n for n in range(N) if n not in SKIPPED]
    assert done["again"] == sum(first < n < COPIES[name] for n in analyzed)
    assert [p.name for p in path.rglob("*.partial")] == []


def test_without_a_checkpoint_the_memory_comes_from_the_first_frame(
    folder: Path, tmp_path: Path
) -> None:
    for damage in (None, b"", b"livechk1 is not this"):
        path = tmp_path / f"{damage}.zarr"
        shutil.copytree(folder / "after41.zarr", path)
        kept = path / "journal/snapshot.bin"
        kept.unlink(missing_ok=True)
        if damage is not None:
            kept.write_bytes(damage)
        resume(path, movie=folder / "source.zarr", say=str)
        whole(path, folder / "whole.zarr")
