"""Watch: stored and published runs, as picture, movie and window."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest

from build import FREE, GIVE_UP_S, make_frame, make_start, make_update
from livespt.stream.errors import InputError, LiveSptError, SettingError, StoreError, WireError
from livespt.stream.store.run import RunWriter, open_run
from livespt.stream.types import EVENT, KINDS, SPOT, STATE, Frame, Stop, Timings, Update
from livespt.stream.wire.publisher import Publisher
from livespt.tools.overlay import layers
from livespt.tools.overlay.canvas import render_run
from livespt.tools.overlay.opengl import FORCE, opengl
from livespt.tools.overlay.player import LivePlayer, Player, play, scene_at
from livespt.tools.overlay.scene import UNCOATING, Scene
from livespt.tools.overlay.watch import watch

FRAMES, LAG, TAIL = 60, 10, 20
UNCOATS = 30  # frame in which track 1 uncoats
START = make_start((64, 64), run="run1", mode="live")


def frames() -> Iterator[tuple[Frame, Update]]:
    """Three tracks that go right, settle late, and one of which uncoats."""
    rng = np.random.default_rng(0)
    ids = np.arange(3)
    seq = 0
    for t in range(FRAMES):
        spots = np.zeros(3, SPOT)
        spots["frame"], spots["track"] = t, ids
        spots["y"], spots["x"] = 15 + 16 * ids, 2 + t
        now = np.zeros(3, STATE)
        now["frame"], now["made"], now["track"], now["state"] = t, t, ids, ids
        now["p_normal"], now["p_uncoated"] = 1, (ids == 1) & (t >= UNCOATS)
        then = now.copy()
        then["frame"], then["lag"], then["settled"], then["state"] = t - LAG, LAG, 1, 3
        then["p_uncoated"] = (ids == 1) & (t - LAG >= UNCOATS)
        states = np.concatenate([now, then]) if t >= LAG and (t - LAG) % 7 != 4 else now
        events = np.zeros(int(t == UNCOATS + LAG), EVENT)
        events["kind"], events["frame"], events["track"] = UNCOATING, UNCOATS, 1
        events["y"], events["x"] = 31, 2 + UNCOATS
        events["delay"], events["other"], events["amends"], events["seq"] = LAG, -1, -1, seq
        seq += len(events)
        image = rng.poisson(50, START.shape).astype("<u2")
        image[15:48:16, 2 + t] = 900
        frame = make_frame(t, image=image)
        yield frame, make_update(frame, spots, states, events, timings=Timings(1, 1, 3, 9))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stored run."""
    path = tmp_path_factory.mktemp("watch") / "run.zarr"
    write(path, FRAMES)
    return path


def write(path: Path, n: int) -> None:
    """Store the first `n` frames; every 7th is not analyzed."""
    writer = RunWriter(path, START)
    for frame, update in islice(frames(), n):
        writer.add_frame(frame)
        if frame.t % 7 != 4:
            writer.commit(frame, update)
    writer.close(Stop("run1", "complete"))


def tails(scene: Scene) -> list[Any]:
    """What is drawn of the tails, in no order."""
    ends, colour = layers.tails(scene)
    return sorted(np.concatenate([ends, colour], axis=2).reshape(len(ends), -1).round(4).tolist())


def test_a_jump_shows_what_playing_shows(run: Path) -> None:
    played, jumped = Player(open_run(run), tail=TAIL), Player(open_run(run), tail=TAIL)
    for at in range(45):
        played.go(at)
    jumped.go(44)
    a, b = played.scene, jumped.scene
    assert a.frame == b.frame and a.announced == b.announced == 1 and a.lost == b.lost
    assert np.array_equal(a.heads, b.heads) and np.array_equal(a.image, b.image)
    assert np.array_equal(a.history(1), b.history(1))
    assert tails(a) == tails(b) and len(tails(a)) > 30
    jumped.go(10)
    jumped.go(44)  # and back
    assert tails(played.scene) == tails(jumped.scene)


