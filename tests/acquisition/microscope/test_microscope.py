"""Microscopes: the real Micro-Manager core, its demo camera, the movie camera and the hook."""

from __future__ import annotations

import _thread
import importlib
import json
import math
import os
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from build import GIVE_UP_S
from livespt.acquisition.microscope import movie_camera
from livespt.acquisition.microscope.connect import (
    attach,
    demo_microscope,
    is_listening,
    open_python,
    simulated_microscope,
    start_java,
)
from livespt.acquisition.microscope.events import refusal, time_points
from livespt.acquisition.microscope.hook import CAMERA_MS, Hook
from livespt.stream.errors import InputError, MicroscopeError
from livespt.stream.ring.reader import RingReader
from livespt.stream.ring.writer import RingWriter
from livespt.stream.types import CLOCKS
from livespt.stream.wire import codec
from livespt.tools.chaos.trial_publisher import free_endpoint

SHAPE = (48, 64)
RNG = np.random.default_rng(5)
MOVIE = RNG.integers(0, 4000, (200, *SHAPE)).astype(np.uint16)


class Sink:
    """Collects what is put."""

    def __init__(self) -> None:
        self.images: list[Any] = []
        self.fields: list[dict[str, Any]] = []

    def __call__(self, image: Any, /, **fields: Any) -> None:
        self.images.append(image.copy())
        self.fields.append(fields)

    def column(self, name: str) -> list[Any]:
        return [fields[name] for fields in self.fields]


def simulated(n: int = len(MOVIE), interval_s: float = 0.002) -> Any:
    return simulated_microscope(
        lambda i: MOVIE[i % len(MOVIE)], n, SHAPE, "uint16", interval_s, pixel_size_um=0.107
    )


def demo(shape: tuple[int, int] = SHAPE, **options: Any) -> Any:
    """The demo camera with a small buffer: a core does not give its memory back."""
    return demo_microscope(shape, buffer_mb=16, **options)


# --- the whole way


def test_a_movie_passes_core_engine_hook_and_ring_unchanged() -> None:
    name = f"test-microscope-{os.getpid()}"
    with simulated() as microscope, RingWriter(name, 16, SHAPE, "uint16", math.inf) as ring:
        assert (microscope.shape, microscope.dtype) == (SHAPE, np.uint16)
        assert (microscope.pixel_size_um, microscope.n_frames) == (0.107, 200)
        seen: list[Any] = []
        with RingReader(name, lossless=True) as reader:
            reading = threading.Thread(target=lambda: seen.extend(reader))
            reading.start()
            acquired = microscope.acquire(ring.put)
            ring.end()
            reading.join()
        assert acquired == (200, 0, 0, "", False, 0)
        assert [f.number for f in seen] == [f.t for f in seen] == list(range(200))
        assert all(np.array_equal(f.image, MOVIE[f.t]) for f in seen)
        times = np.array([f.time_s for f in seen])
        assert times[0] == 0 and (np.diff(times) > 0).all()
        assert {CLOCKS[f.clock] for f in seen} == {"camera"}
        assert times[-1] > 0.38  # 199 intervals of 2 ms
        assert (np.diff([f.captured_ns for f in seen]) > 0).all()


def test_bursts_count_on_and_a_second_run_starts_over() -> None:
    with simulated() as microscope:
        for n, burst in [(50, 12), (7, 3), (1, 5)]:
            sink = Sink()
            assert microscope.acquire(sink, n, burst=burst).frames == n
            assert sink.column("number") == sink.column("t") == list(range(n))
            assert np.array_equal(sink.images, MOVIE[:n])
            assert (np.diff(sink.column("time_s")) > 0).all()


