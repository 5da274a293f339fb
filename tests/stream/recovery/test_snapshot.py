"""Snapshots: an analyzer that was restored goes on to the bit; nothing it remembers is left out."""

from __future__ import annotations

import hashlib
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.models.fingerprint import classifier_graph
from livespt.models.fingerprint.classifier import TrackClassifier
from livespt.models.fingerprint.definitions import COUNT
from livespt.models.fingerprint.fingerprint import Units
from livespt.models.infer import Infer
from livespt.models.motion.segmenter import Segmenter
from livespt.models.motion.uncoating import Uncoating
from livespt.models.runtime.card import write_card
from livespt.stream.analyzer import Analyzer
from livespt.stream.errors import InputError
from livespt.stream.link.linker import Linker
from livespt.stream.recovery import snapshot
from livespt.stream.settings import Rule, Settings
from livespt.stream.timing import Timed, TimedInfer
from livespt.stream.types import EVENT, KINDS, SPOT, Frame, Update, joined
from livespt.tools.runs.compose import compose
from livespt.tools.runs.options import Facts, Options

TIMES = [t for t in range(44) if t not in (9, 10, 24, 25, 26, 27, 28)]  # two gaps
EAGER = Settings(lag=6, memory=2, abstain_below=0.3, rule=Rule(0.5, 2, 2))
Rows = NDArray[np.float64]


class Case(NamedTuple):
    """What is analyzed, and how."""

    settings: Settings
    ndim: int = 2
    lanes: tuple[tuple[int, int], ...] = ((0, 0),)
    particles: int = 30
    classifier: bool = False


REFINED: dict[str, Any] = {"motion": "auto", "refine": 4}


def with_(**changes: Any) -> Settings:
    """Settings that differ from EAGER."""
    return Settings(**(vars(EAGER) | changes))


LARGE = "more than the tables hold at first"
CASES = {
    "2-D": Case(EAGER),
    "no lag, no memory": Case(with_(lag=0, memory=0)),
    "the longest lag": Case(with_(lag=30)),
    "volume": Case(with_(z_scale=2.5), ndim=3),
    "channels and positions": Case(EAGER, lanes=((0, 0), (1, 0), (0, 3)), particles=12),
    "brownian": Case(with_(motion="brownian", intensity_weight=0.5)),
    "refined": Case(with_(**REFINED), particles=70),
    "lineage": Case(with_(lineage=True, read_intensity=True)),
    "all in 3-D": Case(
        with_(lineage=True, read_intensity=True, **REFINED), 3, ((0, 0), (2, 1)), 20
    ),
    "classifier": Case(with_(lineage=True, **REFINED), particles=70, classifier=True),
    LARGE: Case(with_(lineage=True, **REFINED), particles=400),
}
EACH = [pytest.param(k, marks=pytest.mark.slow) if k == LARGE else k for k in CASES]


@pytest.fixture(scope="module")
def infer(networks: Path) -> Infer:
    return opened(networks)


@pytest.fixture(scope="module")
def with_task(networks: Path, infer: Infer, tmp_path_factory: pytest.TempPathFactory) -> Infer:
    """The same networks and a classifier of random weights."""
    rng, path = np.random.default_rng(0), tmp_path_factory.mktemp("task") / "mine.onnx"
    by = classifier_graph.fit_scaling(rng.normal(size=(100, COUNT)).astype(np.float32))
    classifier_graph.save(path, by, [(rng.normal(size=(COUNT, 2)), np.zeros(2))], 2.0)
    card: dict[str, Any] = {"input": {}, "training": {}, "metrics": {}, "provenance": {}}
    card |= {"classes": ["early", "late"], "positive": "late", "window": 12, "shortest": 5}
    card |= {"prior": {"early": 0.75, "late": 0.25}, "abstain_below": 0.6}
    card |= {"units": Units(2, 0.1, 0.05)._asdict(), "segmenter": infer.segmenter.session.sha256}
    write_card(path, task="classifier", seed=0, **card)
    made = Infer(infer.segmenter, infer.uncoating, TrackClassifier(path, provider="cpu"))
    made.measure(0.1, 0.05, 2)
    return made


def opened(folder: Path) -> Infer:
    segmenter = Segmenter(folder / "segmenter.onnx", provider="cpu")
    return Infer(segmenter, Uncoating(folder / "uncoating.onnx", provider="cpu"))


