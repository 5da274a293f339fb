"""The frame ring: real processes, slow, late and killed readers and writers."""

from __future__ import annotations

import itertools
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from livespt.stream.errors import InputError, MicroscopeError, StoreError
from livespt.stream.host import shared_memory
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter

SHAPE = (24, 32)


def unique(label: str) -> str:
    return f"test-{label}-{os.getpid()}-{time.monotonic_ns()}"


def image(k: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, np.dtype[np.uint16]]:
    return np.full(shape, k % 60_000, np.uint16)


def put(ring: RingWriter, k: int, shape: tuple[int, ...] = SHAPE) -> None:
    ring.put(image(k, shape), number=k, t=k, time_s=k / 100, clock=1, captured_ns=k + 7)


class Clock:
    """In place of the module `time`: it passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s, self.naps = 0.0, 0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, for_s: float) -> None:
        self.now_s, self.naps = self.now_s + for_s, self.naps + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time that rings of this process go by."""
    clock = Clock()
    for module in ("reader", "writer"):
        monkeypatch.setattr(f"livespt.stream.ring.{module}.time", clock)
    return clock


# --- one process


def test_a_frame_comes_out_as_it_went_in() -> None:
    for dtype, shape in [("uint8", (5, 7)), ("<u2", (9, 4)), ("float32", (3, 5, 6))]:
        rng = np.random.default_rng(1)
        pixels = (rng.random(shape) * 200).astype(dtype)
        name = unique("fields")
        with RingWriter(name, 4, shape, dtype) as ring, RingReader(name) as reader:
            ring.put(
                pixels,
                number=2**40,
                t=12,
                channel=3,
                position=-1,
                time_s=0.125,
                clock=2,
                captured_ns=99,
            )
            frame = reader.get(1.0)
            assert frame is not None
            assert frame[:5] == (2**40, 12, 3, -1, 0.125) and frame[6:8] == (2, 99)
            assert frame.image.dtype == pixels.dtype and frame.image.flags.owndata
            assert np.array_equal(frame.image, pixels)
            assert (reader.shape, reader.dtype) == (shape, pixels.dtype)
            found = ring.count and reader.find(2**40)
            assert found and np.array_equal(found.image, pixels)
            assert reader.find(7) is None
            assert reader.get(0.0) is None and not reader.ended
            ring.end()
            assert reader.get(1.0) is None and reader.ended


@settings(max_examples=60, deadline=None)
@given(
    slots=st.integers(2, 5),
    max_behind=st.none() | st.integers(1, 6),
    steps=st.lists(st.integers(-6, 8), max_size=30),
    lossless=st.booleans(),
)
def test_seen_and_lost_is_all(
    slots: int, max_behind: int | None, steps: list[int], lossless: bool
) -> None:
    """n > 0: put n frames; n <= 0: read up to -n. Then end and read the rest."""
    name = unique("property")
    lossless = lossless and max_behind is None
    with RingWriter(name, slots, (3, 4), "uint16", lossless_wait_s=0.0) as ring:
        with RingReader(name, lossless=lossless, max_behind=max_behind) as reader:
            seen = []
            for n in steps:
                for _ in range(n):
                    put(ring, ring.count, (3, 4))
                for _ in range(-n):
                    seen.append(reader.get(0.0))
            behind = reader.behind
            ring.end()
            rest = list(reader)
            frames = [f for f in seen if f is not None] + rest
            numbers = [f.number for f in frames]
            assert numbers == sorted(set(numbers))
            assert all((f.image == f.number).all() for f in frames)
            assert len(frames) + reader.lost == ring.count
            assert len(rest) <= min(slots, behind, max_behind or slots)
            assert not numbers or numbers[-1] == ring.count - 1
            assert ring.overwritten == (reader.lost if lossless else 0)


def test_a_late_reader_starts_with_the_oldest_frame() -> None:
    name = unique("late")
    with RingWriter(name, 4, SHAPE, "uint16") as ring:
        for k in range(10):
            put(ring, k)
        ring.end()
        with RingReader(name) as reader:
            assert [f.number for f in reader] == [6, 7, 8, 9] and reader.lost == 0


def test_a_slow_lossless_reader_costs_its_wait_only_once(clock: Clock) -> None:
    name = unique("patience")
    with RingWriter(name, 4, SHAPE, "uint16", lossless_wait_s=0.2) as ring:
        with RingReader(name, lossless=True) as reader:
            for k in range(40):
                put(ring, k)
            assert clock.now_s == pytest.approx(0.2, abs=0.01)  # not 36 times
            assert ring.overwritten == 36
            assert [f.number for f in (reader.get(0.0) for _ in range(4)) if f] == [36, 37, 38, 39]
            assert reader.lost == ring.overwritten == 36
            for k in range(40, 48):  # it caught up, so it may hold the writer again
                put(ring, k)
            assert clock.now_s == pytest.approx(0.4, abs=0.02)
        naps = clock.naps
        for k in range(48, 90):  # it left
            put(ring, k)
        assert clock.naps == naps