def test_a_stored_run_shows_settled_states_and_events_where_they_happened(run: Path) -> None:
    player = play(run)
    player.go_to_frame(UNCOATS)
    scene = player.scene
    assert scene.heads["state"].tolist() == [3, 3, 3]
    assert scene.flashes["kind"].tolist() == [UNCOATING]
    assert scene.flashes[["y", "x"]].tolist() == [(31, 32)]
    player.go_to_frame(FRAMES - 1)  # not settled: what was read last
    assert player.scene.heads["state"].tolist() == [0, 1, 2]
    assert player.scene.image[31, 2 + FRAMES - 1] == 900


def test_the_telling_frame_has_the_uncoating_and_its_track(run: Path) -> None:
    scene = scene_at(open_run(run))
    assert UNCOATS < scene.frame < UNCOATS + 15
    assert scene.selected == 1 and UNCOATING in scene.flashes["kind"]


def test_skipped_frames_are_not_offered(run: Path) -> None:
    player = play(run)
    assert len(player) == FRAMES - len(range(4, FRAMES, 7))
    with pytest.raises(InputError, match=r"frame 4 .* not analyzed: choose one from 0 to 59"):
        player.go_to_frame(4)
    player.go(10**6)
    assert player.scene.frame == FRAMES - 1
    player.go(-5)
    assert player.scene.frame == 0


def test_playing_keeps_the_movies_pace_and_stops_at_its_end(run: Path) -> None:
    now = [0.0]
    player = Player(open_run(run), clock=lambda: now[0])
    assert not player.step()
    player.playing = True
    assert player.step() and not player.step()
    now[0] += 0.05
    assert player.step() and player.at == 2
    player.go(len(player) - 1)
    now[0] += 1
    assert not player.step() and not player.playing


def test_an_amended_event_is_shown_as_amended(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run.zarr", START)
    for frame, update in frames():
        events = np.zeros(1 if frame.t in (20, 25) else 0, EVENT)
        events["seq"], events["kind"] = frame.t == 25, KINDS.index("changepoint")
        events["frame"], events["amends"] = (18, -1) if frame.t == 20 else (15, 0)
        writer.add_frame(frame)
        writer.commit(frame, update._replace(events=events))
    writer.close(Stop("run1", "complete"))
    player = play(tmp_path / "run.zarr")
    player.go_to_frame(30)
    assert [int(e["frame"]) for e in player.scene.recent] == [15]


def test_a_run_without_its_movie_is_drawn_on_black(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run.zarr", START, movie=False)
    for frame, update in frames():
        writer.add_frame(frame)
        writer.commit(frame, update)
    writer.close(Stop("run1", "complete"))
    scene = scene_at(open_run(tmp_path / "run.zarr"), 40)
    assert len(scene.heads) == 3 and scene.image.shape == (64, 64) and not scene.image.any()


@pytest.mark.parametrize("force", ["", "none"])
def test_a_picture_of_a_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: str
) -> None:
    from matplotlib.image import imread

    monkeypatch.setenv(FORCE, force)
    done = watch(str(run), tmp_path / "a.png", frame=41)
    how = "vispy" if opengl().backend else "matplotlib: no OpenGL"
    assert done["frame"] == 41 and done["drawn by"].startswith(how)
    image = imread(tmp_path / "a.png")
    assert image.shape[:2] == (760, 1280) and image[..., :3].std() > 0.05
    if force:
        assert render_run(run, tmp_path / "b.png", 41) == done["drawn by"]
        assert np.array_equal(imread(tmp_path / "b.png"), image)


def test_a_movie_has_every_analyzed_frame(tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    if opengl().backend is None:
        pytest.skip(f"slow without OpenGL ({opengl().reason})")
    folder = tmp_path / "movies"
    folder.mkdir()
    write(tmp_path / "run.zarr", 12)
    done = watch(str(tmp_path / "run.zarr"), folder / "a.mp4", fps=5)
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(folder / "a.mp4"))
    assert count == done["frames"] == 10  # frames 4 and 11 were not analyzed
    assert seconds == pytest.approx(2, abs=0.1)
    assert [p.name for p in folder.iterdir()] == ["a.mp4"]


REFUSED = {
    "format": ("a.gif", SettingError, r"writes .png or .mp4, not 'a.gif'"),
    "folder": ("none/a.png", StoreError, "is not a folder: create it first"),
}


@pytest.mark.parametrize(("name", "error", "match"), REFUSED.values(), ids=REFUSED)
def test_refused(
    run: Path, tmp_path: Path, name: str, error: type[LiveSptError], match: str
) -> None:
    with pytest.raises(error, match=match):
        watch(str(run), tmp_path / name)


def test_other_targets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="movie needs a stored run"):
        watch("tcp://127.0.0.1:5570", tmp_path / "a.mp4")
    with pytest.raises(InputError):
        watch(str(tmp_path), tmp_path / "a.png")


