#!/usr/bin/env bash
# zarr 3.1.6: save_array() takes no chunk shape, though it passes keywords through to create().
#
# One would guess that zarr.save_array(path, array, chunks=(1, ny, nx)) stores a movie with one frame
# to a chunk: its documentation says that further keywords go to the function that creates the array.
# Seen: TypeError ("got multiple values for keyword argument 'chunks'"), because it passes the chunks
# of the array itself along with it. Without the keyword the whole movie is chunked by a guess, so that
# reading one frame reads many. create_array() and an assignment do what was meant.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check 'zarr==3.1.6' 'numpy==2.4.6'
cat >"$work/try.py" <<'PY'
import sys

import numpy as np
import zarr

folder, movie = sys.argv[1], np.zeros((40, 256, 256), np.uint16)
try:
    zarr.save_array(f"{folder}/a.zarr", movie, chunks=(1, 256, 256))
    print("save_array with chunks:", zarr.open_array(f"{folder}/a.zarr").chunks)
except TypeError as error:
    print("save_array with chunks: TypeError:", error)
zarr.save_array(f"{folder}/b.zarr", movie)
print("save_array without:", zarr.open_array(f"{folder}/b.zarr").chunks)
array = zarr.create_array(f"{folder}/c.zarr", shape=movie.shape, chunks=(1, 256, 256), dtype="u2")
array[:] = movie
print("create_array:", array.chunks)
PY
"$work/venv/bin/python" "$work/try.py" "$work" | tee "$work/seen"
grep -q "save_array with chunks: TypeError: .*multiple values for keyword argument 'chunks'" "$work/seen"
grep -qF 'save_array without: (10, 128, 128)' "$work/seen"
grep -qF 'create_array: (1, 256, 256)' "$work/seen"
echo "as stated"
