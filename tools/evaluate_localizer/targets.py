"""Required values of the figures of a localizer, and whether they are reached."""

from __future__ import annotations

from typing import Any

JACCARD = {(100, 3): 0.96, (100, 5): 0.99, (100, 10): 0.99,
           (500, 3): 0.95, (500, 5): 0.97, (500, 10): 0.98}  # fmt: skip
MAX_BOUND_RATIO = 1.10  # of the error of isolated spots to the bound
DENSE_PX = 0.11  # error of all of 500 spots at SNR 10
MAX_PRECISION_DEVIATION = 0.15  # of the reported precision from the error, relative
MILLISECONDS = {"fast": 2.0, "crowd": 8.0}
TRACKPY_RATIO = 9.0  # speed relative to trackpy, in place of the milliseconds of "fast"
MAX_AREA_COST_RATIO = 17.0  # of the cost of 2048 x 2048 pixels to that of 512 x 512
MAX_ERROR_RATIO = 1.02  # to another localizer; up to it, both count as equal


def check_targets(
    model: str, rows: list[dict[str, Any]], speed: dict[str, Any]
) -> list[dict[str, Any]]:
    """Lines of `target`, `value`, `met`; "fast" must reach those for 100 spots and for its speed.

    All other models must reach all targets, with the speed of "crowd".
    """
    own = rows[0]["localizer"]
    lines = []
    for row in rows:
        if row["localizer"] == own and (row["n"] == 100 or model != "fast"):
            others = [r for r in rows if r["scene"] == row["scene"] and r is not row]
            lines += _accuracy(row) + _compared(row, others)
    lines += _speed(model, speed)
    return lines


def _line(
    what: str, value: float | None, least: float | None, most: float | None
) -> dict[str, Any]:
    wanted = f">= {least}" if most is None else f"<= {most}" if least is None else f"{least}-{most}"
    low, high = least if least is not None else -1e9, most if most is not None else 1e9
    met = value is not None and low <= value <= high
    return {"what": what, "value": value, "target": wanted, "met": met}


def _accuracy(row: dict[str, Any]) -> list[dict[str, Any]]:
    name, key = row["scene"], (row["n"], round(row["snr"]))
    low, high = 1 - MAX_PRECISION_DEVIATION, 1 + MAX_PRECISION_DEVIATION
    lines = [
        _line(f"{name}: Jaccard", row["jaccard"], JACCARD[key], None),
        _line(f"{name}: isolated error / bound", row["ratio"], None, MAX_BOUND_RATIO),
        _line(f"{name}: stated precision / error, isolated", row["claimed"], low, high),
        _line(f"{name}: stated precision / error, all", row["claimed_all"], low, high),
    ]
    if key == (500, 10):
        lines.append(_line(f"{name}: error of all, px", row["rmse_px"], None, DENSE_PX))
    return lines


def _compared(row: dict[str, Any], others: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = []
    for other in others:
        name = f"{row['scene']}: compared with {other['localizer']}"
        lines.append(_line(f"{name}: Jaccard", row["jaccard"], other["jaccard"], None))
        lines.append(
            _line(f"{name}: error / its, same spots", other["common"], None, MAX_ERROR_RATIO)
        )
    return lines


def _speed(model: str, speed: dict[str, Any]) -> list[dict[str, Any]]:
    limit = MILLISECONDS.get(model, MILLISECONDS["crowd"])
    line = _line("CPU ms, 512 x 512, 100 spots", speed["milliseconds_512"], None, limit)
    faster = speed.get("trackpy_over_ours")
    if model == "fast" and faster is not None:
        line["target"] += f" or {TRACKPY_RATIO:g} x faster than trackpy ({faster} x)"
        line["met"] = line["met"] or faster >= TRACKPY_RATIO
    larger = speed.get("larger_frame_ratio")
    return [line, _line("2048 x 2048 / 512 x 512, as dense", larger, None, MAX_AREA_COST_RATIO)]
