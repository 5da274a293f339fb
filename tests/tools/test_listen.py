"""Events as JSON lines: complete, as they come, the same from the wire and from the store."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from build import FREE, GIVE_UP_S, make_frame, make_start, make_update
from livespt.stream.errors import InputError, SettingError, WireError
from livespt.stream.store.run import RunWriter
from livespt.stream.types import EVENT, KINDS, Frame, Stop, Update
from livespt.stream.wire.publisher import Publisher
from livespt.tools.cli.main import run as command
from livespt.tools.listen import listen

START = make_start(run="run-1")
STOP = Stop("run-1", "complete", events=24)


def steps() -> list[tuple[Frame, Update]]:
    """Eight frames with three events each, of every kind."""
    made = []
    for t in range(8):
        events = np.zeros(3, EVENT)
        events["seq"] = np.arange(3 * t, 3 * t + 3)
        events["kind"] = events["seq"] % len(KINDS)
        events["frame"], events["track"], events["other"] = t, 2**40 + events["seq"], -1
        events["y"], events["x"] = 0.1 * events["seq"], 1 / 3
        events["probability"] = np.where(events["seq"] % 2, np.nan, 0.9)
        frame = make_frame(t)
        made.append((frame, make_update(frame, events=events)))
    return made


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("listen") / "run.zarr"
    writer = RunWriter(path, START)
    for frame, update in steps():
        writer.add_frame(frame)
        writer.commit(frame, update)
    writer.close(STOP)
    return path


def heard(target: str | Path, kinds: tuple[str, ...] = (), since: int = 0) -> list[str]:
    out = io.StringIO()
    written = listen(str(target), kinds=kinds, since=since, wait_s=GIVE_UP_S, out=out)
    lines = out.getvalue().splitlines()
    assert written == len(lines)
    return lines


def test_the_wire_and_the_store_say_the_same(stored: Path) -> None:
    publisher = Publisher(FREE, START)
    for frame, update in steps():
        publisher(frame, update)

    def close() -> None:
        deadline = time.monotonic() + GIVE_UP_S
        while not publisher._peers and time.monotonic() < deadline:
            time.sleep(0.01)
        publisher.close(STOP, GIVE_UP_S)

    closing = threading.Thread(target=close)
    closing.start()
    lines = heard(publisher.endpoint)
    closing.join()
    assert lines == heard(stored)
    assert [json.loads(line)["seq"] for line in lines] == list(range(24))


def test_a_line_says_all_of_an_event_in_plain_json(stored: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    events = [json.loads(line, parse_constant=refuse) for line in heard(stored)]
    assert events[6] == {
        "seq": 6, "kind": "uncoating", "frame": 2, "channel": 0, "position": 0,
        "track": 2**40 + 6, "other": -1, "z": 0.0, "y": 0.6, "x": 0.33333334,
        "probability": 0.9, "delay": 0, "amends": 0,
    }  # fmt: skip
    assert events[7]["probability"] is None
    assert type(events[6]["track"]) is int


@pytest.mark.parametrize(
    ("kinds", "since", "seqs"),
    [
        ((), 20, [20, 21, 22, 23]),
        (("uncoating",), 0, [6, 14, 22]),
        (("uncoating", "born"), 7, [8, 14, 16, 22]),
        ((), 99, []),
    ],
)
def test_what_is_asked_for(
    stored: Path, kinds: tuple[str, ...], since: int, seqs: list[int]
) -> None:
    assert [json.loads(line)["seq"] for line in heard(stored, kinds, since)] == seqs


def test_the_command_writes_each_event_at_once_and_ends_with_the_run() -> None:
    publisher = Publisher(FREE, START)
    made = steps()
    publisher(*made[0])
    command = "from livespt.tools.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, "listen", publisher.endpoint, "--since", "1"],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        early = [json.loads(child.stdout.readline())["seq"] for _ in range(2)]
        publisher(*made[1])
        early += [json.loads(child.stdout.readline())["seq"] for _ in range(3)]
        for frame, update in made[2:]:
            publisher(frame, update)
        publisher.close(STOP, GIVE_UP_S)
        late = [json.loads(line)["seq"] for line in child.stdout]
    assert early == [1, 2, 3, 4, 5] and late == list(range(6, 24))
    assert child.returncode == 0


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="'uncoted': did you mean uncoating"):
        listen(kinds=["uncoted"])
    with pytest.raises(InputError, match="neither an endpoint like tcp://"):
        listen(str(tmp_path / "run.zarr"))
    with pytest.raises(InputError):
        listen(str(tmp_path))
    with pytest.raises(WireError, match="nothing publishes at"):
        listen("tcp://127.0.0.1:1", wait_s=0.2)


def test_it_says_that_it_waits_and_for_how_long() -> None:
    told: list[str] = []
    with pytest.raises(WireError, match="nothing publishes at"):
        listen("tcp://127.0.0.1:1", wait_s=1.3, say=told.append)
    assert told == ["nothing publishes at tcp://127.0.0.1:1 yet: waiting 1.3 s"]


def test_a_bounded_wait_is_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["listen", "tcp://127.0.0.1:1", "--wait-s", "0.1"]) == 1
    assert "nothing publishes at" in capsys.readouterr().err
