#!/usr/bin/env bash
# pycellin 0.5.1 numbers time points by POSITION_T, not by FRAME, when it reads TrackMate XML.
#
# One would guess that FRAME, which TrackMate writes for every spot, is the time point, and that the
# times of the spots may be those at which the frames were really taken. Seen: a file whose times
# are not whole multiples of one step is refused with ValueError ("... is not close to an integer"),
# and a file with a pause of whole steps is read with other time points than its FRAMEs (0 and 9 for
# frames 0 and 1). So who writes TrackMate XML for it must write FRAME times the interval as POSITION_T,
# and keep the real times in a feature of their own.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'pycellin==0.5.1'
cat >"$work/try.py" <<'PY'
import sys
import pycellin


def write(path, times):
    names = ("QUALITY", "POSITION_X", "POSITION_Y", "POSITION_Z", "POSITION_T", "FRAME", "RADIUS", "VISIBILITY")
    whole = ("FRAME", "VISIBILITY")
    declared = "".join(
        f'<Feature feature="{n}" name="{n}" shortname="{n}" dimension="NONE" '
        f'isint="{str(n in whole).lower()}" />' for n in names
    )
    spots = "".join(
        f'<SpotsInFrame frame="{t}"><Spot ID="{t}" name="s{t}" QUALITY="1.0" POSITION_X="{5.0 + t}" '
        f'POSITION_Y="7.0" POSITION_Z="0.0" POSITION_T="{at}" FRAME="{t}" RADIUS="2.0" VISIBILITY="1" />'
        "</SpotsInFrame>" for t, at in enumerate(times)
    )
    edges = "".join(
        f'<Edge SPOT_SOURCE_ID="{t}" SPOT_TARGET_ID="{t + 1}" LINK_COST="1.0" />'
        for t in range(len(times) - 1)
    )
    edge = "".join(
        f'<Feature feature="{n}" name="{n}" shortname="{n}" dimension="NONE" isint="{w}" />'
        for n, w in (("SPOT_SOURCE_ID", "true"), ("SPOT_TARGET_ID", "true"), ("LINK_COST", "false"))
    )
    track = "".join(
        f'<Feature feature="{n}" name="{n}" shortname="{n}" dimension="NONE" isint="true" />'
        for n in ("TRACK_INDEX", "TRACK_ID", "NUMBER_SPOTS")
    )
    n = len(times)
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?><TrackMate version="7.11.1"><Log></Log>'
        '<Model spatialunits="micron" timeunits="sec"><FeatureDeclarations>'
        f"<SpotFeatures>{declared}</SpotFeatures><EdgeFeatures>{edge}</EdgeFeatures>"
        f"<TrackFeatures>{track}</TrackFeatures></FeatureDeclarations>"
        f'<AllSpots nspots="{n}">{spots}</AllSpots><AllTracks><Track name="Track_0" TRACK_INDEX="0" '
        f'TRACK_ID="0" NUMBER_SPOTS="{n}">{edges}</Track></AllTracks>'
        '<FilteredTracks><TrackID TRACK_ID="0" /></FilteredTracks></Model><Settings>'
        '<ImageData filename="a.tif" folder="" width="64" height="64" nslices="1" nframes="9" '
        'pixelwidth="1.0" pixelheight="1.0" voxeldepth="1.0" timeinterval="0.05" /></Settings>'
        '<GUIState state="ConfigureViews" /></TrackMate>'
    )


def points(path):
    model = pycellin.load_TrackMate_XML(str(path))
    return sorted(
        (int(node["FRAME"]), int(node["timepoint"]))
        for lineage in model.data.cell_data.values() for _, node in lineage.nodes(data=True)
    )


from pathlib import Path

folder = Path(sys.argv[1])
write(folder / "regular.xml", [0.0, 0.05, 0.1])
print("regular: (FRAME, time point)", points(folder / "regular.xml"))
write(folder / "pause.xml", [0.0, 0.45, 0.5])
print("pause:   (FRAME, time point)", points(folder / "pause.xml"))
write(folder / "jitter.xml", [0.0, 0.048, 0.113])
try:
    print("jitter:  (FRAME, time point)", points(folder / "jitter.xml"))
except ValueError as error:
    print("jitter:  ValueError:", error)
PY
"$work/venv/bin/python" -W ignore "$work/try.py" "$work" | tee "$work/seen"
grep -qF 'regular: (FRAME, time point) [(0, 0), (1, 1), (2, 2)]' "$work/seen"
grep -qF 'pause:   (FRAME, time point) [(0, 0), (1, 9), (2, 10)]' "$work/seen"
grep -q 'jitter:  ValueError: .*not close to an integer' "$work/seen"
echo "as stated"
