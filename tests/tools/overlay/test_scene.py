"""Scene, layers and panel: what is drawn, without drawing it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from build import make_frame, make_start, make_update
from livespt.stream.types import ABSTAIN, EVENT, KINDS, MOTIONS, SPOT, STATE, Timings, Update
from livespt.tools.overlay import layers, sheet
from livespt.tools.overlay.panels.status import KEYS, clock, round_length, status
from livespt.tools.overlay.primitives import clip
from livespt.tools.overlay.scene import OTHER_FLASH_FRAMES, UNCOATING, UNSURE, Scene

SIZE = (1280, 760)
START = make_start((100, 120), run="run1", mode="live")
NORMAL, DIRECTED = MOTIONS.index("normal"), MOTIONS.index("directed")


def spots(t: int, tracks: list[int], yx: list[tuple[float, float]], channel: int = 0) -> NDArray:
    rows = np.zeros(len(tracks), SPOT)
    rows["frame"], rows["track"], rows["channel"] = t, tracks, channel
    rows["y"], rows["x"] = np.reshape(yx, (-1, 2)).T
    return rows


def states(
    t: int, tracks: list[int], state: int, p: float = 0.0, made: int | None = None
) -> NDArray:
    rows = np.zeros(len(tracks), STATE)
    rows["frame"], rows["track"], rows["state"], rows["p_uncoated"] = t, tracks, state, p
    rows["made"], rows["settled"] = t if made is None else made, made is not None
    if state >= 0:
        rows[f"p_{MOTIONS[state]}"] = 1
    return rows


def events(t: int, kind: str, track: int, seq: int = 0) -> NDArray:
    rows = np.zeros(1, EVENT)
    rows["seq"], rows["kind"], rows["frame"], rows["track"] = seq, KINDS.index(kind), t, track
    rows["other"] = rows["amends"] = -1
    return rows


def update(
    t: int,
    seen: NDArray | None = None,
    known: NDArray | None = None,
    happened: NDArray | None = None,
    channel: int = 0,
    lost: int = 0,
) -> Update:
    frame = make_frame(t, channel=channel)
    timings = Timings(latency_ms=10.0 + t)
    return make_update(frame, seen, known, happened, lost=lost, timings=timings)


def walk(scene: Scene, frames: int, tracks: int = 1, state: int = NORMAL, p: float = 0.0) -> None:
    """Tracks side by side that move right by a pixel a frame."""
    ids = list(range(tracks))
    for t in range(scene.frame + 1, scene.frame + 1 + frames):
        yx = [(10.0 + 12 * i, 5.0 + t) for i in ids]
        scene.add(update(t, spots(t, ids, yx), states(t, ids, state, p)))


def test_a_tail_follows_its_track_and_fades_from_head_to_end() -> None:
    scene = Scene(START, tail=10, capacity=64)
    walk(scene, 30)
    ends, colour = layers.tails(scene)
    newest = ends[:, 1, 0].argmax()
    assert len(ends) == 10 and ends[newest].tolist() == [[33.0, 10.0], [34.0, 10.0]]
    order = ends[:, 1, 0].argsort()
    assert np.allclose(colour[order, 1, 3], np.arange(1, 11) / 10)
    assert np.allclose(colour[order, 0, 3], np.arange(0, 10) / 10)  # no step between segments
    assert np.array_equal(colour[0, 0, :3], layers.COLOURS[NORMAL, :3])


def test_a_segment_leaves_whole() -> None:
    """A vertex that expired alone would leave a diagonal across the picture."""
    scene = Scene(START, tail=10, capacity=64)
    walk(scene, 30)
    ends = scene.ring.reshape(-1, 2, 5)
    assert np.array_equal(ends[:, 0, 4], ends[:, 1, 4])


def test_a_gap_is_bridged_and_a_lost_track_fades_out() -> None:
    scene = Scene(START, tail=10, capacity=64)
    walk(scene, 5)
    scene.add(update(5))
    walk(scene, 1)
    ends, _ = layers.tails(scene)
    assert ends[ends[:, 1, 0].argmax()].tolist() == [[9.0, 10.0], [11.0, 10.0]]
    for t in range(7, 17):
        scene.add(update(t))
    assert not len(scene.heads) and not len(layers.tails(scene)[0])
    walk(scene, 1)  # long after its memory: no line from where it was
    assert not len(layers.tails(scene)[0])


def test_the_ring_keeps_the_newest_segments_when_it_is_too_small() -> None:
    scene = Scene(START, tail=10, capacity=16)
    walk(scene, 30, tracks=5)
    ends, _ = layers.tails(scene)
    assert len(ends) == 16 and ends[:, 1, 0].min() >= 5 + 29 - 3


def test_only_new_segments_are_uploaded() -> None:
    scene = Scene(START, tail=10, capacity=64)
    walk(scene, 9, tracks=7)
    scene.changed.clear()
    walk(scene, 1, tracks=7)
    assert scene.changed == [(56, 7)]
    scene.changed.clear()
    walk(scene, 1, tracks=7)  # over the ring's end
    assert sorted(scene.changed) == [(0, 6), (63, 1)]


def test_settled_states_colour_the_past_again() -> None:
    scene = Scene(START, tail=20, capacity=64)
    walk(scene, 10, tracks=2)
    t = 10
    known = np.concatenate([states(t, [0, 1], NORMAL), states(6, [1], DIRECTED, made=t)])
    scene.changed.clear()
    scene.add(update(t, spots(t, [0, 1], [(10, 15), (22, 15)]), known))
    ends = scene.ring.reshape(-1, 2, 5)
    again = ends[(ends[:, 0, 3] == DIRECTED) & (ends[:, 1, 3] == DIRECTED)]
    assert len(again) == 1
    assert again[0, 1, :2].tolist() == [5 + 6, 22] and again[0, 1, 2] == 6
    assert len(scene.changed) == 2  # that frame's segments and the new ones


def test_what_is_not_known_is_unsure() -> None:
    scene = Scene(START)
    known = np.concatenate([states(0, [3], ABSTAIN, 0.4), states(0, [5], DIRECTED)])
    scene.add(update(0, spots(0, [7, 3, 5], [(1, 1), (2, 2), (3, 3)]), known))
    assert scene.heads["track"].tolist() == [3, 5, 7]
    assert scene.heads["state"].tolist() == [UNSURE, DIRECTED, UNSURE]
    assert scene.heads["p"].tolist() == pytest.approx([0.4, 0, 0])


def test_other_channels_are_left_out_but_their_losses_count() -> None:
    scene = Scene(START)
    walk(scene, 2)
    scene.add(update(2, spots(2, [9], [(1, 1)], channel=1), channel=1, lost=3))
    assert scene.heads["track"].tolist() == [0] and scene.frame == 1 and scene.lost == 3


def test_the_end_of_a_run_settles_without_erasing_the_heads() -> None:
    scene = Scene(START)
    walk(scene, 5)
    scene.add(update(4, known=states(4, [0], DIRECTED, 0.9, made=4)))
    assert len(scene.heads) == 1
    assert scene.history(0)["state"].tolist() == [NORMAL] * 4 + [DIRECTED]
    assert scene.ring.reshape(-1, 2, 5)[3, 1, 3] == DIRECTED


def test_a_flash_follows_its_track_and_ends() -> None:
    scene = Scene(START)
    walk(scene, 3, tracks=2)
    both = np.concatenate([events(1, "uncoating", 0, 0), events(1, "changepoint", 1, 1)])
    happened = np.concatenate([both, events(3, "born", 1, 2)])
    scene.add(update(3, spots(3, [0, 1], [(10, 50), (22, 60)]), None, happened))
    assert scene.announced == 2 and [e["seq"] for e in scene.recent] == [0, 1]  # births are quiet
    big, small = layers.flashes(scene, 2.0).size
    assert big > 1.5 * small
    assert scene.flashes[["y", "x"]].tolist() == [(10, 50), (22, 60)]
    walk(scene, OTHER_FLASH_FRAMES, tracks=2)
    assert scene.flashes["kind"].tolist() == [UNCOATING]
    assert scene.flashes["x"][0] == scene.heads["x"][0]
    faint = layers.flashes(scene, 2.0).edge[0, 3]
    assert 0 < faint < 1
    walk(scene, 30, tracks=2)
    assert not len(scene.flashes)


def test_history_prefers_settled_readings_and_ends_at_the_frame() -> None:
    scene = Scene(START)
    walk(scene, 6, tracks=2)
    scene.remember(states(2, [0], DIRECTED, 0.7, made=5))
    scene.remember(states(99, [0], DIRECTED, 0.7, made=99))
    rows = scene.history(0)
    assert rows["frame"].tolist() == [0, 1, 2, 3, 4, 5]
    assert rows["state"].tolist() == [0, 0, DIRECTED, 0, 0, 0]
    assert not len(scene.history(77))


def test_levels_are_percentiles_and_can_be_held() -> None:
    scene = Scene(START)
    image = np.full((100, 120), 100, np.uint16)
    image[::10, ::10] = 60000
    scene.add(update(0), image)
    assert scene.levels is not None and scene.levels[0] == 100 and scene.levels[1] > 10000
    held, scene.lock_levels = scene.levels, True
    for t in range(1, 20):
        scene.add(update(t), image * 0 + 7)
    assert scene.levels == held
    scene.lock_levels = False
    for t in range(20, 40):
        scene.add(update(t), image * 0 + 7)
    assert scene.levels == (7, 8)  # never empty


def test_a_stack_is_shown_by_its_brightest_pixels() -> None:
    scene = Scene(START)
    stack = np.zeros((3, 100, 120), np.uint8)
    stack[1, 4, 5] = stack[2, 6, 7] = 9
    scene.add(update(0), stack)
    assert scene.image.shape == (100, 120) and scene.image[4, 5] == scene.image[6, 7] == 9


def test_nearest_finds_the_track_under_a_click() -> None:
    scene = Scene(START)
    assert scene.nearest(0, 0, 1e9) is None
    walk(scene, 1, tracks=3)
    assert scene.nearest(23, 6, 5) == 1
    assert scene.nearest(28, 60, 5) is None


def test_every_state_has_a_colour_and_a_marker_of_its_own() -> None:
    assert len({*layers.PALETTE}) == len({*layers.SYMBOLS}) == len(layers.NAMES) == UNSURE + 1


def test_rings_grow_with_the_probability_and_start_above_noise() -> None:
    scene = Scene(START)
    ids = [0, 1, 2]
    known = np.concatenate([states(0, [i], NORMAL, p) for i, p in enumerate((0.05, 0.4, 0.9))])
    scene.add(update(0, spots(0, ids, [(9, 9), (30, 30), (60, 60)]), known))
    rings = layers.rings(scene, 2.0)
    assert len(rings.xy) == 2
    assert rings.size[0] < rings.size[1] and rings.width[0] < rings.width[1]
    assert layers.heads(scene, 2.0).size[0] < rings.size[0]  # around the head


def test_heads_shrink_in_a_crowd() -> None:
    few, many = Scene(START), Scene(START)
    walk(few, 1, tracks=10)
    walk(many, 1, tracks=3000)
    assert layers.head_size(many, 2.0) < 0.5 * layers.head_size(few, 2.0)


def test_labels_cover_neither_heads_nor_each_other() -> None:
    scene = Scene(START)
    rng = np.random.default_rng(0)
    ids = list(range(40))
    yx = [tuple(p) for p in rng.uniform(0, (100, 120), (40, 2))]
    flash = np.concatenate([events(0, "uncoating", i, i) for i in ids])
    scene.add(update(0, spots(0, ids, yx), states(0, ids, NORMAL, 0.95), flash))
    scene.selected = 5
    zoom = 4.0
    shown = layers.labels(scene, zoom)
    assert shown[0].text == "5" and shown[0].colour == layers.SELECTED
    assert 3 <= len(shown) <= layers.MOST_LABELS
    boxes = [
        (s.x, s.y - 0.7 * layers.LABEL_PX / zoom, s.x + 7 * len(s.text) / zoom, s.y) for s in shown
    ]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3]
        inside = (scene.heads["x"] > a[0]) & (scene.heads["x"] < a[2])
        inside &= (scene.heads["y"] > a[1]) & (scene.heads["y"] < a[3])
        assert i == 0 or not inside.any()


@pytest.mark.parametrize(
    ("most", "length"), [(1.0, 1.0), (0.99, 0.5), (7.2, 5.0), (49.0, 20.0), (1000.0, 1000.0)]
)
def test_a_scale_bar_has_a_round_length(most: float, length: float) -> None:
    assert round_length(most) == pytest.approx(length)


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    scene = Scene(START)
    walk(scene, 1)
    for pixel, unit in ((0.1, "µm"), (None, "px")):
        scene.start = make_start((100, 120), pixel_size_um=pixel)
        place = sheet.image_place(scene, SIZE)
        drawn = sheet.make_sheet(scene, SIZE, place)
        text = next(t for t in drawn.texts if t.text.endswith(unit) and t.align == "center")
        bar = next(b for b in drawn.boxes if b.height == 4)
        length = float(text.text.split()[0]) / (pixel or 1.0)
        assert bar.width == pytest.approx(length * place.zoom)
        assert abs(bar.x + bar.width / 2 - text.x) < 1


@pytest.mark.parametrize("size", [(1280, 760), (640, 420), (2560, 900), (700, 1200)])
@pytest.mark.parametrize("shape", [(100, 120), (60, 512), (512, 60)])
def test_texts_stay_on_the_canvas_and_apart(size: tuple[int, int], shape: tuple[int, int]) -> None:
    start = make_start(shape, run="run-with-a-long-name" * 3, source="a/very/long/name" * 9)
    scene = Scene(start)
    for t in range(40):
        ids = [0, 1]
        happened = events(t, "uncoating", 0, t)
        known = states(t, ids, NORMAL, 0.5)
        scene.add(update(t, spots(t, ids, [(10, 10), (20, 20)]), known, happened))
    scene.selected = 1
    place = sheet.image_place(scene, size)
    drawn = sheet.make_sheet(scene, size, place)
    shift = {"left": 0.0, "center": 0.5, "right": 1.0}
    lines: list[tuple[float, float, float]] = []
    for text in drawn.texts:
        wide = 0.5 * text.size * len(text.text)
        left = text.x - shift[text.align] * wide
        assert left >= -1 and left + wide <= size[0] + 1, text
        assert 0 < text.y < size[1], text
        for other_left, other_right, y in lines:
            if abs(y - text.y) < 9:
                assert left >= other_right - 4 or left + wide <= other_left + 4, text
        lines.append((left, left + wide, text.y))


def test_the_panel_names_every_state_and_the_status_counts() -> None:
    scene = Scene(START)
    walk(scene, 21, tracks=3)
    scene.add(update(21, happened=events(21, "uncoating", 1), lost=2))
    words = [t.text for t in sheet.make_sheet(scene, SIZE, sheet.image_place(scene, SIZE)).texts]
    assert set(layers.NAMES) <= set(words)
    assert "1.05 s" in words and "track 1" in words
    line = status(scene, "paused")
    for part in (
        "frame 21",
        "20 frames/s",
        "0 tracks",
        "2 skipped or lost",
        "1 events",
        "run run1",
        "paused",
    ):
        assert part in line
    assert "latency 20 / 31 ms" in line


def test_a_hidden_panel_gives_its_place_to_the_image() -> None:
    scene = Scene(START)
    assert sheet.view(scene, SIZE, panel=False)[2] == SIZE[0] > sheet.view(scene, SIZE)[2]
    words = [
        t.text
        for t in sheet.make_sheet(scene, SIZE, sheet.image_place(scene, SIZE), keys=True).texts
    ]
    assert all(key in words for key, _ in KEYS)


def test_clip_keeps_both_ends() -> None:
    assert clip("short", 200, 12) == "short"
    short = clip("/a/long/path/to/the/movie.tif", 100, 12)
    assert len(short) < 16 and short.startswith("/a") and short.endswith(".tif")


@pytest.mark.parametrize(("time_s", "text"), [(0.0, "0.00 s"), (61.5, "1:01.50 min")])
def test_clock(time_s: float, text: str) -> None:
    scene = Scene(START)
    scene.time_s = time_s
    assert clock(scene) == text
