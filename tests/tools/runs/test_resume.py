"""Resume: a run cut anywhere becomes, byte for byte, the run that was never cut."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from build import FREE, make_update
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.stream import pipeline
from livespt.stream.errors import InputError, StoreError
from livespt.stream.recovery.checkpoints import Checkpoints, read_checkpoint
from livespt.stream.store.attributes import read_attributes, write_attributes, write_last_word
from livespt.stream.store.columns import TABLES
from livespt.stream.store.movie import MovieWriter
from livespt.stream.store.run import RunReader, RunWriter, open_run
from livespt.stream.store.table_writer import TableWriter
from livespt.stream.store.verify import verify
from livespt.stream.types import Frame, Stop, Update
from livespt.tools.cli.main import run as command
from livespt.tools.runs.compose import compose
from livespt.tools.runs.options import Facts, Options
from livespt.tools.runs.replay import chosen, replay
from livespt.tools.runs.resume import resume

N = 60
SKIPPED = (20, 21, 40, N - 1)  # by the live run that is replayed
CUTS = (0, 19, 41)


def facts_of(frames: list[Frame]) -> Facts:
    image = frames[0].image
    return Facts("source.zarr", "yx", image.shape, image.dtype.str, 0.1, 0.05)


class Copies:
    """Sink that stores as a replay does and keeps copies of the run as a kill would leave it."""

    def __init__(self, writer: RunWriter, path: Path, folder: Path) -> None:
        self._writer, self._path, self._folder = writer, path, folder
        self.close = writer.close

    def __call__(self, frame: Frame, update: Update) -> None:
        if frame.number == 0:
            self._copy("begun.zarr")
        self._writer.add_frame(frame)
        if frame.number in CUTS:
            self._copy(f"before{frame.number}.zarr")
        self._writer.commit(frame, update)
        if frame.number in CUTS:
            self._copy(f"after{frame.number}.zarr")

    def finish(self, update: Update) -> None:
        self._copy("unsettled.zarr")
        self._writer.finish(update)
        self._copy("settled.zarr")

    def _copy(self, name: str) -> None:
        passing = shutil.ignore_patterns("*.partial")  # of the thread that writes checkpoints
        shutil.copytree(self._path, self._folder / name, ignore=passing)


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
        level = 2 if 22 <= frame.number < 34 else 0  # as if it had fallen behind there
        if frame.number not in SKIPPED:
            writer.commit(frame, make_update(frame._replace(level=level)))
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
    for name in ("number", "frame", "analyzed", "spots", "lost", "level"):
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
FEW = ("begun", "before19", "after41", "unsettled", "settled")


@pytest.mark.parametrize(
    "name",
    [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in COPIES],
)
def test_a_replay_cut_anywhere_becomes_the_whole_run(
    name: str, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.zarr"
    shutil.copytree(folder / f"{name}.zarr", path)
    torn(path)
    checkpoint = read_checkpoint(path)
    done = resume(path, movie=folder / "source.zarr", say=str)
    whole(path, folder / "whole.zarr")
    first = -1 if checkpoint is None else checkpoint.position.number
    analyzed = [n for n in range(N) if n not in SKIPPED]
    assert done["again"] == sum(first < n < COPIES[name] for n in analyzed)
    assert [p.name for p in path.rglob("*.partial")] == []


def test_without_a_checkpoint_the_memory_comes_from_the_first_frame(
    folder: Path, tmp_path: Path
) -> None:
    for damage in (None, b"livechk1 is not this"):
        path = tmp_path / f"{damage}.zarr"
        shutil.copytree(folder / "after41.zarr", path)
        kept = path / "journal/snapshot.bin"
        kept.unlink(missing_ok=True)
        if damage is not None:
            kept.write_bytes(damage)
        resume(path, movie=folder / "source.zarr", say=str)
        whole(path, folder / "whole.zarr")


def copy(folder: Path, name: str, path: Path, mode: str = "replay", **settings: float) -> Path:
    """A copy of a copy, perhaps with another first word."""
    shutil.copytree(folder / f"{name}.zarr", path)
    start = read_attributes(path).start
    start = replace(start, mode=mode, settings=start.settings | settings)
    write_attributes(path, start, TABLES)
    return path


def test_a_live_run_ends_with_what_is_stored(folder: Path, tmp_path: Path) -> None:
    path = copy(folder, "after41", tmp_path / "live.zarr", "live")
    live = open_run(path)
    held = {name: getattr(live, name) for name in ("spots", "states", "events")}
    movie = MovieWriter(path, live.start, resume=True)
    more = open_run(folder / "source.zarr")
    for i in range(42, 50):  # the recorder lived longer; one that was published is lost to it
        movie.add_frame(more.frame(i))
    movie.leave()
    done = resume(path, say=str)
    run = open_run(path)
    assert run.stop is not None and (run.stop.status, run.stop.recorded) == ("aborted", 50)
    assert (done["recorded"], done["analyzed"]) == (50, 50 - 3)
    for name, rows in held.items():
        assert getattr(run, name)[: len(rows)].tobytes() == rows.tobytes()
    replay(path, tmp_path / "again.zarr", Options(), endpoint=FREE, say=str)
    same_bytes(run, open_run(tmp_path / "again.zarr"))


def test_a_movie_that_was_ended_stays_so_though_the_resume_is_cut(
    folder: Path, tmp_path: Path
) -> None:
    path = copy(folder, "after41", tmp_path / "live.zarr", "live")
    start = read_attributes(path).start
    MovieWriter(path, start, resume=True).close()
    RunWriter(path, start, resume=True).leave()
    resume(path, say=str)
    run = open_run(path)
    assert run.stop is not None and (run.stop.status, run.stop.recorded) == ("complete", 42)
    assert not list(verify(path))


def test_a_movie_that_a_power_cut_shortened_is_filled_from_the_source(
    folder: Path, tmp_path: Path
) -> None:
    path = copy(folder, "after41", tmp_path / "a.zarr")
    log = path / "movie/0/commit.log"
    log.write_bytes(log.read_bytes()[: 64 * 30 + 7])
    resume(path, movie=folder / "source.zarr", say=str)
    run = whole(path, folder / "whole.zarr")
    other = open_run(folder / "whole.zarr")
    assert all(np.array_equal(run.frame(i).image, other.frame(i).image) for i in (29, 30, 41, 59))


def test_a_live_run_whose_last_frames_a_power_cut_took_ends_with_what_it_has(
    folder: Path, tmp_path: Path
) -> None:
    path = copy(folder, "before41", tmp_path / "a.zarr", "live")
    held = open_run(path)
    held = {name: getattr(held, name).tobytes() for name in ("spots", "states", "events")}
    log = path / "movie/0/commit.log"
    log.write_bytes(log.read_bytes()[: 64 * 30 + 7])
    (path / "journal/snapshot.bin").unlink(missing_ok=True)
    said: list[str] = []
    assert resume(path, say=said.append)["status"] == "failed"
    run = open_run(path)
    assert run.stop is not None and "not stored" in run.stop.reason and "note" in said[-1]
    assert held == {name: getattr(run, name).tobytes() for name in held}
    assert run.n_frames == 30


def test_a_replay_without_its_movie_reads_the_source_again(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "source.zarr", tmp_path / "source.zarr")
    path = copy(folder, "after41", tmp_path / "a.zarr")
    shutil.rmtree(path / "movie")  # as if it had never been stored
    resume(path, say=str)  # finds the source beside it
    whole(path, folder / "whole.zarr")


def test_frames_taken_before_the_cut_are_taken_again(folder: Path, tmp_path: Path) -> None:
    """What was published and not stored yet comes again: the same frames are skipped."""
    path = copy(folder, "after19", tmp_path / "a.zarr", "live")
    more = open_run(folder / "source.zarr")
    writer = RunWriter(path, more.start, resume=True)
    for i in range(20, 30):
        writer.add_frame(more.frame(i))
    assert len(list(writer.tables.taking([more.frame(24), more.frame(26)]))) == 2
    writer.leave()
    resume(path, say=str)
    analyzed = open_run(path).frames["analyzed"].tolist()
    assert analyzed == [1] * 20 + [0, 0, 0, 0, 1, 0, 1, 1, 1, 1]


REFUSED = {
    "other rows": ("after41", {"search_range": 1.0}, "not those that the run holds"),
    "no source": ("after41", {}, "name it with --movie"),
    "another source": ("after41", {}, "is not the movie"),
    "written": ("after41", {}, "being written by another process"),
    "failed": ("whole", {}, "ended as failed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_resumed_stays_as_it_was(case: str, folder: Path, tmp_path: Path) -> None:
    name, settings, says = REFUSED[case]
    path = copy(folder, name, tmp_path / "a.zarr", **settings)
    (path / "journal/snapshot.bin").unlink(missing_ok=True)
    movie = None if case == "no source" else folder / "source.zarr"
    writer = None
    if case == "another source":
        movie = copy(folder, "after19", tmp_path / "b.zarr")
    if case == "written":
        writer = TableWriter(path, resume=True)
    if case == "failed":
        write_last_word(path, Stop("r", "failed", "heat"), None)
    before = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    with pytest.raises((InputError, StoreError), match=says):
        resume(path, movie=movie, say=str)
    after = {p: p.read_bytes() for p in path.rglob("*") if p.is_file()}
    assert after == before
    if writer:
        writer.leave()


def test_the_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy(folder, "after41", tmp_path / "a.zarr")
    assert command(["resume", str(path)]) == 1
    assert "--movie" in capsys.readouterr().err
    assert command(["resume", str(path), "--close"]) == 0
    run = open_run(path)
    assert run.stop is not None and (run.stop.status, run.stop.recorded) == ("failed", 42)
    assert not list(verify(path))
    shutil.copytree(folder / "whole.zarr", tmp_path / "b.zarr")
    assert command(["resume", str(tmp_path / "b.zarr")]) == 0
    assert "nothing to resume" in capsys.readouterr().out
    assert command(["resume", str(tmp_path / "none.zarr")]) == 1
