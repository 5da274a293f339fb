"""Security: what the package never does, and what hostile files cannot make it do."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from build import make_frame, make_start
from livespt.acquisition.recordings.open_movie import open_movie
from livespt.models.runtime import onnx_file, session
from livespt.models.runtime.card import MAX_BYTES, read_card
from livespt.stream.errors import InputError, ModelError
from livespt.stream.settings import Settings
from livespt.stream.store import checksums
from livespt.stream.store.run import RunWriter, open_run
from livespt.stream.store.verify import verify
from livespt.stream.types import Stop
from livespt.tools.runs.compose import stored_settings
from livespt.tools.runs.provenance import original

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = [ROOT / name for name in ("stream", "models", "acquisition", "tools")]
SOURCES = sorted(path for folder in FOLDERS for path in folder.glob("*.py"))
UNPICKLERS = {
    "_pickle", "cloudpickle", "dbm", "dill", "joblib", "jsonpickle", "marshal", "pickle", "shelve",
    "xmlrpc", "yaml",
}  # fmt: skip
RUNNERS = {"eval", "exec", "compile", "__import__"}


def names_of(tree: ast.AST) -> set[str]:
    """First words of what is imported anywhere in a file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_no_data_is_ever_run_as_code(path: Path) -> None:
    """No pickle or its kin, no eval or exec, no shell; torch loads plain tensors only.

    `multiprocessing` pickles what its processes tell each other. Its pipes are made by us for our
    own children and inherited by them, have no name and no address, and nothing that comes from a
    file, the network or the camera's metadata travels on them but inside values of our own types:
    whoever can write to such a pipe already runs code as this user. Sockets, files and shared
    memory, which others can reach, carry JSON, raw arrays and nothing else.
    """
    tree = ast.parse(path.read_text())
    assert not names_of(tree) & UNPICKLERS
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in RUNNERS, f"line {node.lineno}"
        words = {word.arg: word.value for word in node.keywords}
        given = {
            key: value.value for key, value in words.items() if isinstance(value, ast.Constant)
        }
        assert not given.get("allow_pickle") and not given.get("shell"), f"line {node.lineno}"
        if isinstance(node.func, ast.Attribute):
            of = getattr(node.func.value, "id", "")
            assert (of, node.func.attr) not in {("os", "system"), ("os", "popen")}
            if (of, node.func.attr) == ("torch", "load"):
                assert given.get("weights_only") is True, f"line {node.lineno}"
            if (of, node.func.attr) == ("np", "load"):
                assert given.get("allow_pickle") is False or "allow_pickle" not in words


def test_processes_talk_over_pipes_without_a_name() -> None:
    """Only these kinds of channels of `multiprocessing` exist: none listens on an address."""
    for path in SOURCES:
        text = path.read_text()
        for word in ("multiprocessing.managers", "BaseManager", "Listener(", "Client("):
            assert word not in text, path


