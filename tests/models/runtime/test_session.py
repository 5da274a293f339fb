"""Model files and their cards: what is opened, what is refused and with which words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from livespt.models.runtime import session
from livespt.models.runtime.card import add_metrics, read_card, write_card
from livespt.stream.errors import ModelError


def doubler(path: Path) -> Path:
    """A one-node model file, y = x + x."""
    from onnx import TensorProto, helper, save

    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n"])
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "doubler", [x], [y])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def carded(folder: Path, **facts: object) -> Path:
    path = doubler(folder / "doubler.onnx")
    given = {"task": "segment", "seed": 3, "input": {}, "training": {}, "metrics": {}}
    write_card(path, **(given | {"provenance": {}} | facts))  # type: ignore[arg-type]
    return path


def test_a_bare_name_is_a_shipped_model() -> None:
    assert session.open_session("fast", "cpu").path == session.shipped("fast")
    with pytest.raises(ModelError, match=r"no shipped model 'fats'; shipped: .*fast"):
        session.open_session("fats", "cpu")


def test_a_model_runs_and_says_what_it_is(tmp_path: Path) -> None:
    model = session.open_session(carded(tmp_path, lags=[0, 8]), provider="cpu", task="segment")
    assert model.provider == "cpu" and model.name == "doubler" and model.card["lags"] == [0, 8]
    assert model.card["seed"] == 3 and len(model.sha256) == 64
    (y,) = model.run(np.array([1, 2.5], np.float32))
    assert y.tolist() == [2, 5]


def test_auto_names_the_provider_that_runs(tmp_path: Path) -> None:
    assert session.open_session(carded(tmp_path)).provider in ("cpu", "cuda")


def test_cuda_runs_or_is_refused_aloud(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = carded(tmp_path)
    try:
        assert session.open_session(path, provider="cuda").provider == "cuda"
    except ModelError as error:
        assert "CUDA was requested" in str(error)
    assert capfd.readouterr() == ("", "")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def recard_text(path: Path) -> None:
    """Something that is no model, with a card that matches it."""
    path.write_text("no model at all")
    facts = json.loads(path.with_suffix(".json").read_text())
    kept = {k: facts[k] for k in ("task", "seed", "input", "training", "metrics", "provenance")}
    write_card(path, **kept)


REFUSED = {
    "no file": (lambda p: p.unlink(), {}, "no model file"),
    "no card": (lambda p: p.with_suffix(".json").unlink(), {}, "no model card"),
    "cut short": (cut, {}, "corrupt or was changed"),
    "one byte more": (lambda p: p.write_bytes(p.read_bytes() + b"\0"), {}, "corrupt"),
    "no ONNX": (recard_text, {}, "does not load as a model"),
    "card no JSON": (lambda p: p.with_suffix(".json").write_text("{"), {}, "is not JSON"),
    "card a list": (lambda p: p.with_suffix(".json").write_text("[]"), {}, "lacks name"),
    "card empty": (lambda p: p.with_suffix(".json").write_text("{}"), {}, "lacks name"),
    "another task": (lambda p: None, {"task": "localize"}, "for 'segment', not for 'localize'"),
    "provider": (lambda p: None, {"provider": "tpu"}, "unknown provider 'tpu'"),
    "threads": (lambda p: None, {"threads": 0}, "at least 1 thread"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_one_line(tmp_path: Path, case: str) -> None:
    spoil, options, words = REFUSED[case]
    path = carded(tmp_path)
    spoil(path)
    with pytest.raises(ModelError, match=words) as caught:
        session.open_session(path, **{"provider": "cpu", **options})
    assert "\n" not in str(caught.value)


def test_input_that_does_not_fit_is_a_model_error(tmp_path: Path) -> None:
    model = session.open_session(carded(tmp_path), provider="cpu")
    with pytest.raises(ModelError, match=r"does not run on float32\[1, 2\]"):
        model.run(np.zeros((1, 2), np.float32))
    with pytest.raises(ModelError, match="takes 1 arrays, got 2"):
        model.run(np.zeros(2, np.float32), np.zeros(2, np.float32))


def test_a_card_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        carded(tmp_path, cutoff=float("nan"))
    assert not list(tmp_path.glob("*.partial"))


def test_only_an_onnx_file_has_a_card(tmp_path: Path) -> None:
    (tmp_path / "movie.tif").write_bytes(b"II*\0")
    with pytest.raises(ModelError, match=r"no \.onnx file"):
        session.open_session(tmp_path / "movie.tif")


def test_shipped_models_match_their_cards() -> None:
    folder = Path(session.__file__).parents[1]
    names = [path.stem for path in folder.glob("*.onnx")]
    assert {path.stem for path in folder.glob("*.json")} == set(names)
    for name in names:
        assert session.open_session(session.shipped(name), provider="cpu").name == name
    with pytest.raises(ModelError, match="no shipped model 'nothing'"):
        session.shipped("nothing")


def test_metrics_are_added_to_a_card(tmp_path: Path) -> None:
    path = carded(tmp_path, metrics={"recall": 1.0, "old": 2})
    add_metrics(path, {"recall": 0.5, "new": 3})
    assert read_card(path)["metrics"] == {"recall": 0.5, "old": 2, "new": 3}
    session.open_session(path, "cpu")