@pytest.mark.parametrize("lossless", [False, True])
def test_what_is_known_is_passed_over_though_the_ring_went_on_meanwhile(lossless: bool) -> None:
    name = unique("known")
    with RingWriter(name, 8, SHAPE, "uint16", lossless_wait_s=0.01) as ring:
        for k in range(20):
            put(ring, k)
        for more, known, follow in ((3, 18, 19), (30, 50, 51), (8, 40, 53)):
            with RingReader(name, lossless=lossless, max_behind=None) as reader:
                for k in range(ring.count, ring.count + more):
                    put(ring, k)
                reader.pass_over(known)
                frame = reader.get(0.0)
                assert frame is not None and (frame.number, reader.lost) == (follow, 0)


REFUSED = {
    "dtype": ((4, 4), "complex64", 4, InputError, "uint8, uint16 or float32"),
    "shape": ((4,), "uint16", 4, InputError, "shape"),
    "one slot": ((4, 4), "uint16", 1, InputError, "1 slots"),
    "too large": ((10**7, 10**7), "uint16", 4, StoreError, "use fewer slots"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_ring_that_cannot_be_is_refused(case: str) -> None:
    shape, dtype, slots, error, words = REFUSED[case]
    with pytest.raises(error, match=words):
        RingWriter(unique("refused"), slots, shape, dtype)


def test_misuse_is_refused() -> None:
    name = unique("misuse")
    with pytest.raises(StoreError, match="is the acquisition running"):
        RingReader(name)
    with pytest.raises(InputError, match="bad ring name"):
        RingWriter("a/b", 2, SHAPE, "uint16")
    with RingWriter(name, 2, SHAPE, "uint16") as ring:
        with pytest.raises(StoreError, match="in use"):
            RingWriter(name, 2, SHAPE, "uint16")
        for wrong in (np.zeros((4, 4), np.uint16), np.zeros(SHAPE, np.float32)):
            with pytest.raises(InputError, match="the ring was made for"):
                ring.put(wrong, number=0, t=0)
        assert ring.count == 0
        with pytest.raises(InputError, match="max_behind"):
            RingReader(name, lossless=True, max_behind=2)
        readers = [RingReader(name, lossless=True) for _ in range(4)]
        with pytest.raises(StoreError, match="4 lossless readers"):
            RingReader(name, lossless=True)
        for reader in readers:
            reader.close()
        RingReader(name, lossless=True).close()
    with pytest.raises(StoreError):
        RingReader(name)


def test_the_folder_with_room_is_picked() -> None:
    ram, disk = Path("ram"), Path("disk")
    gigabyte = 1 << 30
    assert shared_memory.pick_folder(gigabyte, {ram: 2 * gigabyte, disk: 9 * gigabyte}) == ram
    assert shared_memory.pick_folder(gigabyte, {ram: gigabyte, disk: 9 * gigabyte}) == disk
    with pytest.raises(StoreError, match="1024 MB does not fit"):
        shared_memory.pick_folder(gigabyte, {ram: 64 << 20})


# --- several processes


class Child:
    """This file run as a program of its own, which attaches by name; it talks in JSON lines."""

    def __init__(self, role: str, name: str, **options: Any) -> None:
        command = [sys.executable, __file__, role, name, json.dumps(options)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.hear() == "ready"

    def hear(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.__exit__(None, None, None)


def say(word: Any) -> None:
    print(json.dumps(word), flush=True)


def read_all(name: str, pause_s: float = 0.0, limit: int = 10**9, **options: Any) -> None:
    """Child: read, then say numbers, torn frames, losses and the error."""
    with RingReader(name, **options) as reader:
        say("ready")
        numbers, torn, error = [], 0, ""
        try:
            while not reader.ended and len(numbers) < limit:
                frame = reader.get(300.0)
                if frame is not None:
                    numbers.append(frame.number)
                    low, high = int(frame.image.min()), int(frame.image.max())
                    torn += not low == high == frame.number % 60_000
                    time.sleep(pause_s)
        except MicroscopeError as death:
            error = str(death)
        say([numbers, torn, reader.lost, error])
        if limit < 10**9:
            time.sleep(60)  # stay attached, without reading


def write_some(name: str, n: int) -> None:
    """Child: put n frames when told to, and stay alive without an end."""
    ring = RingWriter(name, 8, SHAPE, "uint16")
    say("ready")
    sys.stdin.readline()
    for k in range(n):
        put(ring, k)
    say(ring.overwritten)
    time.sleep(60)


def test_processes_read_every_frame_once_and_none_torn() -> None:
    """A fast writer, a tiny ring and three kinds of readers: the hardest case for the seqlock."""
    name, shape, n = unique("torn"), (256, 256), 4000
    with RingWriter(name, 3, shape, "uint16", lossless_wait_s=0.0) as ring:
        with Child("read", name) as plain, Child("read", name, max_behind=1) as newest:
            with Child("read", name, lossless=True) as lossless:
                for k in range(n):
                    put(ring, k, shape)
                    if k % 8 == 0:
                        time.sleep(0.0003)
                ring.end()
                for child in (plain, newest, lossless):
                    numbers, torn, lost, error = child.hear()
                    assert torn == 0 and not error
                    assert len(numbers) + lost == n and numbers == sorted(set(numbers))
                    assert numbers and numbers[-1] == n - 1 and lost
                assert ring.overwritten == lost


def test_a_waiting_source_loses_nothing_to_a_slow_recorder() -> None:
    name = unique("replay")
    with RingWriter(name, 4, SHAPE, "uint16", lossless_wait_s=math.inf) as ring:
        with Child("read", name, pause_s=0.002, lossless=True) as recorder:
            for k in range(200):
                put(ring, k)
            ring.end()
            assert recorder.hear() == [list(range(200)), 0, 0, ""]
            assert ring.overwritten == 0


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_stalled_and_dead_recorders_do_not_hold_the_microscope(clock: Clock) -> None:
    name = unique("stalled")
    with RingWriter(name, 4, SHAPE, "uint16", lossless_wait_s=0.1) as ring:
        with Child("read", name, lossless=True) as recorder:
            os.kill(recorder.process.pid, signal.SIGSTOP)
            for k in range(100):
                put(ring, k)
            assert clock.now_s < 0.2
            missed = ring.overwritten
            assert missed >= 95
        with RingReader(name, lossless=True) as second:  # takes the dead one's place
            assert [f.number for f in (second.get(0.0) for _ in range(4)) if f] == [96, 97, 98, 99]
            assert ring.overwritten == missed


def test_a_recorder_killed_in_a_waiting_run_lets_the_source_go_on() -> None:
    name = unique("killed")
    with RingWriter(name, 4, SHAPE, "uint16", lossless_wait_s=math.inf) as ring:
        with Child("read", name, lossless=True, limit=2) as recorder:
            put(ring, 0)
            put(ring, 1)
            assert recorder.hear()[0] == [0, 1]
            recorder.kill()
            for k in range(2, 100):  # for ever, if it waited for the dead
                put(ring, k)


def test_a_killed_writer_ends_its_readers_with_an_error() -> None:
    name = unique("death")
    with Child("write", name, n=6) as writer, Child("read", name) as reader:
        assert writer.process.stdin
        writer.process.stdin.write("go\n")
        writer.process.stdin.flush()
        assert writer.hear() == 0
        writer.kill()  # not waited for yet: a zombie is dead, too
        numbers, torn, lost, error = reader.hear()
        assert numbers == list(range(6)) and not torn and not lost
        assert "died after 6 frames" in error
        reader.process.wait()
        with pytest.raises(StoreError):  # the reader that saw the death removed what was left
            RingReader(name)


def test_what_a_killed_writer_left_does_not_stay() -> None:
    name = unique("leftover")
    with Child("write", name, n=6):
        pass
    path = next(p for f in shared_memory.free_bytes() for p in f.glob(f"livespt-{name}.ring"))
    os.utime(path, (1, 1))
    with RingWriter(unique("other"), 2, SHAPE, "uint16"):
        assert not path.exists()


def test_who_waits_sleeps(clock: Clock) -> None:
    name = unique("idle")
    with RingWriter(name, 4, SHAPE, "uint16"), RingReader(name) as reader:
        assert reader.get(1.0) is None and clock.now_s == pytest.approx(1.0, abs=0.01)
    assert clock.naps < 1000


@pytest.mark.slow
def test_a_put_costs_its_copy() -> None:
    name = unique("cost")
    shape = (1024, 1024)
    with RingWriter(name, 4, shape, "uint16") as ring:
        pixels = image(3, shape)
        target = np.empty_like(pixels)

        def fastest(step: Any) -> float:
            times = []
            for _ in range(40):
                began = time.perf_counter()
                step()
                times.append(time.perf_counter() - began)
            return min(times)

        copy = fastest(lambda: np.copyto(target, pixels))
        numbers = itertools.count()
        assert fastest(lambda: ring.put(pixels, number=next(numbers), t=0)) < 3 * copy + 1e-4


if __name__ == "__main__":
    {"read": read_all, "write": write_some}[sys.argv[1]](sys.argv[2], **json.loads(sys.argv[3]))
