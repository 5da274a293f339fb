"""Own tracks: read, refused, grouped, split, drawn; networks that learn on from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from livespt.models.simulate.tracks import Tracks
from livespt.models.simulate.virus_entry import simulate_entry
from livespt.stream.errors import InputError, SettingError
from livespt.tools.cli import main
from livespt.tools.score import uncoating as evaluate_uncoating
from livespt.tools.train import loop, track_networks, uncoating as train_uncoating
from livespt.tools.train.own_tracks import MIN_UNCOATING, Own, drawn, mixed, read_own, select_tracks

PIXEL_UM = 0.1


def table(tracks: Tracks, first_frame: int = 7) -> pd.DataFrame:
    """Labels as a user has them, rows in no order."""
    particle = np.repeat(np.arange(len(tracks.uncoat)) * 3, np.diff(tracks.offset))
    place = tracks.point / PIXEL_UM + 500.0 * particle[:, None]
    columns = {"frame": tracks.frame + first_frame, "particle": particle}
    columns |= {"y": place[:, 1], "x": place[:, 2], "uncoated": tracks.uncoated.astype(int)}
    return pd.DataFrame(columns).sample(frac=1, random_state=1)


@pytest.fixture(scope="module")
def tracks() -> Tracks:
    return simulate_entry(60, 3, n_frames=(12, 60), gaps=0.05)


@pytest.fixture(scope="module")
def labels(tracks: Tracks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "labels.csv"
    table(tracks).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def own(labels: Path) -> Own:
    return read_own([labels], PIXEL_UM, frame_interval_s=0.05)


def test_tables_are_read_as_they_were_made(tracks: Tracks, own: Own) -> None:
    parts = own[:3]
    assert sum(len(part.uncoat) for part in parts) == own.facts["tracks"] == 60
    changes = int((tracks.uncoat >= 0).sum())
    assert own.facts["uncoat"] == changes == sum(own.facts[k]["uncoat"] for k in
                                                 ("learned", "calibrating", "judging"))  # fmt: skip
    shares = [own.facts[k]["uncoat"] / changes for k in ("learned", "calibrating", "judging")]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.05)
    steps = {round(float(np.linalg.norm(p.point[1] - p.point[0])), 9) for p in parts}
    first = tracks.offset[:-1]
    known = np.linalg.norm(tracks.point[first + 1] - tracks.point[first], axis=1)
    assert steps <= {round(float(x), 9) for x in known}
    for part in parts:
        for i, uncoat in enumerate(part.uncoat):
            mine = slice(part.offset[i], part.offset[i + 1])
            assert part.frame[mine][0] == 0
            assert np.array_equal(part.uncoated[mine], (part.frame[mine] >= uncoat) & (uncoat >= 0))


def test_one_particle_twice_stays_in_one_part(tracks: Tracks, tmp_path: Path) -> None:
    once = table(tracks)
    twice = once.assign(particle=once["particle"] + 1, y=once["y"] + 2.0)
    path = tmp_path / "twice.csv"
    pd.concat([once, twice]).to_csv(path, index=False)
    both = read_own([path], PIXEL_UM)
    assert both.facts["tracks"] == 120 and both.facts["groups"] == 60
    lengths = [sorted(np.diff(part.offset)) for part in both[:3]]
    assert all(a[::2] == a[1::2] for a in lengths), "each with its twin"


WRONG: dict[str, tuple[Any, str]] = {
    "no labels": (lambda t: t.drop(columns="uncoated"), "no column uncoated"),
    "no such label": (lambda t: t.assign(uncoated=2), "row 1: uncoated is 2; give 0 or 1"),
    "no label at all": (lambda t: t.assign(uncoated=np.nan), "row 1: uncoated is ''"),
    "a coat that comes back": (
        lambda t: t.assign(uncoated=((t["frame"] - 7) % 9 == 4).astype(int)),
        "cannot be reversed",
    ),
    "no change": (lambda t: t.assign(uncoated=0), "0 of 60 tracks uncoat"),
    "too few": (lambda t: t[t["particle"] < 30], f"at least {MIN_UNCOATING}"),
    "no points": (lambda t: t.iloc[:0], "holds no points"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_learned_from_is_refused(
    name: str, tracks: Tracks, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = WRONG[name]
    path = tmp_path / "labels.csv"
    change(table(tracks)).to_csv(path, index=False)
    with pytest.raises(InputError, match=message) as caught:
        read_own([path], PIXEL_UM)
    assert "\n" not in str(caught.value)
    words = ["train", "uncoating", "--runs", str(path), "--out", str(tmp_path / "m.onnx")]
    assert main.run([*words, "--pixel-size-um", "0.1"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_bad_wishes_are_refused(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="--pixel-size-um"):
        read_own([labels], None)
    with pytest.raises(InputError, match="label it first"):
        read_own([tmp_path], PIXEL_UM)
    words = ["train", "uncoating", "--out", str(tmp_path / "m.onnx")]
    assert main.run([*words, "--pixel-size-um", "0.1"]) == 2


def test_drawn_tracks_are_parts_of_those_there_are(own: Own) -> None:
    some = drawn(np.random.default_rng(0), own.learned, 500)
    assert len(some.uncoat) == 500 and np.diff(some.offset).min() >= 5
    assert some.offset[-1] == len(some.frame) == len(some.point)
    first = some.offset[:-1]
    assert (some.frame[first] == 0).all()
    assert np.array_equal(some.uncoat >= 0, np.add.reduceat(some.uncoated, first).astype(bool)
                          & ~some.uncoated[first])  # fmt: skip
    known = {p.tobytes() for p in own.learned.point}
    assert {p.tobytes() for p in some.point} <= known
    assert some.intensity is None
    lit = own.learned._replace(intensity=np.ones(len(own.learned.frame)))
    told = drawn(np.random.default_rng(0), lit, 500).intensity
    assert told is not None and 0.4 < np.isfinite(told).mean() < 0.6
    again = drawn(np.random.default_rng(0), own.learned, 500)
    assert np.array_equal(again.point, some.point)


def test_a_part_without_its_change_has_none(own: Own) -> None:
    i = int(np.argmax(own.learned.uncoat >= 0))
    whole = select_tracks(own.learned, np.array([i]))
    after = int(np.argmax(whole.uncoated))
    late = select_tracks(own.learned, np.array([i]), np.array([after]), np.array([2]))
    early = select_tracks(own.learned, np.array([i]), np.array([0]), np.array([after]))
    assert late.uncoated.all() and not early.uncoated.any()
    assert late.uncoat[0] == early.uncoat[0] == -1 and whole.uncoat[0] > 0


def test_a_pool_mixes_both_and_calibrates_on_what_was_kept_apart(own: Own) -> None:
    make = mixed(own, lambda seed, first, n: simulate_entry(n, seed, first=first), 1000)
    learned = {p.tobytes() for p in own.learned.point}
    calibrating = {p.tobytes() for p in own.calibrating.point}
    pool, apart = make(1, 0, 40), make(1001, 0, 40)
    of_pool = np.array([p.tobytes() in learned for p in pool.point])
    middle = pool.offset[20]
    assert not of_pool[:middle].any() and of_pool[middle:].all()
    assert all(p.tobytes() in calibrating for p in apart.point)


@pytest.mark.parametrize("only", ["follow", "whole"])
def test_a_network_learns_on(
    only: str, own: Own, networks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the way with hardly any steps: the card tells what it learned from."""
    monkeypatch.setattr(track_networks, "POOL", 60)
    monkeypatch.setattr(loop, "KEEP_EVERY", 2)
    movie = evaluate_uncoating.ENTRIES["movie"] | {"n_frames": (30, 60)}
    monkeypatch.setattr(evaluate_uncoating, "ENTRIES", {"movie": movie})
    monkeypatch.setattr(evaluate_uncoating, "CONTROLS", {})
    begin = {"follow": networks / "uncoating.onnx", "whole": networks / "uncoating_whole.onnx"}
    out = tmp_path / "mine.onnx"
    train_uncoating.train(
        out=out, own=own, begin=begin, only=only, steps=3, evaluation_tracks=10, device="cpu",
        tracks=lambda seed, first, n: simulate_entry(n, seed, first=first, n_frames=(10, 40)),
    )  # fmt: skip
    card = json.loads((tmp_path / f"mine{'_whole' * (only == 'whole')}.json").read_text())
    assert card["training"]["own_tracks"] == json.loads(json.dumps(own.facts))
    assert card["training"]["learned_on_from"] == json.loads(
        begin[only].with_suffix(".json").read_text()
    )["sha256"]  # fmt: skip
    assert {"own tracks", "own tracks, before learning"} <= set(card["metrics"])
    assert "user's own" in card["provenance"]["data"]
