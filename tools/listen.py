"""`livespt listen`: events as lines of JSON, from a run that is published or stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

import numpy as np

from livespt.stream.errors import InputError, SettingError
from livespt.stream.store.run import open_run
from livespt.stream.types import KINDS
from livespt.stream.wire.codec import ENDPOINT
from livespt.stream.wire.payloads import event_fields
from livespt.stream.wire.subscriber import Subscriber

WAIT_S = 5.0


def listen(
    target: str = ENDPOINT,
    *,
    kinds: Collection[str] = (),
    since: int | None = 0,
    wait_s: float = WAIT_S,
    silence_s: float = 30.0,
    key: Path | None = None,
    out: TextIO | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> int:
    """Write one line of JSON for each event, without gaps from `since` on, until the run ends.

    Parameters
    ----------
    target : str
        Endpoint of a running `live`, `replay` or `demo`, or the folder of a stored run, whose
        events so far are written.
    kinds : collection of str
        Names in `types.KINDS`; empty: all kinds.
    since : int, optional
        Number of the first event; None: new events only (of a stored run: all).
    wait_s : float
        Time to wait for a publisher.
    silence_s : float
        Time to wait for a message from it later on, because a run may return after a crash.
    key : Path, optional
        Key file of this subscriber, if the publisher requires one.
    out : text file
        Default: standard output.
    say : callable
        Is called with a text when it waits for a publisher, and when invalid messages were ignored.

    Returns
    -------
    int
        Number of events written.

    Raises
    ------
    WireError
        Nothing publishes at the endpoint, or messages stopped before the end of the run.
    InputError, SettingError
        The folder is not a run; the kind does not exist.
    """
    for kind in kinds:
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, 1)
            hint = f": did you mean {near[0]}?" if near else f": one of {', '.join(KINDS)}"
            raise SettingError(f"no events are of kind {kind!r}{hint}")
    out = out or sys.stdout
    if "://" in target:
        subscriber = Subscriber(
            target,
            since=since,
            kinds=kinds,
            connect_s=wait_s,
            silence_s=silence_s,
            key=key,
            say=say,
        )
        events = _published(subscriber, say)
    else:
        events = _stored(Path(target), kinds, since)
    written = 0
    for event in events:
        print(json.dumps(event_fields(event), allow_nan=False), file=out, flush=True)
        written += 1
    return written


def _published(subscriber: Subscriber, say: Callable[[str], None]) -> Iterator[np.void]:
    with subscriber:
        yield from subscriber.events()
        if subscriber.malformed:
            say(f"{subscriber.malformed} messages were invalid and were ignored")


def _stored(run: Path, kinds: Collection[str], since: int | None) -> Iterator[np.void]:
    if not run.exists():
        raise InputError(f"{run} is neither an endpoint like {ENDPOINT} nor a stored run")
    events = open_run(run).events
    wanted = [KINDS.index(kind) for kind in kinds or KINDS]
    yield from events[(events["seq"] >= (since or 0)) & np.isin(events["kind"], wanted)]
