"""Malformed messages and raw connections to every socket, while an honest follower is served.

Four sockets listen: PUB and ROUTER, for everyone on this machine and for those with a key. Each
gets messages that libzmq frames well and that make no sense, and connections that speak no ZeroMQ.
The other way round a hostile publisher sends the like to a subscriber of ours.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from livespt.stream.errors import LiveSptError
from livespt.stream.types import FORMAT
from livespt.stream.wire import codec, keys
from livespt.stream.wire.publisher import BEAT_S
from livespt.tools.chaos.hostile_publisher import hostile_publisher
from livespt.tools.chaos.trial_publisher import Child, Health, Plan, made_up, publishing
from livespt.tools.chaos.trial_subscriber import TrialSubscriber

HANG_S = 5.0  # promised: nobody waits longer
GIVE_UP_S = 300.0  # for what a busy machine does late
MEMORY_MB = 64.0  # growth that is borne: what libzmq and malloc keep of a flood's peak
AT_ONCE = 100  # raw connections open together
ODD_JSON = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b'"' + b"x" * 300,
    b"[" * 900,
    b'{"format": 1e999}',
    b'{"format": NaN}',
    b"1" * 900,
    b'{"format": %d, "seq": -1}' % FORMAT,
    b'{"format": %d, "seq": 1e3, "to": null}' % FORMAT,
    b'{"format": %d, "seq": 99999999999999999999999}' % FORMAT,
    b"\xff\xfe\x00",
    b'{"\\u0000": {"a": {"b": [[[[]]]]}}}',
)
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16) + b"\x00" + bytes(31)
READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
OPENINGS = (
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    GREETING[:11],
    GREETING,
    GREETING + READY,
    GREETING + READY + b"\x02\xff\xff\xff\xff\xff\xff\xff\xff",  # a frame of 16 EB
    GREETING + READY + b"\x01\x01x" * 50,  # parts without an end
    GREETING + b"\x06\xff\xff\xff\xff\xff\xff\xff\xff",
    GREETING.replace(b"NULL", b"PLAI"),
)


class Findings(NamedTuple):
    """What went wrong, and what took longer than is promised, in words."""

    failed: list[str]
    late: list[str]


def spoilt(parts: list[bytes], chance: random.Random) -> list[bytes]:
    """A message with parts damaged, missing, doubled, exchanged or made up."""
    parts = list(parts)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(parts)) if parts else 0
        how = chance.randrange(7)
        if not parts or how == 0:
            parts.insert(at, chance.randbytes(chance.randrange(60)))
        elif how == 1:
            parts[at] = chance.choice(ODD_JSON)
        elif how == 2:
            del parts[at]
        elif how == 3:
            parts[at] = parts[at][: chance.randrange(len(parts[at]) + 1)]
        elif how == 4:
            parts += parts[at : at + 1] * chance.randrange(1, 12)
        else:
            raw = bytearray(parts[at] or b"\0")
            for _ in range(chance.randint(1, 4)):
                raw[chance.randrange(len(raw))] = chance.randrange(256)
            parts[at] = bytes(raw)
    return parts or [b""]


def requests(child: Child, n: int, chance: random.Random, key: keys.Pair | None) -> None:
    """Malformed requests to the ROUTER, from a peer that reads no answer until it sent them all."""
    host, port = codec.address(child.endpoint)
    good = [codec.encode_request(codec.Request(topic, 3, 9)) for topic in codec.REQUESTS]
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = dealer.sndtimeo = round(1000 * GIVE_UP_S)
        if key is not None:
            keys.protect(dealer, key)
        dealer.connect(f"tcp://{host}:{port + 1}")
        for _ in range(n):
            dealer.send_multipart(spoilt(chance.choice(good), chance))
        _await_answer(dealer)  # all of them were read
        dealer.send_multipart([b"since", bytes(2000)])  # longer than may come in: we are cut off


def _await_answer(dealer: zmq.Socket[bytes]) -> None:
    """Ask for event 1, again and again, until it comes: what was sent before was read by then."""
    request, reply = codec.encode_request(codec.Request("since", 1, 2)), made_up(1, 1).tobytes()
    deadline, due = time.monotonic() + GIVE_UP_S, 0.0
    while (now := time.monotonic()) < deadline:
        if now >= due:
            dealer.send_multipart(request)
            due = now + 1.0
        if dealer.poll(100) and reply in dealer.recv_multipart():
            return
    raise LiveSptError(f"a request was not answered for {GIVE_UP_S:g} s")


def subscriptions(child: Child, n: int, chance: random.Random, key: keys.Pair | None) -> None:
    """Subscriptions to nothing, and messages that a subscriber may not send, to PUB."""
    with zmq.Context() as context, context.socket(zmq.XSUB) as xsub:
        xsub.linger, xsub.reconnect_ivl = 0, 10
        if key is not None:
            keys.protect(xsub, key)
        xsub.connect(child.endpoint)
        time.sleep(0.2)
        for i in range(n):
            first = chance.choice((b"\1", b"\1", b"", b"\2"))
            message = first + chance.randbytes(chance.randrange(38))
            xsub.send(bytes(600) if i % 1000 == 999 else message)
            if i % 500 == 499:
                time.sleep(0.01)
        time.sleep(0.2)


def connections(child: Child, n: int, chance: random.Random) -> None:
    """Connections to both ports that say something else than ZeroMQ, or nothing."""
    host, port = codec.address(child.endpoint)
    opened: list[socket.socket] = []
    for i in range(n):
        with contextlib.suppress(OSError):  # refused or cut: it may do that
            raw = socket.create_connection((host, port + i % 2), HANG_S)
            opened.append(raw)
            raw.sendall(chance.choice(OPENINGS) + chance.randbytes(chance.randrange(80)))
        if len(opened) >= AT_ONCE or i == n - 1:
            for raw in opened:
                raw.close()
            opened.clear()


def settled(child: Child, before: Health) -> Health:
    """How the publisher is when it has read what was sent and closed what the attack opened.

    Or how it is when it did not for `GIVE_UP_S`. `worst_ms` is that of the whole time.
    """
    deadline, last = time.monotonic() + GIVE_UP_S, child.health()
    while True:
        time.sleep(3 * BEAT_S)
        now = child.health()
        now = now._replace(worst_ms=max(now.worst_ms, last.worst_ms))
        rests = now.counts == last.counts and now.descriptors <= before.descriptors
        if rests or time.monotonic() > deadline:
            return now
        last = now


def listening(
    times: int, folder: Path, key: str, say: Callable[[str], None]
) -> tuple[dict[str, Any], Findings]:
    """Attack the two sockets of a publisher; with `key`, one that wants keys."""
    where = "with keys" if key else "without keys"
    pair = keys.of_follower(Path(key)) if key else None
    attacks: dict[str, Callable[[Child, int, random.Random], None]] = {
        "requests": partial(requests, key=pair),
        "subscriptions": partial(subscriptions, key=pair),
        "connections": lambda child, n, chance: connections(child, n // 5, chance),  # to two ports
    }
    failed: list[str] = []
    late: list[str] = []
    figures: dict[str, Any] = {}
    with publishing(Plan(keys=str(folder) if key else "")) as child:
        path = folder / f"honest {bool(key):d}.events"
        honest = TrialSubscriber(child.endpoint, path, key=key)
        if not honest.has_joined():
            return figures, Findings([f"the honest follower {where} never joined"], late)
        before = child.health()
        for at, (name, attack) in enumerate(attacks.items()):
            begin = time.monotonic()
            attack(child, times, random.Random(at))
            now = settled(child, before)
            took = time.monotonic() - begin
            say(f"{name} {where}: {took:.0f} s, {now.counts}")
            figures[name] = {"seconds": round(took, 1), "worst_ms": round(now.worst_ms, 1)}
            if now.worst_ms > 1000 * HANG_S:
                late.append(f"{name} {where}: a frame took {now.worst_ms:.0f} ms to publish")
            if now.descriptors > before.descriptors:
                failed.append(f"{name} {where}: {now.descriptors - before.descriptors} files open")
        figures["memory_mb"] = round(now.rss_mb - before.rss_mb, 1)
        figures["counts"] = now.counts
        if fault := honest.fault(child.stop()):
            failed.append(f"the honest follower {where}: {fault}")
        else:
            figures["longest_wait_s"] = round(honest.seen.longest_wait_s, 2)
            if honest.seen.longest_wait_s > HANG_S:
                late.append(f"the honest follower {where} waited {honest.seen.longest_wait_s} s")
    if now.rss_mb - before.rss_mb > MEMORY_MB:
        failed.append(f"{where}: memory grew by {now.rss_mb - before.rss_mb:.0f} MB")
    if not now.counts["malformed"]:
        failed.append(f"{where}: no malformed message was counted")
    return figures, Findings(failed, late)


def run(times: int, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Send `times` malformed messages to each socket, and a tenth as many raw connections.

    Parameters
    ----------
    times : int
        Messages; each port gets a tenth as many connections.
    folder : Path
        For what is written meanwhile.
    say : callable
        Told how it goes.

    Returns
    -------
    dict
        What was measured; `failed` lists what went wrong and `late` what took longer than is
        promised, in words.
    """
    keys.make(folder, "mallory")
    figures: dict[str, Any] = {"messages": times, "connections": times // 10}
    failed: list[str] = []
    late: list[str] = []
    for name, key in (("plain", ""), ("curve", str(folder / "mallory.key"))):
        try:
            figures[name], findings = listening(times, folder, key, say)
        except LiveSptError as error:
            findings = Findings([f"{name}: {error}"], [])
        failed, late = failed + findings.failed, late + findings.late
    suffered, wrong = hostile_publisher(times, spoilt, say)
    figures["hostile publisher"] = suffered._asdict()
    if suffered.memory_mb > MEMORY_MB:
        wrong.append(f"the subscriber of a hostile publisher grew: {suffered}")
    if suffered.longest_s > HANG_S:
        late.append(f"the subscriber of a hostile publisher waited: {suffered}")
    return figures | {"failed": failed + wrong, "late": late}


if __name__ == "__main__":
    import sys
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        report = run(int(sys.argv[1]), Path(name), print)
    print(json.dumps(report, indent=2))