def test_a_demo_camera_starts_again_in_the_same_process() -> None:
    for shape in [(64, 96), (32, 32)]:
        with demo(shape, exposure_ms=2, pixel_size_um=0.2) as microscope:
            assert (microscope.shape, microscope.dtype) == (shape, np.uint16)
            assert (microscope.pixel_size_um, microscope.exposure_ms) == (0.2, 2.0)
            with pytest.raises(MicroscopeError, match="close that one first"):
                demo()
            sink = Sink()
            assert microscope.acquire(sink, 30, exposure_ms=4).frames == 30
            assert microscope.exposure_ms == 4.0
            assert sink.images[-1].shape == shape and sink.images[-1].std() > 0
            assert sink.column("number") == list(range(30))


def test_snapped_images_are_timed_by_the_host() -> None:
    with demo(exposure_ms=1) as microscope:
        sink = Sink()
        microscope.acquire(sink, 5, interval_ms=20)
        assert sink.column("number") == sink.column("t") == list(range(5))
        assert {CLOCKS[c] for c in sink.column("clock")} == {"host"}
        assert sink.column("time_s")[-1] > 0.06


def test_stacks_channels_and_positions() -> None:
    from pycromanager import multi_d_acquisition_events

    events = multi_d_acquisition_events(
        num_time_points=3,
        z_start=0,
        z_end=4,
        z_step=2,
        channel_group="Filter",
        channels=["red", "green"],
        xy_positions=np.array([[0.0, 0.0], [5.0, 5.0]]),
        order="tpcz",
    )
    for by_hardware in ("No", "Yes"):  # z stepped, z sequenced
        with demo(exposure_ms=1) as microscope:
            core = microscope.core
            core.set_property("Z", "UseSequences", by_hardware)
            for i, channel in enumerate(["red", "green"]):
                core.define_config("Filter", channel, "Objective", "State", str(i))
            assert core.is_property_sequenceable("Objective", "State")
            assert microscope.frame_shape(events) == (3, *SHAPE)
            assert microscope.frame_shape() == SHAPE
            sink = Sink()
            acquired = microscope.acquire(sink, events=events)
            assert acquired == (12, 0, 0, "", False, 0)
            assert sink.images[0].shape == (3, *SHAPE)
            assert sink.column("number") == list(range(12))
            assert sink.column("t") == [t for t in range(3) for _ in range(4)]
            assert sink.column("position") == [0, 0, 1, 1] * 3
            assert sink.column("channel") == [0, 1] * 6


EVENTS_REFUSED = {
    "none": ([], "no events"),
    "z slowest": ([(0, 0), (0, 1), (1, 0), (1, 1)], "z the fastest"),
    "half a stack": ([(0, 0), (1, 0), (0, 1)], "must be complete"),
}


@pytest.mark.parametrize("case", EVENTS_REFUSED)
def test_events_that_make_no_whole_stacks_are_refused(case: str) -> None:
    axes, words = EVENTS_REFUSED[case]
    reason = refusal([{"axes": {"z": z, "time": t}} for z, t in axes])
    assert reason and words in reason


def test_time_points() -> None:
    assert [len(part) for part in time_points(10, 0, 4)] == [4, 4, 2]
    assert [e["axes"]["time"] for part in time_points(5, 0, 2) for e in part] == list(range(5))
    assert [e["min_start_time"] for e in next(time_points(None, 20, 3))] == [0, 0.02, 0.04]
    assert all("min_start_time" not in e for e in next(time_points(3, 0, 3)))


# --- ends


def test_an_endless_run_ends_on_request() -> None:
    with demo(exposure_ms=1) as microscope:
        sink = Sink()
        acquired = microscope.acquire(sink, stop=lambda: len(sink.images) > 30)
        assert acquired.stopped and acquired.frames == len(sink.images) > 30


def test_ctrl_c_ends_a_run_like_a_request() -> None:
    ignored = signal.getsignal(signal.SIGINT)  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    n = 30_000  # a minute: however late the request is heeded, there is a run to end
    with simulated(n) as microscope:
        sink = Sink()

        def put(image: Any, /, **fields: Any) -> None:
            sink(image, **fields)
            if len(sink.images) == 20:
                _thread.interrupt_main()

        acquired = microscope.acquire(put)
        assert acquired.stopped and 20 <= acquired.frames < n
        assert microscope.acquire(Sink(), 200).frames == 200  # and the next run is whole
    signal.signal(signal.SIGINT, ignored)


