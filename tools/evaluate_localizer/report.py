"""Report of the evaluation of a localizer, with tables and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from livespt.models.localize.localizer import Localizer
from livespt.models.render.spot_movies import SpotCase, movie
from livespt.tools.score.spots import SpotTally, pair, rmse

PICTURE = (77,)  # seed of the frame that is shown
BINS = 6
TABLES = ("targets", "crowd", "robust", "cases")


def write_report(
    folder: Path,
    localizer: Localizer,
    metrics: dict[str, Any],
    tallies: dict[str, SpotTally],
    scenes: dict[str, SpotCase],
) -> None:
    """Write `report.md`, `crowd.png`, `error.png` and `precision.png` to `folder`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in (("crowd", _dense), ("error", _error), ("precision", _precision)):
        figure = Figure(figsize=(8, 6), dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure, localizer, metrics, tallies, scenes)
        figure.savefig(folder / f"{name}.png")
    text = [f"# {localizer.session.name}", "", f"`{metrics['command']}`", ""]
    for name in TABLES:
        text += [f"## {name}", "", *table(metrics[name]), ""]
    plain = {k: v for k, v in metrics.items() if not isinstance(v, list)} | metrics["speed"]
    text += ["## others", ""]
    text += [f"- {k}: {v}" for k, v in plain.items() if k not in ("speed", "command")]
    text += ["", *(f"![{name}]({name}.png)" for name in ("crowd", "error", "precision")), ""]
    (folder / "report.md").write_text("\n".join(text))


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Rows of equal keys as a Markdown table."""
    keys = list(rows[0])
    lines = [f"| {' | '.join(keys)} |", "|" + " --- |" * len(keys)]
    return lines + [f"| {' | '.join(_cell(row[key]) for key in keys)} |" for row in rows]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _dense(figure: Any, localizer: Localizer, metrics: Any, tallies: Any, scenes: Any) -> None:
    """Draw a dense frame with found, missed and false spots."""
    case = scenes["500 spots, SNR 10"]
    images, truth = movie(PICTURE, case, 1)
    spots = localizer(images[0])
    found = np.stack([spots["y"], spots["x"]], axis=1).astype(np.float64)
    i, j = pair(truth[0], found)
    missed, false = np.delete(truth[0], i, axis=0), np.delete(found, j, axis=0)
    axes = figure.add_subplot()
    low, high = np.quantile(images[0], [0.02, 0.998])
    shown = np.clip((images[0].astype(np.float32) - low) / (high - low), 0, 1)
    axes.imshow(shown, cmap="gray", interpolation="nearest")
    for points, mark, colour, label in (
        (found[j], "o", "tab:green", "found"),
        (missed, "s", "tab:red", "missed"),
        (false, "^", "tab:orange", "false"),
    ):
        text = f"{label}: {len(points)}"
        axes.scatter(
            *points.T[::-1], 30, marker=mark, edgecolor=colour, facecolor="none", label=text
        )
    axes.set_xlim(100, 356)
    axes.set_ylim(356, 100)
    axes.set_title("500 spots in 512 x 512 pixels (the middle), SNR 10; counts of the whole frame")
    axes.legend(loc="upper right")


def _error(figure: Any, localizer: Localizer, metrics: Any, tallies: Any, scenes: Any) -> None:
    """Draw the error of every localizer against SNR, with the bound."""
    counts = sorted({row["n"] for row in metrics["crowd"]})
    for n, axes in zip(counts, figure.subplots(1, len(counts), squeeze=False)[0], strict=True):
        rows = [row for row in metrics["crowd"] if row["n"] == n]
        for name in dict.fromkeys(row["localizer"] for row in rows):
            mine = [row for row in rows if row["localizer"] == name]
            snr = [row["snr"] for row in mine]
            (line,) = axes.plot(snr, [row["isolated_px"] for row in mine], "o-", label=name)
            axes.plot(snr, [row["rmse_px"] for row in mine], "x:", color=line.get_color())
        own = [row for row in rows if row["localizer"] == rows[0]["localizer"]]
        axes.plot([r["snr"] for r in own], [r["bound_px"] for r in own], "k--", label="bound")
        axes.set_xscale("log")
        axes.set_yscale("log")
        ticks = [row["snr"] for row in own]
        axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
        axes.minorticks_off()
        axes.set_xlabel("SNR")
        axes.set_title(f"{n} spots (dotted: all, solid: isolated)", fontsize=9)
        axes.set_ylabel("error per axis, px")
        axes.legend(fontsize=8)


def _precision(figure: Any, localizer: Localizer, metrics: Any, tallies: Any, scenes: Any) -> None:
    """Draw the error against the reported precision, in bins of equal numbers of spots."""
    axes = figure.add_subplot()
    for name, tally in tallies.items():
        stated, error = tally.claimed.ravel(), tally.error.ravel()
        good = np.isfinite(stated) & np.repeat(tally.isolated, 2)
        if good.sum() < 10 * BINS:
            continue
        order = np.argsort(stated[good])
        parts = np.array_split(order, BINS)
        at = [rmse(stated[good][part]) for part in parts]
        axes.plot(at, [rmse(error[good][part]) for part in parts], "o-", label=name)
    ends = np.array([0.04, 0.5])
    axes.plot(ends, ends, "k--", label="true")
    axes.fill_between(ends, 0.85 * ends, 1.15 * ends, color="0.85", zorder=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("stated precision, px (isolated spots)")
    axes.set_ylabel("root mean square error, px")
    axes.legend(fontsize=8)
