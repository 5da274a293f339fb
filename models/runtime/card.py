"""The model card: the file `NAME.json` that belongs to `NAME.onnx`, and the values it may have.

A card is input like any other. A size of 1e12 pixels would exhaust the memory, and a word in place
of a number would end the run at its first frame. Therefore every key that the code uses has a type
and range here, and a card that violates them is refused before the model is opened.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from livespt.stream.errors import ModelError

TASKS = ("localize", "segment", "segment_whole", "uncoating", "uncoating_whole", "classifier")
REQUIRED = ("name", "sha256", "seed", "task", "input", "training", "metrics", "provenance")
MAX_BYTES = 16 << 20  # size of a card; the largest shipped one has 0.04 MB


class Value(NamedTuple):
    """A number from `low` to `high`, or a list of `length` such numbers if `length` is not 0."""

    low: float
    high: float
    length: int = 0
    whole: bool = False
    optional: bool = False  # may be null


# lengths in pixels describe particles: no particle is larger than 500 px
NUMBERS = {
    "seed": Value(-(2**63), 2**64, whole=True),
    "cutoff": Value(0, 1),
    "quantile": Value(0, 1, optional=True),
    "stride_px": Value(1, 64, whole=True),
    "split": Value(1, 2, whole=True),
    "merge_px": Value(0, 500),
    "radius_px": Value(0.1, 500),
    "border_px": Value(0, 500, whole=True),
    "alpha": Value(0, 100),
    "variance_px2": Value(1e-9, 1e6),
    "fwhm_px": Value(0.01, 500),
    "offset_px": Value(-500, 500, length=2),
    "sigma_px": Value(0.01, 500, length=2),
    "precision_px": Value(0, 1e6, length=2),
    "channels": Value(1, 64, whole=True),
    "intensity_channel": Value(0, 63, whole=True),
    "lag": Value(0, 1000, whole=True),
    "farthest": Value(0, 1000, whole=True),
    "abstain_below": Value(0, 1),
    "window": Value(0, 100_000, whole=True),
    "shortest": Value(0, 100_000, whole=True),
}
KINDS: dict[type, tuple[str, ...]] = {
    str: ("name", "sha256", "task", "decoder", "positive", "segmenter"),
    dict: ("input", "training", "metrics", "provenance", "decision", "prior", "units"),
    list: ("classes", "extras", "extras_calibration"),
}
TYPE_NAMES: dict[type, str] = {str: "text", dict: "an object", list: "a list"}


def card_path(path: str | Path) -> Path:
    """Path of the card of the model file `path`."""
    path = Path(path)
    if path.suffix != ".onnx":
        raise ModelError(f"{path} is no .onnx file: a model is NAME.onnx with its card NAME.json")
    return path.with_suffix(".json")


def read_card(path: str | Path) -> dict[str, Any]:
    """Read the card of the model file `path`.

    Raises
    ------
    ModelError : there is no card, it is not JSON, lacks a required key or has an invalid value.
    """
    card_file = card_path(path)
    if not card_file.is_file():
        raise ModelError(f"no model card {card_file}: a model runs only with the card made with it")
    if card_file.stat().st_size > MAX_BYTES:
        raise ModelError(f"{card_file} is larger than {MAX_BYTES >> 20} MB: it is not a model card")
    try:
        card = json.loads(card_file.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:  # nested too deep
        line = " ".join(str(error).split())[:200]
        raise ModelError(f"the model card {card_file} is not JSON: {line}") from error
    missing = [key for key in REQUIRED if key not in card] if isinstance(card, dict) else REQUIRED
    if missing:
        raise ModelError(f"the model card {card_file} lacks {', '.join(missing)}")
    if wrong := _wrong(card):
        raise ModelError(f"the model card {card_file} is invalid: {wrong}")
    return cast("dict[str, Any]", card)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number in JSON")


def _wrong(card: dict[str, Any]) -> str | None:
    """Describe the first invalid value of a card; None if all are valid."""
    for key, rule in NUMBERS.items():
        if key in card and not _fits(card[key], rule):
            kind = "whole number" if rule.whole else "number"
            kind = f"list of {rule.length} numbers" if rule.length else kind
            return f"'{key}' must be a {kind} from {rule.low:g} to {rule.high:g}"
    for meant, keys in KINDS.items():
        for key in keys:
            if key in card and not isinstance(card[key], meant):
                return f"'{key}' must be {TYPE_NAMES[meant]}"
    if card["task"] not in TASKS:
        return f"'task' must be one of {', '.join(TASKS)}"
    for name in ("classes", "extras"):
        if not all(isinstance(item, str) for item in card.get(name, [])):
            return f"'{name}' must be a list of names"
    for name in ("prior", "units"):
        if not all(_fits(value, Value(0, 1e12)) for value in card.get(name, {}).values()):
            return f"'{name}' must hold numbers"
    extras, factors = card.get("extras", []), card.get("extras_calibration", [])
    pair = Value(-1e12, 1e12, length=2)
    if len(factors) < len(extras) or not all(_fits(factor, pair) for factor in factors):
        return "'extras_calibration' must have two numbers for each of 'extras'"
    if "sigma_px" in card and card["sigma_px"][0] > card["sigma_px"][1]:
        return "'sigma_px' must be two increasing numbers"
    if card.get("intensity_channel", 0) >= card.get("channels", 1):
        return "'intensity_channel' must be one of its channels"
    return None


def _fits(value: Any, rule: Value) -> bool:
    if rule.length:
        one = rule._replace(length=0)
        return (
            isinstance(value, list)
            and len(value) == rule.length
            and all(_fits(part, one) for part in value)
        )
    if value is None:
        return rule.optional
    if isinstance(value, bool) or not isinstance(value, int if rule.whole else int | float):
        return False
    return rule.low <= value <= rule.high and math.isfinite(value)


def write_card(
    path: str | Path,
    *,
    task: str,
    seed: int,
    input: dict[str, Any],
    training: dict[str, Any],
    metrics: dict[str, Any],
    provenance: dict[str, Any],
    name: str | None = None,
    card: str | Path | None = None,
    **specific: Any,
) -> Path:
    """Write the card of the model file `path`, which must exist; return the path of the card.

    Parameters
    ----------
    task : one of TASKS.
    input : dtype, axes and assumptions about pixels.
    name : name of the model; by default the stem of the file.
    card : path to write; by default next to the model.
    specific : further keys for this task, with JSON values.
    """
    path = Path(path)
    if task not in TASKS:
        raise ModelError(f"unknown task '{task}': one of {', '.join(TASKS)}")
    facts = {
        "name": name or path.stem,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "seed": int(seed),
        "task": task,
        "input": input,
        **specific,
        "training": training,
        "metrics": metrics,
        "provenance": provenance,
    }
    card_file = Path(card) if card is not None else card_path(path)
    text = json.dumps(facts, indent=2, allow_nan=False) + "\n"
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", newline="\n", dir=card_file.parent, suffix=".partial", delete=False
    ) as file:
        file.write(text)
    os.chmod(file.name, 0o644)
    os.replace(file.name, card_file)
    return card_file


def add_metrics(path: str | Path, metrics: dict[str, Any]) -> None:
    """Add `metrics` to the card of the model file `path`, or replace those with the same names."""
    card = read_card(path)
    card["metrics"] = card["metrics"] | metrics
    card.pop("sha256")
    write_card(path, **card)
