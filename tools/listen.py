"""Listen: events as JSON lines, from a run that is published or stored."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TextIO

import numpy as np

from livespt.stream.errors import InputError, SettingError
from livespt.stream.message import event_fields
from livespt.stream.store import open_run
from livespt.stream.subscribe import Subscriber
from livespt.stream.types import KINDS
from livespt.stream.wire import ENDPOINT


def listen(
    target: str = ENDPOINT,
    *,
    kinds: Collection[str] = (),
    since: int | None = 0,
    wait_s: float = 30.0,
    key: Path | None = None,
    out: TextIO | None = None,
) -> int:
    """Write one JSON line an event, complete from `since` on, until the run ends.

    Parameters
    ----------
    target : str
        Endpoint of a running `live`, `replay` or `demo`, or the folder of a stored run (whose
        events so far are written).
    kinds : collection of str
        Names in `types.KINDS`; none: all.
    since : int, optional
        First event wanted; None: from now on (of a stored run: all).
    wait_s : float
        How long to wait for a publisher, and later for a word from it.
    key : Path, optional
        One's own key file, where the publisher lets in only whom it knows.
    out : text file
        Default: standard output.

    Returns
    -------
    int
        Number of events written.

    Raises
    ------
    WireError
        Nothing publishes at the endpoint, or the run fell silent without a stop.
    InputError, SettingError
        The folder is not a run; a kind does not exist.
    """
    for kind in kinds:
        if kind not in KINDS:
            near = get_close_matches(kind, KINDS, 1)
            hint = f": did you mean {near[0]}?" if near else f": one of {', '.join(KINDS)}"
            raise SettingError(f"no events are of kind {kind!r}{hint}")
    out = out or sys.stdout
    written = 0
    for event in _events(target, kinds, since, wait_s, key):
        print(json.dumps(event_fields(event), allow_nan=False), file=out, flush=True)
        written += 1
    return written


def _events(
    target: str, kinds: Collection[str], since: int | None, wait_s: float, key: Path | None
) -> Iterator[np.void]:
    if "://" in target:
        with Subscriber(
            target, since=since, kinds=kinds, connect_s=wait_s, silence_s=wait_s, key=key
        ) as subscriber:
            yield from subscriber.events()
        return
    if not Path(target).exists():
        raise InputError(f"{target} is neither an endpoint like {ENDPOINT} nor a stored run")
    events = open_run(Path(target)).events
    wanted = [KINDS.index(kind) for kind in kinds or KINDS]
    yield from events[(events["seq"] >= (since or 0)) & np.isin(events["kind"], wanted)]