def film(seed: int, n: int, ndim: int) -> list[Rows]:
    """Rows (particles, 4) z, y, x, intensity of each frame; particles come, go and are missed."""
    rng = np.random.default_rng(seed)
    frames, side = TIMES[-1] + 1, 6 * n ** (1 / ndim)
    begin = rng.integers(-20, frames - 5, n)
    life = rng.integers(5, 60, n)
    steps = rng.normal(size=(frames, n, 3)) * rng.uniform(0.2, 1.5, n)[:, None]
    places = rng.uniform(0, side, (n, 3)) + np.cumsum(steps, axis=0)
    light = 200 * np.exp(0.1 * rng.normal(size=(frames, n, 1)))
    rows = np.concatenate([places, light], axis=2)
    seen = rng.random((frames, n)) < 0.9
    return [rows[t, seen[t] & (begin <= t) & (t < begin + life)] for t in range(frames)]


def frames_of(case: Case) -> Iterator[Frame]:
    """An image holds its time and its lane: what `Films` needs."""
    for t in TIMES:
        for k, (channel, position) in enumerate(case.lanes):
            image = np.array([t, k], np.uint16).reshape((1,) * (case.ndim - 1) + (2,))
            number = t * len(case.lanes) + k
            yield Frame(number, t, channel, position, 0.05 * t, image, clock=1)


class Films:
    """A localizer that knows what each frame shows."""

    def __init__(self, case: Case) -> None:
        self.films = [film(seed, case.particles, case.ndim) for seed in range(len(case.lanes))]
        self.names = ("z", "y", "x")[3 - case.ndim :]

    def __call__(self, image: NDArray[Any]) -> NDArray[np.void]:
        t, lane = image.reshape(-1).tolist()
        rows = self.films[lane][t]
        spots = np.zeros(len(rows), SPOT)
        for axis, name in enumerate(("z", "y", "x")):
            spots[name] = rows[:, axis] * (name in self.names)
            spots["d" + name] = 0.1
        spots["intensity"] = rows[:, 3]
        return spots


def made(case: Case, infer: Callable[[], Any]) -> Analyzer:
    """An analyzer as a run has it, its stages timed."""
    return Analyzer(Timed(Films(case)), TimedInfer(infer), case.settings)


def run(analyzer: Analyzer, frames: list[Frame]) -> list[Update]:
    last = [analyzer(frame) for frame in frames]
    end = analyzer.finish()
    return [*last, end] if end is not None else last


def same(ours: list[Update], theirs: list[Update]) -> bool:
    return list(map(words, ours)) == list(map(words, theirs))


def words(update: Update) -> list[Any]:
    """All of an update but its timings."""
    parts = update._replace(timings=None)  # type: ignore[arg-type]
    return [part.tobytes() if isinstance(part, np.ndarray) else part for part in parts]


@pytest.mark.parametrize("name", EACH)
def test_goes_on_as_if_it_had_never_stopped(name: str, infer: Infer, with_task: Infer) -> None:
    case = CASES[name]
    read = with_task if case.classifier else infer
    frames = list(frames_of(case))
    rng = np.random.default_rng(list(CASES).index(name))
    cuts = {0, 1, *rng.integers(2, len(frames), 2).tolist(), len(frames)}
    through, stopped = made(case, read), {}
    updates = []
    for k in range(len(frames) + 1):
        if k in cuts:
            stopped[k] = snapshot.take(through)
        if k < len(frames):
            updates.append(through(frames[k]))
    updates += run(through, [])
    if case.settings.refine:  # the only one that tidies up for a snapshot
        assert same(updates, run(made(case, read), frames)), "a snapshot disturbs nothing"
    for k, data in stopped.items():
        again = made(case, read)
        snapshot.restore(again, data)
        assert snapshot.frame_of(data) == (frames[k - 1].number if k else -1)
        assert snapshot.take(again) == data
        assert same(updates[k:], run(again, frames[k:])), k
    kinds = joined(EVENT, [update.events for update in updates])["kind"]
    assert {"lost", "born", "changepoint"} <= {KINDS[kind] for kind in kinds}
    assert ("relinked" in {KINDS[kind] for kind in kinds}) == (case.settings.refine > 0)