def test_a_sink_that_fails_is_counted_and_ends_nothing() -> None:
    sink = Sink()

    def put(image: Any, /, **fields: Any) -> None:
        if fields["number"] % 10 == 3:
            raise OSError("no room left")
        sink(image, **fields)

    def never(image: Any, /, **fields: Any) -> None:
        raise InputError("frame is (48, 64)")

    with simulated() as microscope:
        assert microscope.acquire(put) == (180, 0, 20, "no room left", False, 0)
        assert len(sink.images) == 180
        with pytest.raises(MicroscopeError, match=r"none of 30 images could be used: frame is"):
            microscope.acquire(never, 30)


def test_a_camera_that_outruns_the_computer_is_an_error(capfd: Any) -> None:
    def slow(image: Any, /, **fields: Any) -> None:
        time.sleep(0.03)

    movie = np.zeros((512, 512), np.uint16)
    with simulated_microscope(
        lambda i: movie, 300, movie.shape, "uint16", 0.001, buffer_mb=4
    ) as microscope:
        with pytest.raises(MicroscopeError, match=r"broke off after \d+ of 300 .*overflow.*lower"):
            microscope.acquire(slow)
    out, err = capfd.readouterr()
    assert not out and not err  # not a word from other packages


def test_a_movie_that_fails_is_an_error() -> None:
    def movie(i: int) -> Any:
        if i == 5:
            raise OSError("file is cut short")
        return MOVIE[i]

    with simulated_microscope(movie, 50, SHAPE, "uint16", 0.002) as microscope:
        with pytest.raises(MicroscopeError, match="frame 5 of the movie failed: file is cut short"):
            microscope.acquire(Sink())
        with pytest.raises(InputError, match="the movie has 50"):
            microscope.acquire(Sink(), 51)


def test_colour_cameras_are_refused() -> None:
    with pytest.raises(MicroscopeError, match="set its pixel type"):
        simulated_microscope(
            lambda i: np.zeros((8, 8, 3), np.uint8),
            5,
            (8, 8, 3),
            "uint8",
            0.01,  # type: ignore[arg-type]
        )
    with pytest.raises(MicroscopeError, match="cannot load"):
        demo(mode="No Such Mode")
    with simulated(2) as microscope:  # and nothing of them stays
        assert microscope.acquire(Sink()).frames == 2


def test_a_configuration_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    config = tmp_path / "mine.cfg"
    config.write_text("Device,Camera,NoSuchVendor,Cam\n")
    with pytest.raises(MicroscopeError, match=r"cannot load .*mine.cfg") as caught:
        open_python(tmp_path, config)
    assert "\n" not in str(caught.value)
    with pytest.raises(MicroscopeError, match="cannot start Micro-Manager"):
        start_java(tmp_path, config, java=str(tmp_path / "no-java"))


# --- politeness


def test_the_engine_sleeps_while_it_waits_for_an_image() -> None:
    with demo(exposure_ms=10) as microscope:
        polls = 0
        polite = microscope.core.pop_next_tagged_image

        def pop() -> Any:
            nonlocal polls
            polls += 1
            return polite()

        microscope.core.pop_next_tagged_image = pop
        began = time.monotonic()
        assert microscope.acquire(Sink(), 40).frames == 40
        assert polls < 40 + (time.monotonic() - began) / 0.0002


PRIVATE = [
    ("mmpycorex.launcher", "_camel_to_snake"),
    ("mmpycorex.launcher", "_PYMMCORES"),
    ("mmpycorex.launcher", "TaggedImage.__init__"),
    ("mmpycorex.launcher", "get_tagged_image"),
    ("pycromanager.acquisition.acq_eng_py.internal.engine", "Engine.get_core"),
    ("pymmcore_plus.experimental.unicore", "UniMMCore.loadPyDevice"),
    ("pymmcore_plus.experimental.unicore", "CameraDevice.start_sequence"),
]


