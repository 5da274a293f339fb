"""Cell values: the numbers and texts of one column of a table of a user."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from livespt.stream.errors import InputError

WHOLE = ("frame", "particle")  # columns that hold integers
_EXACT = 2.0**53  # greatest integer up to which a float64 is exact


def readable(text: str) -> str:
    """Decode a text of which each byte was read as a character."""
    return text.encode("latin-1").decode("utf-8", "replace")


def numbers(path: Path, name: str, texts: list[str]) -> NDArray[Any]:
    """Numbers of one column, all finite; int64 for the columns in WHOLE."""
    try:
        values = np.array([float(text) for text in texts], np.float64)
        good = np.isfinite(values)
    except ValueError:
        good = np.array([is_number(text) for text in texts])
        values = np.zeros(len(texts))
    kind = "number"
    if name in WHOLE and good.all():
        good, kind = (values == np.round(values)) & (abs(values) < _EXACT), "whole number"
    if not good.all():
        row = int(np.argmin(good))
        shown = readable(texts[row])
        raise InputError(
            f"{path}: row {row + 1}: {name} is '{shown}'; give a {kind} or drop the row"
        )
    return values.astype(np.int64) if name in WHOLE else values


def numbers_or_nan(path: Path, name: str, texts: list[str]) -> NDArray[np.float64]:
    """Numbers of one column that may lack some: blank, NaN or infinite."""
    try:
        values = np.array([float(text) if text.strip() else np.nan for text in texts], np.float64)
    except ValueError:
        return numbers(path, name, texts)  # which says what is wrong
    return np.where(np.isfinite(values), values, np.nan)


def with_points(path: Path, name: str, texts: list[str]) -> list[str]:
    """Numbers with decimal commas as such with points; both in one column are refused."""
    comma = [("," in text, "." in text) for text in texts]
    if any(one for one, _ in comma) and any(other for _, other in comma):
        raise InputError(f"{path}: {name} has commas and points; give decimals in one way")
    return [text.replace(",", ".") for text in texts]


def texts_of(_path: Path, _name: str, texts: list[str]) -> NDArray[Any]:
    """Texts of one column."""
    return np.array([readable(text).strip() for text in texts], np.str_)


def is_number(text: str) -> bool:
    """Whether a text is a finite number."""
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
