"""Keys: who has one follows a run; all others get nothing, and are counted."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from build import FREE, GIVE_UP_S, make_events, make_frame, make_start, make_update
from livespt.stream.errors import SettingError, WireError
from livespt.stream.types import Frame, Stop, Update
from livespt.stream.wire import keys
from livespt.stream.wire.publisher import Publisher
from livespt.stream.wire.subscriber import Subscriber
from livespt.tools.cli.main import run as command

START = make_start((4, 4), mode="live")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys") / "mine"
    keys.make(folder, "anna")
    keys.make(folder, "bert")
    return folder


@pytest.fixture
def publisher(folder: Path) -> Iterator[Publisher]:
    publisher = Publisher(FREE, START, folder=folder)
    yield publisher
    publisher.close(Stop("r", "complete"), linger_s=0.5)


def event(seq: int) -> Update:
    return make_update(frame(seq), events=make_events(seq, 1))


def frame(number: int) -> Frame:
    return make_frame(number, (4, 4))


def test_who_has_a_key_gets_everything(publisher: Publisher, folder: Path) -> None:
    for name in ("anna", "bert"):
        with Subscriber(publisher.endpoint, since=0, key=folder / f"{name}.key") as follower:
            first = follower.head
            publisher(frame(first), event(first))
            seen = [
                int(row["seq"])
                for _, row in zip(range(first + 1), follower.events(GIVE_UP_S), strict=False)
            ]
            assert seen == list(range(first + 1))
    assert publisher.refused == 0


STRANGERS = {
    "no key": lambda folder, other: None,
    "a key of another": lambda folder, other: other / "carl.key",
    "one forgotten": lambda folder, other: other / "dora.key",
}


@pytest.mark.parametrize("who", STRANGERS)
def test_all_others_get_nothing(
    who: str, publisher: Publisher, folder: Path, tmp_path: Path
) -> None:
    keys.make(tmp_path, "carl")
    stranger = keys.of_publisher(folder)
    words = json.loads((tmp_path / "carl.key").read_text())
    words["server"] = stranger.public.decode()  # knows the publisher, and is not known by it
    (tmp_path / "dora.key").write_text(json.dumps(words))
    key, deadline = STRANGERS[who](folder, tmp_path), time.monotonic() + GIVE_UP_S
    while True:
        with pytest.raises(WireError, match="not to this key"):
            Subscriber(publisher.endpoint, key=key, connect_s=0.3)
        if who != "one forgotten" or publisher.refused or time.monotonic() > deadline:
            break  # only this one speaks to the publisher, which may be slow to refuse it
    assert (publisher.refused > 0) == (who == "one forgotten")


@pytest.mark.parametrize("mechanism", ["null", "plain"])
def test_other_mechanisms_get_nothing(mechanism: str, publisher: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.linger = 0
        if mechanism == "plain":
            socket.plain_username, socket.plain_password = b"anna", b"anna"
        socket.subscribe(b"")
        socket.connect(publisher.endpoint)
        for number in range(5):
            publisher(frame(number), event(number))
            assert not socket.poll(100)


def test_secrets_are_for_their_owner_alone(folder: Path) -> None:
    names = ["anna.key", "bert.key", "publisher.key"]
    assert sorted(path.name for path in folder.glob("*.key")) == names
    if os.name == "posix":
        for name in names:
            assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    secrets = [json.loads((folder / name).read_text())["secret"] for name in names]
    assert len(set(secrets)) == 3
    told = "".join(path.read_text() for path in (folder / "known").iterdir())
    assert not any(secret in told for secret in secrets)


def test_beyond_loopback_with_keys_only(folder: Path) -> None:
    with pytest.raises(WireError, match="livespt keys"):
        Publisher("tcp://0.0.0.0:0", START)
    publisher = Publisher("tcp://0.0.0.0:0", START, folder=folder)
    publisher.close(Stop("r", "complete"), linger_s=0.1)


def test_what_cannot_be_used_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("", "a b", "../x", "publisher"):
        with pytest.raises(SettingError, match="names no key"):
            keys.make(tmp_path, name)
    with pytest.raises(SettingError, match="exists already"):
        keys.make(folder, "anna")
    keys.make(tmp_path / "k", "bob")
    (tmp_path / "k" / "bob.key").unlink()  # taken to another machine
    with pytest.raises(SettingError, match="exists already"):
        keys.make(tmp_path / "k", "bob")
    (tmp_path / "k" / "known" / "bob.public").write_text("#" * 40)
    with pytest.raises(SettingError, match="holds no public key"):
        Publisher(FREE, START, folder=tmp_path / "k")
    with pytest.raises(SettingError, match="no one may follow"):
        Publisher(FREE, START, folder=tmp_path)
    (tmp_path / "x.key").write_text("{}")
    for path, why in (("none.key", "no key"), ("x.key", "no key file")):
        with pytest.raises(SettingError, match=why):
            Subscriber(FREE, key=tmp_path / path)


def test_keys_are_made_by_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["keys", str(tmp_path / "k"), "anna"]) == 0
    assert "publisher.key" in capsys.readouterr().out
    assert keys.of_follower(tmp_path / "k" / "anna.key").server
    assert command(["keys", str(tmp_path / "k"), "anna"]) == 2
    assert "exists already" in capsys.readouterr().err