@pytest.mark.parametrize(("module", "name"), PRIVATE)
def test_private_names_of_other_packages_are_there(module: str, name: str) -> None:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)


def test_the_engine_is_a_singleton_that_can_be_deleted() -> None:
    from pycromanager.acquisition.acq_eng_py.internal.engine import Engine

    with simulated(2) as microscope:
        assert Engine.singleton.core is microscope.core
    assert not hasattr(Engine, "singleton")
    names = movie_camera._core_class()
    assert names.set_exposure is names.setExposure and names.pop_next_image_md


# --- the hook, with metadata as they come


def tags(axes: dict[str, Any], number: int | None = None, **more: Any) -> dict[str, Any]:
    return {"Axes": axes, **({} if number is None else {"ImageNumber": str(number)}), **more}


NUMBERS = {
    "one burst": ([0, 1, 2, 3], [0, 1, 2, 3], 0),
    "restart": ([0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 4, 5], 0),
    "lost inside": ([0, 1, 5, 6], [0, 1, 5, 6], 3),
    "lost, then restart": ([0, 4, 0, 1], [0, 4, 5, 6], 3),
    "lost at first": ([2, 3, 0], [2, 3, 4], 2),
    "snapped": ([None, None, None], [0, 1, 2], 0),
    "both": ([0, 1, None, None, 0, 1], [0, 1, 2, 3, 4, 5], 0),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_image_numbers_are_unrolled(case: str) -> None:
    given, expected, lost = NUMBERS[case]
    sink = Sink()
    hook = Hook(sink)
    for i, number in enumerate(given):
        assert hook(MOVIE[0], tags({"time": i}, number)) is None
    assert sink.column("number") == expected and hook.lost == lost
    assert sink.column("t") == list(range(len(given)))


def core_time(s: float) -> str:
    return f"2026-03-01 23:59:{58 + s:09.6f}"


CLOCK_CASES = {
    "camera": ([{CAMERA_MS: 10.0 * i} for i in range(4)], "camera", 0.01),
    "camera stands still": (
        [{CAMERA_MS: 0.0, "TimeReceivedByCore": core_time(i / 50)} for i in range(4)],
        "core",
        0.02,
    ),
    "core only": ([{"TimeReceivedByCore": core_time(i / 50)} for i in range(4)], "core", 0.02),
    "nothing": ([{} for _ in range(4)], "host", None),
    "engine's own": ([{"ElapsedTime-ms": 5.0 * i} for i in range(4)], "host", None),
    "nonsense": ([{CAMERA_MS: "x", "TimeReceivedByCore": "soon"}] * 4, "host", None),
}


@pytest.mark.parametrize("case", CLOCK_CASES)
def test_the_best_clock_that_moves_is_taken(case: str) -> None:
    given, clock, step = CLOCK_CASES[case]
    sink = Sink()
    hook = Hook(sink)
    for i, times in enumerate(given):
        hook(MOVIE[0], tags({"time": i}, i, **times))
        time.sleep(0.001)
    assert hook.errors == 0
    assert {CLOCKS[c] for c in sink.column("clock")[1:]} == {clock}
    steps = np.diff(sink.column("time_s"))
    assert sink.column("time_s")[0] == 0
    assert (steps > 0).all() if step is None else np.allclose(steps, step)


def test_a_camera_that_restarts_its_clock_in_each_burst_keeps_true_time() -> None:
    sink = Sink()
    hook = Hook(sink)
    for burst, i in [(b, i) for b in range(3) for i in range(4)]:
        received = core_time(0.1 * burst + 0.01 * i)
        camera = {CAMERA_MS: 10.0 * i + 3, "TimeReceivedByCore": received}
        hook(MOVIE[0], tags({"time": 4 * burst + i}, i, **camera))
    expected = [0.1 * b + 0.01 * i for b in range(3) for i in range(4)]
    assert np.allclose(sink.column("time_s"), expected, atol=1e-6)


def test_the_hook_hands_images_on_only_to_be_saved_and_never_raises() -> None:
    hook = Hook(Sink(), keep=True)
    image, metadata = MOVIE[0], tags({"time": 0}, 0)
    kept = hook(image, metadata)
    assert kept is not None and kept[0] is image and kept[1] is metadata
    bad: Any = {"Axes": {"time": "three"}, "ImageNumber": "many"}
    assert hook(MOVIE[1], bad) and (hook.seen, hook.frames, hook.errors) == (2, 1, 1)
    assert "many" in hook.last_error
    stacks = Hook(sink := Sink(), planes=[0, 1])
    for t, z in [(0, 0), (1, 0), (1, 1), (2, 5)]:
        stacks(MOVIE[t], tags({"time": t, "z": z}))
    assert (stacks.frames, stacks.errors) == (1, 2) and sink.column("t") == [1]
    assert "no stack" in stacks.last_error


# --- Micro-Manager's own program


def free_port() -> int:
    return codec.address(free_endpoint())[1]


def test_no_micro_manager_is_one_clear_line() -> None:
    port = free_port()
    assert not is_listening(port)
    with pytest.raises(MicroscopeError, match=rf"no Micro-Manager answers at 127.0.0.1:{port}"):
        attach(port)


def test_only_a_server_of_micro_managers_kind_answers() -> None:
    import zmq

    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not is_listening(silent.getsockname()[1], 0.2)
        with pytest.raises(MicroscopeError, match="no Micro-Manager answers"):
            attach(silent.getsockname()[1])
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        assert is_listening(server.bind_to_random_port("tcp://127.0.0.1"), GIVE_UP_S)


def test_the_java_side_can_send_to_the_same_hook() -> None:
    """pycromanager's own receiving loop, fed over its wire format as Micro-Manager feeds it."""
    import zmq
    from pycromanager.acquisition import java_backend_acquisitions as java
    from pycromanager.acquisition.acquisition_superclass import Acquisition

    class Standin:
        _event_queue = None
        _call_image_process_fn = Acquisition._call_image_process_fn

        def abort(self, error: Exception) -> None:
            raise error

    sink = Sink()
    hook = Hook(sink, keep=True)
    context = zmq.Context()
    with context.socket(zmq.PUSH) as sender, context.socket(zmq.PULL) as echo:
        to_python = sender.bind_to_random_port("tcp://127.0.0.1")
        from_python = free_port()
        loop = threading.Thread(
            target=java._run_image_processor,
            args=(Standin(), from_python, to_python, threading.Event(), hook, None, False),
        )
        loop.start()
        echo.rcvtimeo = sender.sndtimeo = round(1000 * GIVE_UP_S)
        echo.connect(f"tcp://127.0.0.1:{from_python}")
        for i in range(20):
            message = {
                "metadata": {
                    "Axes": {"time": i},
                    "Width": SHAPE[1],
                    "Height": SHAPE[0],
                    "PixelType": "GRAY16",
                    "ImageNumber": i,
                    "ElapsedTime-ms": 0.0,
                    "TimeReceivedByCore": core_time(0.01 * i),
                },
                "pixels": {"type": "short-array", "value": "@7"},
            }
            sender.send_multipart(
                [json.dumps(message).encode(), (7).to_bytes(4, "little"), MOVIE[i].tobytes()]
            )
        echoes = [echo.recv_multipart() for _ in range(20)]
        sender.send_multipart([json.dumps({"special": "finished"}).encode()])
        loop.join(GIVE_UP_S)
        assert not loop.is_alive()
    context.destroy()
    assert (hook.seen, hook.errors) == (20, 0)
    assert np.array_equal(sink.images, MOVIE[:20]) and sink.images[0].dtype == np.uint16
    assert {CLOCKS[c] for c in sink.column("clock")} == {"core"}
    assert echoes[3][-1] == MOVIE[3].tobytes()
