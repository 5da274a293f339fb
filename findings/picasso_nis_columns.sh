#!/usr/bin/env bash
# picassosr 0.11.3: export_txt_nis() writes the values in another order than the names above them.
#
# One would guess that the column "Frame" of the text table for NIS-Elements holds the frame of each
# localization (from 1). Seen: it holds the constant 1, and the frame stands under "Length". Read by
# name, all localizations lie in frame 1 and have lengths that grow.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'picassosr==0.11.3' 'pandas==2.3.3'
cat >"$work/try.py" <<'PY'
import sys

import pandas as pd
from picasso import io

locs = pd.DataFrame(
    {"x": [1.0, 2.0], "y": [3.0, 4.0], "sx": [1.0, 1.0], "bg": [5.0, 5.0],
     "photons": [900.0, 901.0], "frame": [10, 11]}
)
path = sys.argv[1] + "/nis.txt"
io.export_txt_nis(path, locs, [{"Pixelsize": 100, "Width": 9, "Height": 9, "Frames": 12}])
table = pd.read_csv(path, sep="\t")
print("columns", list(table.columns))
for name in ("Frame", "Length"):
    print(name, [int(value) for value in table[name]])
PY
"$work/venv/bin/python" "$work/try.py" "$work" 2>/dev/null | tee "$work/seen"
grep -qF 'Frame [1, 1]' "$work/seen"
grep -qF 'Length [11, 12]' "$work/seen"
echo "as stated"
