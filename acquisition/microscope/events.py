"""Acquisition events for pycromanager, in lists that its engine can execute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any

Event = dict[str, Any]


def time_points(n: int | None, interval_ms: float, burst: int) -> Iterator[list[Event]]:
    """Lists of events for n time points (None: endless), with at most `burst` events in each.

    The hardware sequences only the events of one list; with a generator, every image is snapped.
    """
    numbers = iter(range(n)) if n is not None else count()
    while chunk := list(islice(numbers, burst)):
        yield [
            {"axes": {"time": i}}
            | ({"min_start_time": i * interval_ms / 1e3} if interval_ms > 0 else {})
            for i in chunk
        ]


def plane_values(events: Sequence[Event]) -> list[Any]:
    """Values of the z axis in the order of their first use; fewer than two mean no stacks."""
    return list(dict.fromkeys(event["axes"]["z"] for event in events if "z" in event["axes"]))


def refusal(events: Sequence[Event]) -> str | None:
    """Why these events cannot be acquired; None if they can."""
    if not events:
        return "no events to acquire: give at least one"
    planes = plane_values(events)
    if len(planes) < 2:
        return None
    for i in range(0, len(events), len(planes)):
        stack = [event["axes"] for event in events[i : i + len(planes)]]
        rest = [{k: v for k, v in axes.items() if k != "z"} for axes in stack]
        if {axes.get("z") for axes in stack} != set(planes) or rest != rest[:1] * len(planes):
            return "stacks must be complete and not interleaved: make z the fastest axis"
    return None


def sequences(core: Any, events: Sequence[Event]) -> Iterator[list[Event]]:
    """Split events where the Python engine would start a hardware sequence that it cannot execute.

    The engine has no sequences of properties, channels or XY positions, and aborts in the middle of
    the run. Events in different lists are not sequenced.
    """
    xy_stage = core.get_xy_stage_device()
    cut_xy = bool(xy_stage) and core.is_xy_stage_sequenceable(xy_stage)
    part = [events[0]]
    for event in events[1:]:
        last = part[-1]
        if (cut_xy and _differ(last, event, ("x", "y"))) or (
            _differ(last, event, ("config_group",)) and _sequenceable(core, *event["config_group"])
        ):
            yield part
            part = []
        part.append(event)
    yield part


def _differ(one: Event, two: Event, keys: tuple[str, ...]) -> bool:
    return any(key in one and key in two and one[key] != two[key] for key in keys)


def _sequenceable(core: Any, group: str, preset: str) -> bool:
    config = core.get_config_data(group, preset)
    settings = [config.getSetting(i) for i in range(config.size())]
    return any(
        core.is_property_sequenceable(s.getDeviceLabel(), s.getPropertyName()) for s in settings
    )
