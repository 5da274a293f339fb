"""Programs that a person types, and how runs are made; and the functions for use in a notebook.

    from livespt.tools import Options, Stated, open_run, replay

    options = Options(settings={"search_range": 4})
    replay("movie.tif", "run.zarr", options, Stated(pixel_size_um=0.1, frame_interval_s=0.05))
    run = open_run("run.zarr")

The names in `__all__` are those of their rooms, and are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livespt.acquisition.recordings.movie import Stated
    from livespt.acquisition.recordings.open_movie import open_movie
    from livespt.models.localize.localizer import Localizer
    from livespt.stream.link.corrections import corrected
    from livespt.stream.link.offline import link_points
    from livespt.stream.store.run import open_run
    from livespt.stream.wire.subscriber import Subscriber
    from livespt.tools.overlay.canvas import render_run
    from livespt.tools.runs.options import Options
    from livespt.tools.runs.replay import replay
    from livespt.tools.tables.analyze import analyze_table
    from livespt.tools.tables.export import export_run, spot_table
    from livespt.tools.tables.link import link_table
    from livespt.tools.tables.segments import segment_table
    from livespt.tools.train_localizer.recipes import make_localizer
else:
    _PLACES = {
        "Localizer": "models.localize.localizer",
        "Options": "tools.runs.options",
        "Stated": "acquisition.recordings.movie",
        "Subscriber": "stream.wire.subscriber",
        "analyze_table": "tools.tables.analyze",
        "corrected": "stream.link.corrections",
        "export_run": "tools.tables.export",
        "link_points": "stream.link.offline",
        "link_table": "tools.tables.link",
        "make_localizer": "tools.train_localizer.recipes",
        "open_movie": "acquisition.recordings.open_movie",
        "open_run": "stream.store.run",
        "render_run": "tools.overlay.canvas",
        "replay": "tools.runs.replay",
        "segment_table": "tools.tables.segments",
        "spot_table": "tools.tables.export",
    }

    def __getattr__(name):
        """Import a name from its room; hidden from the type checker, which reads the imports."""
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"livespt.{_PLACES[name]}"), name)


__all__ = [
    "Localizer",
    "Options",
    "Stated",
    "Subscriber",
    "analyze_table",
    "corrected",
    "export_run",
    "link_points",
    "link_table",
    "make_localizer",
    "open_movie",
    "open_run",
    "render_run",
    "replay",
    "segment_table",
    "spot_table",
]


def __dir__() -> list[str]:
    return __all__