@pytest.mark.parametrize("name", EACH)
def test_nothing_that_hangs_on_an_analyzer_is_left_out(
    name: str, infer: Infer, with_task: Infer
) -> None:
    """Fails for whoever adds what is not carried: in `CONSTANTS` by mistake, or in a linker."""
    case = CASES[name]
    read = with_task if case.classifier else infer
    ours, theirs = made(case, read), made(case, read)
    for frame in frames_of(case):
        ours(frame)
    snapshot.restore(theirs, snapshot.take(ours))
    ours.localize = theirs.localize = ours.infer = theirs.infer = read  # not theirs to remember
    assert list(differences(ours, theirs, "analyzer")) == []


# of tables that are longer than what is in them: how much is
USED = {"free": "n_free", "_ints": "_n", "_reals": "_n", "_state": "_n"}


def differences(one: Any, two: Any, path: str) -> Iterator[str]:
    """Where two objects, and all that hangs on them, are not the same to the bit."""
    if type(one) is not type(two):
        yield f"{path}: {type(one).__name__}, {type(two).__name__}"
    elif isinstance(one, Frame):
        yield from differences(list(one[:5]), list(two[:5]), path)
    elif isinstance(one, np.ndarray):
        if (one.dtype, one.shape, one.tobytes()) != (two.dtype, two.shape, two.tobytes()):
            yield path
    elif isinstance(one, list | tuple):
        if len(one) != len(two):
            yield f"{path}: {len(one)}, {len(two)}"
        for k, (a, b) in enumerate(zip(one, two, strict=False)):
            yield from differences(a, b, f"{path}.{k}")
    elif isinstance(one, dict):
        yield from differences(list(one), list(two), path)
        for key in one.keys() & two.keys():
            yield from differences(one[key], two[key], f"{path}.{key}")
    elif hasattr(one, "__dict__") and one is not two and not isinstance(one, Timed):
        told = [dict(vars(thing)) for thing in (one, two)]
        for name in set(told[0]) & set(USED):
            for thing in told:
                thing[name] = thing[name][: thing.get(USED[name])]
        yield from differences(*told, path)
    elif not hasattr(one, "__dict__") and repr(one) != repr(two):
        yield f"{path}: {one!r}, {two!r}"


