"""Merges and splits that are exported, where links were corrected after they were announced."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from livespt.stream.types import EVENT, KINDS, SPOT
from livespt.tools.tables.export_lineage import families, lineage


def spots_of(tracks: dict[int, range], channel: int = 0) -> NDArray[np.void]:
    """A spot of each track in each of its frames, in the order of the frames."""
    points = sorted((t, track) for track, frames in tracks.items() for t in frames)
    spots = np.zeros(len(points), SPOT)
    spots["channel"] = channel
    spots["frame"], spots["track"] = np.array(points).T
    return spots


def events_of(*rows: tuple[str, int, int, int, int]) -> NDArray[np.void]:
    """Events of the given kind, frame, delay, track and other."""
    events = np.zeros(len(rows), EVENT)
    events["seq"], events["amends"] = np.arange(len(rows)), -1
    for event, (kind, *numbers) in zip(events, rows, strict=True):
        event["kind"] = KINDS.index(kind)
        for name, number in zip(("frame", "delay", "track", "other"), numbers, strict=True):
            event[name] = number
    return events


def ends(spots: NDArray[np.void], links: NDArray[np.int64]) -> list[list[tuple[int, int]]]:
    """Frame and published id of the two ends of each link."""
    return [[(int(spots["frame"][i]), int(spots["track"][i])) for i in link] for link in links]


MERGE = ("merged", 4, 3, 1, 0)  # 1 is last in frame 3, and goes on in 0; known in frame 7
THREE = {0: range(10), 1: range(4), 2: range(10)}


def test_a_merge_leads_to_the_point_that_its_track_had_then() -> None:
    spots = spots_of(THREE)
    found = lineage(spots, events_of(MERGE))
    assert ends(spots, found.links) == [[(3, 1), (4, 0)]] and found.undone == 0


def test_a_merge_stays_at_its_points_if_links_are_corrected_later() -> None:
    """In frame 8, 0 and 2 exchange what they have from frame 2 on: the point (4, 0) is of 2 now."""
    spots = spots_of(THREE)
    swap = ("relinked", 2, 6, 0, 2), ("relinked", 2, 6, 2, 0)
    found = lineage(spots, events_of(MERGE, *swap))
    assert ends(spots, found.links) == [[(3, 1), (4, 0)]] and found.undone == 0


def test_a_merge_after_a_correction_names_the_corrected_tracks() -> None:
    """In frame 6, before the merge is known, 0 and 2 exchange what they have from frame 2 on."""
    spots = spots_of(THREE)
    swap = ("relinked", 2, 4, 0, 2), ("relinked", 2, 4, 2, 0)
    found = lineage(spots, events_of(*swap, MERGE))
    assert ends(spots, found.links) == [[(3, 1), (4, 2)]] and found.undone == 0


@pytest.mark.parametrize("other", [0, 2], ids=["in_the_other", "elsewhere"])
def test_a_merge_of_a_track_that_goes_on_is_undone(other: int) -> None:
    """In frame 8 the points of a track from frame 4 on are given to 1, which so did not end."""
    spots = spots_of(THREE)
    found = lineage(spots, events_of(MERGE, ("relinked", 4, 4, other, 1)))
    assert len(found.links) == 0 and found.undone == 1


def test_a_split_of_a_track_that_began_before_is_undone() -> None:
    spots = spots_of({0: range(10), 1: range(5, 10), 2: range(5)})
    split = ("split", 5, 2, 1, 0)
    assert ends(spots, lineage(spots, events_of(split)).links) == [[(4, 0), (5, 1)]]
    found = lineage(spots, events_of(split, ("relinked", 5, 4, 1, 2)))
    assert len(found.links) == 0 and found.undone == 1


def test_the_point_before_a_split_may_lie_before_a_gap() -> None:
    tracks = {0: range(3), 1: range(6, 9)}
    spots = np.sort(np.concatenate([spots_of(tracks), spots_of({0: range(7, 9)})]), order="frame")
    split = events_of(("split", 6, 2, 1, 0))
    for memory in (3, 999):
        assert ends(spots, lineage(spots, split, memory).links) == [[(2, 0), (6, 1)]]


def test_an_event_that_another_amends_is_none() -> None:
    events = events_of(MERGE, ("merged", 4, 3, 1, 2))
    events["amends"][1] = 0
    spots = spots_of(THREE)
    assert ends(spots, lineage(spots, events).links) == [[(3, 1), (4, 2)]]


def test_a_run_without_spots_has_no_lineage() -> None:
    found = lineage(np.zeros(0, SPOT), np.zeros(0, EVENT))
    assert found.links.shape == (0, 2) and found.undone == 0
    assert families(np.zeros(0, np.int64), found.links).shape == (0,)


def test_families_join_what_is_joined_through_others() -> None:
    particle = np.array([5, 3, 8, 9, 3, 5])
    links = np.array([(0, 2), (2, 1)])  # 5 with 8, 8 with 3
    assert families(particle, links).tolist() == [3, 3, 3, 9, 3, 3]