@pytest.mark.slow
def test_bandit_finds_nothing() -> None:
    pytest.importorskip("bandit")
    command = [sys.executable, "-m", "bandit", "-q", "-r", "-c", str(ROOT / "pyproject.toml")]
    done = subprocess.run([*command, *FOLDERS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# models


def with_card(path: Path, **facts: Any) -> Path:
    """A card for whatever bytes lie at `path`."""
    card: dict[str, Any] = {"name": "own", "seed": 0, "task": "localize", "input": {}}
    card |= {"training": {}, "metrics": {}, "provenance": {}} | facts
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(card))
    return path


def test_parts_in_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runtime itself would take them, out of the current folder."""
    onnx = pytest.importorskip("onnx")
    from onnx import helper, numpy_helper

    weights = numpy_helper.from_array(np.arange(2000, dtype=np.float32), "w")
    ends = [helper.make_tensor_value_info(name, 1, [2000]) for name in "xy"]
    node = helper.make_node("Add", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "g", ends[:1], ends[1:], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 10}
    onnx.save(model, tmp_path / "a.onnx", **options)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError, match="parts of it are in other files"):
        session.open_session(with_card(tmp_path / "a.onnx"), "cpu")


FIELD = {"domain": b"\x42\x07\x0a\x03foo\x10\x01", "opset 99": b"\x42\x02\x10\x63"}
NO_MODELS = {
    "empty": (b"", "no operator set"),
    "text": (b"no model at all", "not an ONNX"),
    "cut": (b"\x42\x7f\x10", "in the middle of a field"),
    "a number without an end": (b"\xff" * 12, "does not end"),
    "operators of others": (FIELD["domain"], "not those of ONNX"),
    "a later operator set": (FIELD["opset 99"], "operator set 99"),
    "a number for a graph": (b"\x38\x01", "in place of a message"),
}


@pytest.mark.parametrize("case", NO_MODELS)
def test_what_is_no_model_is_refused_before_it_is_loaded(case: str) -> None:
    content, words = NO_MODELS[case]
    with pytest.raises(ModelError, match=words):
        onnx_file.check_file(content)


def test_graphs_inside_graphs_have_an_end() -> None:
    inside = b""
    for _ in range(200):  # graph in an attribute of a node of a graph ...
        for key in (b"\x32", b"\x2a", b"\x0a"):
            size, n = bytearray(), len(inside)
            while True:
                size.append((n & 127) | (128 if n > 127 else 0))
                n >>= 7
                if not n:
                    break
            inside = key + bytes(size) + inside
    n = len(inside)
    whole = b"\x3a" + bytes([n & 127 | 128, (n >> 7) & 127 | 128, n >> 14]) + inside
    with pytest.raises(ModelError, match="too deep"):
        onnx_file.check_file(whole)


CARDS: dict[str, tuple[str, str]] = {
    "nested": ("[" * 200_000, "is not JSON"),
    "no number": ('{"seed": NaN}', "not a number in JSON"),
    "huge": (" " * (MAX_BYTES + 1), "larger than"),
    "a long number": ('{"seed": ' + "9" * 5000 + "}", "is not JSON"),
    "null": ("null", "lacks name"),
}
VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "a radius to fill memory": ({"radius_px": 1e12}, "'radius_px' must be a number"),
    "a lag to fill memory": ({"lag": 10**12}, "'lag' must be a whole number"),
    "true for a number": ({"cutoff": True}, "'cutoff'"),
    "one number of two": ({"sigma_px": [1.0]}, "'sigma_px' must be a list of 2 numbers"),
    "falling": ({"sigma_px": [2.0, 1.0]}, "'sigma_px' must be two increasing"),
    "text for an object": ({"input": "uint16"}, "'input' must be an object"),
    "a name of its own kind": ({"name": ["a"]}, "'name' must be text"),
    "an unknown task": ({"task": "steer"}, "'task' must be one of"),
    "words for units": ({"units": {"ndim": "2"}}, "'units' must hold numbers"),
    "extras of something else": ({"extras": [{}]}, "'extras' must be a list of names"),
    "extras without numbers": ({"extras": ["z"]}, "'extras_calibration'"),
    "a channel beyond": ({"channels": 2, "intensity_channel": 2}, "'intensity_channel'"),
}


@pytest.mark.parametrize("case", CARDS)
def test_a_hostile_card_is_one_line(tmp_path: Path, case: str) -> None:
    text, words = CARDS[case]
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ModelError, match=words) as caught:
        read_card(tmp_path / "a.onnx")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


@pytest.mark.parametrize("case", VALUES)
def test_values_that_no_card_has_are_refused(tmp_path: Path, case: str) -> None:
    facts, words = VALUES[case]
    (tmp_path / "a.onnx").write_bytes(b"")
    with pytest.raises(ModelError, match=words):
        read_card(with_card(tmp_path / "a.onnx", **facts))


def test_a_model_that_came_with_a_run_is_not_taken_from_it(run: Path, tmp_path: Path) -> None:
    """Who made the run chose it. Beside the run, it is the user's."""
    for folder, taken in ((tmp_path, True), (run, False)):
        path = shutil.copy(session.shipped("fast"), folder / "own.onnx")
        shutil.copy(session.shipped("fast").with_suffix(".json"), folder / "own.json")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        used = {"localizer": {"name": "../fast", "sha256": digest, "file": str(path)}}
        origin = make_start(models=used)
        if taken:
            assert original("localizer", origin) == path
            continue
        with pytest.raises(InputError, match="name its file with --localizer"):
            original("localizer", origin)


# runs


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A closed run of three frames."""
    writer = RunWriter(tmp_path / "run.zarr", make_start(mode="live"))
    for i in range(3):
        writer.add_frame(make_frame(i))
    writer.close(Stop("r", "complete"))
    return tmp_path / "run.zarr"


def edit(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the first word and sum it up again, as somebody who knows how can."""
    document = json.loads((run / "zarr.json").read_text())
    change(document["attributes"]["livespt"])
    document["attributes"]["livespt"]["crc"] = checksums.own(document)
    (run / "zarr.json").write_text(json.dumps(document))


def say(part: str, **facts: Any) -> Callable[[dict[str, Any]], object]:
    return lambda words: words[part].update(facts)


FORGED: dict[str, Callable[[dict[str, Any]], object]] = {
    "a table outside": lambda w: w["tables"].update({"../x": w["tables"]["spots"]}),
    "a table anywhere": lambda w: w["tables"].update({"/etc/passwd": w["tables"]["spots"]}),
    "a column outside": lambda w: w["tables"]["spots"].append(["../../x", "<i8"]),
    "no spots": lambda w: w["tables"].pop("spots"),
    "objects": lambda w: w["tables"]["spots"].append(["evil", "|O"]),
    "a huge value": lambda w: w["tables"]["spots"].append(["wide", "<U9999999"]),
    "an absurd shape": say("start", shape=[1 << 40, 1 << 40]),
    "a negative shape": say("start", shape=[-8, 8]),
    "another shape": say("start", shape=[8]),
    "another dtype": say("start", dtype="|O"),
    "a pixel size in words": say("start", pixel_size_um="0.1"),
    "no seconds": say("start", frame_interval_s=-1),
    "source no text": say("start", source=["a"]),
    "models no words": say("start", models={"localizer": {"name": 3}}),
    "counts no numbers": say("stop", recorded="3"),
    "a format in words": lambda w: w.update(format="three"),
    "no start": lambda w: w.pop("start"),
    "sums no text": lambda w: w.update(sums={"spots": 3}),
}


@pytest.mark.parametrize("case", FORGED)
def test_a_forged_first_word_is_refused(run: Path, case: str) -> None:
    edit(run, FORGED[case])
    for opening in (open_run, open_movie):
        with pytest.raises(InputError):
            opening(run)


def settings(**facts: Any) -> dict[str, Any]:
    return asdict(Settings()) | facts


HOSTILE_SETTINGS = {
    "words": {"search_range": "far"},
    "not finite": {"search_range": float("inf")},
    "a lag to fill memory": {"lag": 10**12},
    "an unknown motion": {"motion": "teleport"},
    "no rule": {"rule": None},
    "a rule of something else": {"rule": {"steps": 3}},
    "a rule in words": {"rule": {"threshold": "high"}},
}


@pytest.mark.parametrize("case", HOSTILE_SETTINGS)
def test_a_replay_takes_no_settings_that_no_run_has(case: str) -> None:
    assert stored_settings(make_start(settings=settings()), 30) == Settings()
    with pytest.raises(InputError, match="has invalid settings"):
        stored_settings(make_start(settings=settings(**HOSTILE_SETTINGS[case])), 30)


def test_xml_that_declares_entities_is_refused(tmp_path: Path) -> None:
    xml = (
        '<?xml version="1.0"?><!DOCTYPE OME [<!ENTITY a "b">]><OME><Image><Pixels SizeT="1"/>'
        "</Image></OME>"
    )
    image = np.zeros((8, 8), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, description=xml, metadata=None)
    with pytest.raises(InputError, match="document type"):
        open_movie(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/dev/zero"])
def test_sums_lead_nowhere(run: Path, name: str) -> None:
    edit(run, lambda words: words["sums"].update({name: checksums.packed([0])}))
    assert [fault for fault in verify(run) if "no part of a run" in fault.what]


PLACES = (
    "zarr.json",
    "spots",
    "spots/frame",
    "frames/number/zarr.json",
    "frames/number/c/0",
    "movie",
)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
@pytest.mark.parametrize("place", PLACES)
def test_a_run_has_no_links(run: Path, tmp_path: Path, place: str) -> None:
    """Not even to what is as it should be: the next reader's may be another."""
    shutil.move(run / place, tmp_path / "outside")
    (run / place).symlink_to(tmp_path / "outside")
    with pytest.raises(InputError, match=r"link|cannot be read"):
        _ = open_run(run).frames
    assert list(_faults(run))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
@pytest.mark.parametrize("place", ["zarr.json", "spots/frame/zarr.json", "frames/number/c/0"])
def test_a_pipe_in_a_run_is_not_waited_for(run: Path, place: str) -> None:
    (run / place).unlink()
    os.mkfifo(run / place)
    with pytest.raises(InputError):
        _ = open_run(run).frames
    assert list(_faults(run))


def _faults(run: Path) -> list[object]:
    try:
        return list(verify(run))
    except InputError as error:
        return [error]