ANOTHER = """
import hashlib, sys
from pathlib import Path
from livespt.stream.recovery import snapshot
from livespt.acquisition.simulated import Scenario, virus_entry
from livespt.tools.runs.compose import compose
from livespt.tools.runs.options import Facts, Options
movie = virus_entry(Scenario(seed=3, n_frames=40, shape=(128, 128), viruses=12, uncoating=8))
facts = Facts("simulated", "yx", movie.shape, movie.dtype, 0.1, 0.05)
options = Options(settings={"lineage": True, "motion": "auto", "refine": 4})
analyze = compose(facts, options, "replay").analyzer
data = Path(sys.argv[1]).read_bytes()
snapshot.restore(analyze, data)
digest = hashlib.sha256()
for frame in list(movie)[snapshot.frame_of(data) + 1 :]:
    update = analyze(frame)
    for rows in (update.spots, update.states, update.events): digest.update(rows.tobytes())
update = analyze.finish()
for rows in (update.spots, update.states, update.events): digest.update(rows.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_another_process_goes_on_with_the_shipped_networks(tmp_path: Path) -> None:
    movie = virus_entry(Scenario(seed=3, n_frames=40, shape=(128, 128), viruses=12, uncoating=8))
    facts = Facts("simulated", "yx", movie.shape, movie.dtype, 0.1, 0.05)
    analyze = compose(
        facts, Options(settings={"lineage": True, "motion": "auto", "refine": 4}), "replay"
    ).analyzer
    updates = []
    for frame in movie:
        updates.append(analyze(frame))
        if frame.number == 24:
            (tmp_path / "snapshot.bin").write_bytes(snapshot.take(analyze))
    updates += run(analyze, [])
    digest = hashlib.sha256()
    for update in updates[25:]:
        for rows in (update.spots, update.states, update.events):
            digest.update(rows.tobytes())
    command = [sys.executable, "-c", ANOTHER, str(tmp_path / "snapshot.bin")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == digest.hexdigest()
    assert sum(len(update.states) for update in updates[25:]) > 300


def test_memory_of_a_spent_copy_is_used_again(infer: Infer) -> None:
    case = CASES["refined"]
    analyzer, frames = made(case, infer), list(frames_of(case))
    copies = []
    for frame in frames[:6]:
        analyzer(frame)
        copies.append(snapshot.copy(analyzer, copies[-1] if copies else None))
        assert b"".join(copies[-1].parts()) == snapshot.take(analyzer)
    assert all(each.body is copies[0].body for each in copies)


class Plain:
    """A follower of a few numbers a track: its snapshots are small."""

    CONSTANTS = ("width",)

    def __init__(self, width: int = 2, dtype: str = "<f4") -> None:
        self.width = width
        self.sum = np.zeros((512, width), dtype)

    def push(
        self, slots: NDArray[np.int32], frames: Any, points: Rows, intensity: Any = None
    ) -> NDArray[np.float32]:
        self.sum[slots, 0] += points.sum(axis=1)
        return self.read(slots, 0)

    def read(self, slots: NDArray[np.int32], ages: Any) -> NDArray[np.float32]:
        uncoated = 0.5 + 0.5 * np.sin(self.sum[slots, 0] + ages)
        return np.stack([*[np.full(len(slots), 0.25)] * 4, uncoated], axis=1).astype(np.float32)

    def clear(self, slots: NDArray[np.int32]) -> None:
        self.sum[slots] = 0


class Deaf(Plain):
    """A follower that remembers nothing."""

    def __init__(self) -> None:
        self.width = 2


SMALL = Case(with_(lineage=True, motion="auto"))


def after(case: Case, infer: Callable[[], Any], n: int = 30) -> Analyzer:
    analyzer = made(case, infer)
    for frame in list(frames_of(case))[:n]:
        analyzer(frame)
    return analyzer


def resummed(data: bytes) -> bytes:
    return data[:-4] + struct.pack("<I", zlib.crc32(data[:-4]))


def with_head(data: bytes, **changes: Any) -> bytes:
    """A snapshot whose head says something else."""
    size = struct.unpack_from("<I", data, 8)[0]
    head = json.dumps(json.loads(data[12 : 12 + size]) | changes).encode()
    return resummed(data[:8] + struct.pack("<I", len(head)) + head + data[12 + size :])


def test_an_added_number_makes_another_version() -> None:
    analyzer = after(SMALL, Plain)
    analyzer._lanes[0, 0].states.later = 1  # type: ignore[attr-defined]
    with pytest.raises(InputError, match=r"states\.later is not in both"):
        snapshot.restore(made(SMALL, Plain), snapshot.take(analyzer))


@pytest.mark.parametrize("what", [{1}, len, object(), np.array([None]), "words"])
def test_what_cannot_be_carried_is_told_at_once(what: object) -> None:
    analyzer = after(SMALL, Plain)
    analyzer._lanes[0, 0].states.later = what  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=r"states\.later is a"):
        snapshot.take(analyzer)


OTHERS: dict[str, tuple[Case, Callable[[], Any], str]] = {
    "lag": (
        SMALL._replace(settings=with_(lag=7, lineage=True, motion="auto")),
        Plain,
        "settings.lag",
    ),
    "rule": (
        SMALL._replace(settings=with_(rule=Rule(0.6, 2, 2), lineage=True, motion="auto")),
        Plain,
        "settings.rule.threshold = 0.5, this one has 0.6",
    ),
    "lineage": (SMALL._replace(settings=with_(motion="auto")), Plain, "settings.lineage = True"),
    "another model": (SMALL, partial(Plain, 3), "follower.width = 2, this one has 3"),
    "another dtype": (
        SMALL,
        partial(Plain, dtype="<f8"),
        "follower.sum is <f4 [512, 2], not <f8 [512, 2]",
    ),
    "another follower": (SMALL, Deaf, "follower"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_memory_of_another_analyzer_is_refused(name: str) -> None:
    case, infer, words = OTHERS[name]
    analyzer = made(case, infer)
    before = vars(analyzer).copy()
    with pytest.raises(InputError) as caught:
        snapshot.restore(analyzer, snapshot.take(after(SMALL, Plain)))
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert vars(analyzer) == before and not analyzer._lanes


def test_networks_are_known_by_their_files(infer: Infer, networks: Path) -> None:
    data, other = snapshot.take(after(CASES["2-D"], infer, 3)), opened(networks)
    snapshot.restore(made(CASES["2-D"], other), data)
    other.uncoating.network.sha256 = "0" * 64
    with pytest.raises(InputError, match=r"networks\.1 = [0-9a-f]{64}, this one has 0000"):
        snapshot.restore(made(CASES["2-D"], other), data)


def test_one_that_has_seen_frames_is_not_overwritten() -> None:
    analyzer = after(SMALL, Plain, 5)
    data = snapshot.take(analyzer)
    with pytest.raises(InputError, match="has seen frames"):
        snapshot.restore(analyzer, data)
    assert snapshot.take(analyzer) == data


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut short": lambda data: data[:-1],
    "only its head": lambda data: data[:12],
    "longer": lambda data: data + b"\0",
    "a bit": lambda data: data[:5000] + bytes([data[5000] ^ 4]) + data[5001:],
    "foreign": lambda data: b"PK\3\4" + data[4:],
    "a linker's": lambda data: Linker(5.0).snapshot(),
    "no JSON": lambda data: resummed(data[:12] + b"[" * 100_000 + data[100_012:]),
    "a longer head": lambda data: resummed(data[:8] + b"\xff" * 4 + data[12:]),
    "no lanes": lambda data: with_head(data, lanes=[]),
    "many lanes": lambda data: with_head(data, lanes=[[k, 0, 2] for k in range(30_000)]),
    "another dimension": lambda data: with_head(data, lanes=[[0, 0, 3]]),
    "a huge number": lambda data: with_head(data, last=[10**400, 0, 0, 0, 0.0]),
    "a word": lambda data: with_head(data, last=["1", 0, 0, 0, 0.0]),
    "something more": lambda data: with_head(data, code="os.system"),
    "no tables": lambda data: with_head(data, tables=[]),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_ones_are_refused_in_one_line(name: str) -> None:
    data = DAMAGED[name](snapshot.take(after(SMALL, Plain)))
    with pytest.raises(InputError) as caught:
        snapshot.restore(made(SMALL, Plain), data)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def mutated(data: bytes, seed: int) -> bytes:
    """Changed anywhere, in its head or in its linker; every other one with sums that are right."""
    rng = np.random.default_rng(seed)
    head = 12 + struct.unpack_from("<I", data, 8)[0]
    linker = data.index(b"livelnk")
    low, high = ((0, len(data)), (12, head), (linker, linker + 9000))[seed // 2 % 3]
    out = bytearray(data)
    for at in rng.integers(low, high, rng.integers(1, 4)):
        out[at] = rng.integers(256)
    if seed % 12 > 8:
        out = out[: rng.integers(len(out))]
    if seed % 2:
        return bytes(out)
    sizes = {path: shape for path, _, shape in json.loads(data[12:head])["tables"]}
    end = linker + next(shape[0] for path, shape in sizes.items() if path.endswith("linker")) - 4
    if len(out) > end + 4:
        out[end : end + 4] = struct.pack("<I", zlib.crc32(out[linker:end]))
    return resummed(bytes(out))


@pytest.mark.parametrize("name", ["small", "refined"])
def test_mutated_ones_are_refused_or_fit(name: str) -> None:
    case, times = (SMALL, 600) if name == "small" else (CASES["refined"], 100)
    data, fresh, taken = snapshot.take(after(case, Plain)), made_again(case), 0
    for seed in range(times):
        try:
            snapshot.restore(fresh(), mutated(data, seed))
        except InputError:
            continue
        taken += 1
        assert seed % 2 == 0, "a sum that is wrong"
    assert times / 20 < taken < times / 2  # other coordinates, for example: who could tell


def made_again(case: Case) -> Callable[[], Analyzer]:
    """Makes analyzers fast."""
    films = Films(case)
    return lambda: Analyzer(films, TimedInfer(Plain), case.settings)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["2-D", "refined", "lineage", "all in 3-D"])
def test_whatever_was_taken_does_not_crash_the_process(name: str) -> None:
    case = CASES[name]
    data, frames, fresh = snapshot.take(after(case, Plain)), list(frames_of(case)), made_again(case)
    for seed in range(0, 4000, 2):
        analyzer = fresh()
        try:
            snapshot.restore(analyzer, mutated(data, seed))
            run(analyzer, frames[30:])
        except Exception:  # any but a crash: the numbers are anybody's
            continue
