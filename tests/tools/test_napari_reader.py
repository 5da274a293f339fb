"""Layers of a run for napari, without napari: the manifest, the tracks, their graph."""

from __future__ import annotations

import importlib
import sys
from importlib import metadata, resources
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd

from livespt.tools import napari_reader


def test_the_manifest_names_the_reader() -> None:
    (found,) = [one for one in metadata.entry_points(group="napari.manifest")
                if one.name == "livespt"]  # fmt: skip
    module, _, name = found.value.partition(":")
    text = (resources.files(module) / name).read_text("utf-8")
    (place,) = [line.partition("python_name:")[2].strip() for line in text.splitlines()
                if "python_name" in line]  # fmt: skip
    where, _, function = place.partition(":")
    assert getattr(importlib.import_module(where), function) is napari_reader.get_reader


def test_what_is_no_run_is_left_to_others(tmp_path: Path) -> None:
    assert napari_reader.get_reader(str(tmp_path)) is None
    assert napari_reader.get_reader([str(tmp_path)]) is None


def test_tracks_are_cut_where_they_merge_and_split() -> None:
    frames = {0: range(6), 1: range(3), 2: range(4, 6)}  # 1 ends in 0 at 3; 2 comes from 0 at 4
    table = pd.DataFrame(
        [(t, track, 5.0 * track, 1.0 * t) for track, own in frames.items() for t in own],
        columns=["frame", "particle", "y", "x"],
    )
    rows = {(int(t), int(k)): i for i, (t, k) in enumerate(
        zip(table["frame"], table["particle"], strict=True))}  # fmt: skip
    links = np.array([(rows[2, 1], rows[3, 0]), (rows[3, 0], rows[4, 2])])
    data, graph, order = napari_reader.tracks(table, np.arange(len(table)), links)
    assert np.array_equal(data[:, 1], table["frame"].to_numpy()[order])
    pieces = {int(k): data[data[:, 0] == k][:, 1:3].tolist() for k in np.unique(data[:, 0])}
    assert [[t for t, _ in points] for points in pieces.values()] == [
        [0, 1, 2], [3], [4, 5], [0, 1, 2], [4, 5],
    ]  # fmt: skip
    assert graph == {1: [0, 3], 2: [1], 4: [1]}


def test_features_are_numbers_where_something_is_not_known() -> None:
    """One NaN gives all tracks of a layer of napari the same colour."""
    table = pd.DataFrame(
        {
            "particle": [0, 0, 1],
            "state": ["directed", "unsure", None],
            "p_directed": [0.9, 0.4, np.nan],
            "time_s": [np.nan] * 3,
        }
    )
    found = napari_reader.features(table)
    assert found["motion"].tolist() == [1, -1, -2]
    assert found["p_directed"].tolist() == [0.9, 0.4, -1]
    assert set(found) == {"motion", "particle", "p_directed"}


def test_nothing_of_napari_is_imported() -> None:
    assert isinstance(sys.modules["livespt.tools.napari_reader"], ModuleType)
    assert "napari" not in sys.modules
