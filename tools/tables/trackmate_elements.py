"""Elements of a TrackMate file: spots, edges and units, taken one by one while it is read.

The text of such a file is some hundred times larger than what is taken of it, so it is never held
as a whole.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from xml.parsers import expat

from livespt.stream.errors import InputError

NAN = float("nan")
# sums of the light of a spot: of the first channel, of versions before 7, and of livespt
LIGHT = ("TOTAL_INTENSITY_CH1", "TOTAL_INTENSITY", "INTENSITY")
PRECISIONS = {"dz": "PRECISION_Z", "dy": "PRECISION_Y", "dx": "PRECISION_X"}  # of livespt
PLACES = ("POSITION_Z", "POSITION_Y", "POSITION_X")
FEATURES = ("FRAME", "QUALITY", *PLACES, *PRECISIONS.values(), *LIGHT)
DETECTION = ("t", "z", "y", "x")


class TrackMateElements:
    """What a file holds, of both of TrackMate's formats.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    root, outer : name and attributes of the outermost element
    model, image : attributes of `Model` (None: there is none) and `ImageData`
    spot_ids, spots : ids of the spots, and each of `FEATURES` (NaN: not there)
    edges, edge_tracks : ids of the two spots of each edge in turn, and its track
    detections : the track and each of `DETECTION` in turn, of exported tracks

    Raises
    ------
    InputError
        The file declares a document type.
    ExpatError, ValueError
        It is no XML, or a number is none.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = ""
        self.outer: dict[str, str] = {}
        self.model: dict[str, str] | None = None
        self.image: dict[str, str] = {}
        self.spot_ids = array("q")
        self.spots = {name: array("d") for name in FEATURES}
        self.edges, self.edge_tracks = array("q"), array("q")
        self.detections = array("d")
        self._track = self._particle = -1
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.StartDoctypeDeclHandler = self._refuse
        with path.open("rb") as file:
            parser.ParseFile(file)

    def _start(self, tag: str, has: dict[str, str]) -> None:
        if not self.root:
            self.root, self.outer = tag, has
        elif tag == "Spot":
            self.spot_ids.append(int(has.get("ID", -1)))
            for name, column in self.spots.items():
                column.append(float(has.get(name, NAN)))
        elif tag == "Edge":
            self.edges.append(int(has.get("SPOT_SOURCE_ID", -1)))
            self.edges.append(int(has.get("SPOT_TARGET_ID", -1)))
            self.edge_tracks.append(self._track)
        elif tag == "Track":
            self._track = int(has.get("TRACK_ID", -1))
        elif tag == "particle":
            self._particle += 1
        elif tag == "detection":
            self.detections.append(self._particle)
            self.detections.extend(float(has.get(name, NAN)) for name in DETECTION)
        elif tag == "Model":
            self.model = has
        elif tag == "ImageData":
            self.image = has

    def _refuse(self, *_: object) -> None:
        raise InputError(f"{self.path} declares a document type: save it again")