def test_a_window_needs_a_screen_and_says_what_does_not(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform in ("win32", "darwin"):
        pytest.skip("this system has a screen without DISPLAY")
    with pytest.raises(SettingError, match=r"no screen .*: draw into a file: livespt watch .*png"):
        watch(str(run))


@pytest.fixture
def published() -> Iterator[str]:
    """The endpoint of a run that is being published."""
    publisher = Publisher(FREE, START, image_rate_hz=1000)
    over = Event()

    def publish() -> None:
        while not (publisher._pub.wants_images or over.wait(0.01)):
            pass  # until there is someone to see the first frame
        for frame, update in frames():
            if over.wait(0.02):
                break
            publisher(frame, update)
        over.wait(GIVE_UP_S)

    thread = Thread(target=publish, name="publish")
    thread.start()
    yield publisher.endpoint
    over.set()
    thread.join()
    publisher.close(Stop("run1", "complete"), linger_s=1.0)


def test_a_published_run_is_followed(published: str) -> None:
    live = LivePlayer(published)
    try:
        seen: list[int] = []
        deadline = time.monotonic() + GIVE_UP_S
        while live.scene.frame < FRAMES - 1 and time.monotonic() < deadline:
            if live.step():
                seen.append(live.scene.frame)
                column = live.scene.image[31].argmax()
                assert column == 2 + live.scene.frame  # image and update are of one frame
                assert live.scene.heads["x"][1] == column
            time.sleep(0.005)
        assert live.scene.frame == FRAMES - 1 and seen == sorted(set(seen))
        assert live.scene.announced == 1 and live.scene.history(1)["settled"].any()
    finally:
        live.close()


def test_a_paused_overlay_stands_still_and_catches_up(published: str) -> None:
    live = LivePlayer(published)
    try:
        deadline = time.monotonic() + GIVE_UP_S
        while not live.step() and time.monotonic() < deadline:
            time.sleep(0.005)
        live.playing, at = False, live.scene.frame
        for _ in range(20):
            assert not live.step()
            time.sleep(0.01)
        assert live.scene.frame == at
        live.playing, seen = True, [at]
        while live.scene.frame < FRAMES - 1 and time.monotonic() < deadline:
            if live.step():
                seen.append(live.scene.frame)
            time.sleep(0.005)
        assert seen[-1] == FRAMES - 1 and seen == sorted(set(seen))
    finally:
        live.close()


def test_a_picture_of_a_published_run(
    published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FORCE, "none")
    done = watch(published, tmp_path / "a.png")
    assert done["frame"] >= 10 and (tmp_path / "a.png").exists()


def test_nothing_published(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="nothing publishes"):
        LivePlayer("tcp://127.0.0.1:9", connect_s=0.2)


WINDOW = """
import json, sys
from pathlib import Path
from vispy import app
from livespt.tools.overlay.player import play
from livespt.tools.overlay.opengl import opengl
opengl(window=True).prepare()
from livespt.tools.overlay.window import Window
player = play(sys.argv[1])
player.go_to_frame(40)
window = Window(player, size=(1000, 700), folder=Path(sys.argv[2]), say=lambda text: None)
window.canvas.native.move(0, 0)

def tell(event):
    # one JSON line a tick: what the test looks at
    place = window.overlay.place(window.scene)
    shown = window.overlay.visibility
    state = dict(frame=window.scene.frame, selected=window.scene.selected, keys=shown.keys,
        playing=player.playing, place=list(place), hidden=sorted(shown.hidden), panel=shown.panel,
        drawn=window._drawn is not None)
    print(json.dumps(state), flush=True)

timer = app.Timer(0.1, connect=tell, start=True, app=window.canvas.app)
window.run()
"""


@pytest.mark.slow
def test_keys_and_mouse_in_a_window(run: Path, tmp_path: Path) -> None:
    """A real window on a virtual screen, driven from outside."""
    import json

    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is missing; Debian: apt-get install xvfb xdotool")
    number = 90 + os.getpid() % 100
    environment = {**os.environ, "DISPLAY": f":{number}"}
    screen = subprocess.Popen(["Xvfb", f":{number}", "-screen", "0", "1200x900x24"])
    log = tmp_path / "log"
    child = None
    try:
        time.sleep(1.5)
        with log.open("w") as out:
            command = [sys.executable, "-c", WINDOW, str(run), str(tmp_path)]
            child = subprocess.Popen(command, env=environment, stdout=out)

        def tool(*words: str) -> str:
            done = subprocess.run(
                ["xdotool", *words], env=environment, capture_output=True, text=True, check=False
            )
            return done.stdout

        def until(**wanted: Any) -> dict[str, Any]:
            deadline, state = time.monotonic() + GIVE_UP_S, {}
            while time.monotonic() < deadline:
                lines = log.read_text().splitlines()
                if lines:
                    state = json.loads(lines[-1])
                    if all(state.get(k) == v for k, v in wanted.items()):
                        return state
                assert child is not None and child.poll() is None, "the window is gone"
                time.sleep(0.1)
            raise AssertionError(f"{wanted} never came: {state}")

        x, y, zoom = until(frame=40, drawn=True)["place"]
        window = tool("search", "--name", "livespt overlay").split()[0]
        tool("windowfocus", window)
        time.sleep(0.5)

        def move(row: float, column: float) -> None:
            at = (str(round(x + (column + 0.5) * zoom)), str(round(y + (row + 0.5) * zoom)))
            tool("mousemove", "--window", window, *at)

        move(31, 42)
        tool("click", "1")
        until(selected=1)
        move(23, 20)
        tool("click", "1")
        until(selected=None)
        move(31, 42)
        tool("mousedown", "1")
        move(20, 30)
        move(18, 28)
        tool("mouseup", "1")
        time.sleep(1)
        state = until(selected=None)  # a drag pans and selects nothing
        assert state["place"][0] < x - 20
        tool("key", "f")
        time.sleep(1)
        assert until()["place"][0] == pytest.approx(x, abs=1)
        move(31, 32)
        for _ in range(5):
            tool("click", "4")
        time.sleep(1)
        assert until()["place"][2] > 1.2 * zoom
        tool("key", "Right")
        until(frame=41)
        tool("key", "Home")
        until(frame=0)
        tool("key", "End")
        until(frame=FRAMES - 1)
        tool("key", "Left")
        until(frame=FRAMES - 2)
        for key in "tul":
            tool("key", key)
        until(hidden=["l", "t", "u"])
        tool("key", "question")
        until(keys=True)
        tool("key", "p")
        until(panel=False)
        tool("key", "space")
        until(playing=False, frame=FRAMES - 1)  # played to the end
        tool("key", "s")
        deadline = time.monotonic() + GIVE_UP_S
        while not list(tmp_path.glob("run1-*.png")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert [p.name for p in tmp_path.glob("*.png")] == [f"run1-{FRAMES - 1:06d}.png"]
    finally:
        if child is not None:
            child.kill()
            child.wait()
        screen.kill()
        screen.wait()
