"""Ranges of the tracks of a training: computed from simulated tracks, kept in the card alone."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from livespt.models.motion.segmenter import Segmenter
from livespt.models.runtime.card import read_card
from livespt.models.runtime.session import shipped
from livespt.models.simulate.tracks import simulate_tracks
from livespt.stream.errors import ModelError
from livespt.stream.sample.likeness import FEATURES, track_features
from livespt.tools.train.segmenter import tracks_of, write_ranges
from livespt.tools.train.track_ranges import card_entry, track_ranges


def test_features_of_known_tracks() -> None:
    k = np.arange(16.0)
    straight = np.stack([0 * k, k, 0 * k], axis=1)
    to_and_fro = np.stack([0 * k, k % 2, 0 * k], axis=1)
    late = np.where((k < 8)[:, None], 1e6, straight)  # of which only the last 8 points count
    found = track_features(np.stack([straight, to_and_fro, late]), np.array([16, 16, 8]))
    step, turn, second, variation = found.T
    np.testing.assert_allclose(step, 1)
    np.testing.assert_allclose(turn, [14 / 15, -14 / 15, 6 / 7])
    np.testing.assert_allclose(second, [13 / 15, 13 / 15, 5 / 7])
    np.testing.assert_allclose(variation, 0, atol=1e-6)


def test_a_random_walk_lies_inside_its_own_ranges() -> None:
    tracks = simulate_tracks(600, 5)
    ranges = track_ranges(tracks)
    assert list(ranges) == [*FEATURES, "points"]
    low, high = ranges["step_um"]
    assert high is not None and low < high
    rows = np.stack([tracks.point[end - 16 : end] for end in tracks.offset[1:]
                     if end - 16 >= 0])  # fmt: skip
    inside = (track_features(rows, np.full(len(rows), 16))[:, 0] >= low).mean()
    assert inside > 0.97
    assert ranges["points"][1] is None, "no track is too long"


def test_the_shipped_card_holds_what_the_command_computes() -> None:
    card = read_card(shipped("segmenter"))["tracks"]
    again = card_entry(tracks_of, card["tracks"])
    assert again == card
    learned = Segmenter(provider="cpu").learned
    assert learned["points"] == (card["ranges"]["points"][0], math.inf)


def test_only_the_card_changes(tmp_path: Path) -> None:
    for suffix in (".onnx", ".json"):
        shutil.copy(shipped("segmenter").with_suffix(suffix), tmp_path / f"mine{suffix}")
    before = (tmp_path / "mine.onnx").read_bytes()
    write_ranges(tmp_path / "mine.onnx")
    assert (tmp_path / "mine.onnx").read_bytes() == before
    assert read_card(tmp_path / "mine.onnx")["tracks"] == read_card(shipped("segmenter"))["tracks"]
    with pytest.raises(ModelError, match="not a model of `train segmenter`"):
        write_ranges(shipped("uncoating"))


@pytest.mark.parametrize("bad", [[1], "text", {"ranges": {"turn": [1]}}, {"ranges": {"turn": "a"}}])
def test_a_card_that_makes_no_sense_is_refused(tmp_path: Path, bad: object) -> None:
    segmenter = Segmenter(provider="cpu")
    segmenter.card = {**segmenter.card, "tracks": bad}
    with pytest.raises(ModelError, match="livespt train ranges"):
        segmenter.learned  # noqa: B018
