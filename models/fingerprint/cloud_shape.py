"""Shape of a cloud of points: largest extent, convex hull and main axis, all exact."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float64]

# corners, planes, corners of faces, faces seen, edges around them, marks of edges
Space = tuple[
    Floats, Floats, NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint8]
]

MAX_PAIRED_POINTS = 64  # with more, not all pairs are compared
FLAT_EXTENT = 1e-12  # of volume or area, in units of the largest extent: less counts as 0


@njit()
def _apart(x: Floats, y: Floats, z: Floats, least: int) -> float:
    """Largest squared distance between points whose indices differ by `least` or more."""
    far = 0.0
    for k in range(least, len(x)):
        for t in range(len(x) - k):
            dx, dy, dz = x[t + k] - x[t], y[t + k] - y[t], z[t + k] - z[t]
            far = max(far, dx * dx + dy * dy + dz * dz)
    return far


@njit()
def _outermost(x: Floats, y: Floats, z: Floats) -> NDArray[np.int64]:
    """Indices of the points by their distance from 0, largest first."""
    n = len(x)
    size = x * x + y * y + z * z
    if n > MAX_PAIRED_POINTS:
        return np.argsort(-size)
    order = np.empty(n, np.int64)
    for i in range(n):  # rank by counting the larger ones, which needs no branches
        rank = 0
        for j in range(n):
            rank += (size[j] > size[i]) | ((size[j] == size[i]) & (j < i))
        order[rank] = i
    return order


@njit()
def diameter(x: Floats, y: Floats, z: Floats, near: int, largest: float) -> float:
    """Largest distance between two points.

    `largest` is the known largest squared distance of points whose indices differ by up to `near`.
    If there are many points, pairs are compared from the outermost inwards, until no remaining pair
    can be farther apart. The result is exact, in close to N log N steps for tracks.
    """
    n = len(x)
    if n <= MAX_PAIRED_POINTS:
        return math.sqrt(max(largest, _apart(x, y, z, near + 1)))
    far = 0.0
    out = np.sqrt((x - x.mean()) ** 2 + (y - y.mean()) ** 2 + (z - z.mean()) ** 2)
    order = np.argsort(-out)
    best = 0.0
    for a in range(n - 1):
        i = order[a]
        if out[i] + out[order[a + 1]] < best:
            break
        for b in range(a + 1, n):
            j = order[b]
            if out[i] + out[j] < best:
                break
            square = (x[j] - x[i]) ** 2 + (y[j] - y[i]) ** 2 + (z[j] - z[i]) ** 2
            if square > far:
                far = square
                best = math.sqrt(far)
    return math.sqrt(far)


@njit()
def _leftmost(x: Floats, y: Floats) -> NDArray[np.int64]:
    """Indices of the points in the order of x, then y."""
    n = len(x)
    if n > MAX_PAIRED_POINTS:
        order = np.argsort(x)
        for i in range(1, n):
            j, c = i, order[i]
            while j and x[order[j - 1]] == x[c] and y[order[j - 1]] > y[c]:
                order[j] = order[j - 1]
                j -= 1
            order[j] = c
        return order
    order = np.empty(n, np.int64)
    for i in range(n):
        rank = 0
        for j in range(n):
            later = (y[j] < y[i]) | ((y[j] == y[i]) & (j < i))
            rank += (x[j] < x[i]) | ((x[j] == x[i]) & later)
        order[rank] = i
    return order


@njit()
def hull_area(x: Floats, y: Floats) -> float:
    """Area of the convex hull of points in a plane (Andrew's monotone chain)."""
    n = len(x)
    if n < 3:
        return 0.0
    order = _leftmost(x, y)
    chain = np.empty(n + 1, np.int64)
    area = 0.0
    for side in range(2):
        m = 0
        for i in range(n):
            c = order[i] if side == 0 else order[n - 1 - i]
            while m >= 2:
                a, b = chain[m - 2], chain[m - 1]
                if (x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]) > 0:
                    break
                m -= 1
            chain[m] = c
            m += 1
        for i in range(m - 1):
            a, b = chain[i], chain[i + 1]
            area += (x[a] - x[0]) * (y[b] - y[0]) - (x[b] - x[0]) * (y[a] - y[0])
    return 0.5 * max(area, 0.0)


@njit()
def _beyond(plane: Floats, faces: int, px: float, py: float, pz: float, slack: float) -> int:
    """Number of planes that the point lies outside of; row 4 gets distance times area for each."""
    count = 0
    for f in range(faces):
        one = plane[0, f] * px + plane[1, f] * py + plane[2, f] * pz - plane[3, f]
        plane[4, f] = one
        count += one > slack
    return count


@njit(inline="always")
def _put(
    p: Floats, plane: Floats, corner: NDArray[np.uint32], f: int, a: int, b: int, c: int
) -> None:
    """Store face f through corners a, b, c of the hull, counterclockwise as seen from outside."""
    ux, uy, uz = p[0, b] - p[0, a], p[1, b] - p[1, a], p[2, b] - p[2, a]
    vx, vy, vz = p[0, c] - p[0, a], p[1, c] - p[1, a], p[2, c] - p[2, a]
    plane[0, f] = uy * vz - uz * vy
    plane[1, f] = uz * vx - ux * vz
    plane[2, f] = ux * vy - uy * vx
    plane[3, f] = plane[0, f] * p[0, a] + plane[1, f] * p[1, a] + plane[2, f] * p[2, a]
    corner[0, f], corner[1, f], corner[2, f] = a, b, c


@njit()
def _simplex(x: Floats, y: Floats, z: Floats, start: NDArray[np.int64]) -> float:
    """Write four points that are far apart to `start`; return six times the volume between them."""
    n = len(x)
    a = 0
    for i in range(n):
        if x[i] < x[a]:
            a = i
    start[0] = a
    for step in range(1, 4):
        best, at = -1.0, 0
        ux, uy, uz = x[start[1]] - x[a], y[start[1]] - y[a], z[start[1]] - z[a]
        wx, wy, wz = x[start[2]] - x[a], y[start[2]] - y[a], z[start[2]] - z[a]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        for i in range(n):
            vx, vy, vz = x[i] - x[a], y[i] - y[a], z[i] - z[a]
            if step == 1:
                far = vx * vx + vy * vy + vz * vz
            elif step == 2:
                far = (uy * vz - uz * vy) ** 2 + (uz * vx - ux * vz) ** 2 + (ux * vy - uy * vx) ** 2
            else:
                far = abs(nx * vx + ny * vy + nz * vz)
            if far > best:
                best, at = far, i
        start[step] = at
    return best


@njit()
def space(n: int) -> Space:
    """Reusable scratch memory of `hull_volume` for up to `n` points."""
    plane = np.empty((5, 4 * n + 8))
    corner = np.empty((3, 4 * n + 8), np.uint32)
    seen = np.empty(4 * n + 9, np.uint32)
    border = np.empty((2, 12 * n + 25), np.uint32)
    size = min(n + 4, 64)
    return np.empty((3, n + 4)), plane, corner, seen, border, np.zeros((size, size), np.uint8)


@njit()
def hull_volume(x: Floats, y: Floats, z: Floats, extent: float, memory: Space) -> float:
    """Volume of the convex hull of points whose largest distance is `extent`.

    Points are added one by one, the outermost first. The faces that are visible from a new point
    are replaced by faces between the point and the border of the visible region. Every edge stays
    shared by two faces, so the surface stays closed in spite of rounding.
    """
    n = len(x)
    start = np.zeros(4, np.int64)
    if n < 4 or _simplex(x, y, z, start) <= FLAT_EXTENT * extent**3:
        return 0.0
    slack = FLAT_EXTENT * extent**3
    p, plane, corner, seen, border, edge = memory
    for c in range(4):
        p[0, c], p[1, c], p[2, c] = x[start[c]], y[start[c]], z[start[c]]
    faces, new = 4, 4
    _put(p, plane, corner, 0, 0, 1, 2)
    turn = plane[0, 0] * p[0, 3] + plane[1, 0] * p[1, 3] + plane[2, 0] * p[2, 3] > plane[3, 0]
    b, c = (2, 1) if turn else (1, 2)
    _put(p, plane, corner, 0, 0, b, c)
    _put(p, plane, corner, 1, b, 0, 3)
    _put(p, plane, corner, 2, c, b, 3)
    _put(p, plane, corner, 3, 0, c, 3)
    order = _outermost(x, y, z)
    for i in order:
        px, py, pz = x[i], y[i], z[i]
        if _beyond(plane, faces, px, py, pz, slack) == 0:
            continue
        if new == p.shape[1]:
            break
        if new == len(edge):  # all marks are clear here, so only the memory must grow
            edge = np.zeros((2 * new, 2 * new), np.uint8)
        p[0, new], p[1, new], p[2, new] = px, py, pz
        faces = _grow(p, plane, corner, edge, seen, border, faces, new, slack)
        new += 1
    volume = 0.0
    for f in range(faces):
        volume += plane[3, f]
    return max(volume, 0.0) / 6


@njit(inline="always")
def _grow(
    p: Floats,
    plane: Floats,
    corner: NDArray[np.uint32],
    edge: NDArray[np.uint8],
    seen: NDArray[np.uint32],
    border: NDArray[np.uint32],
    faces: int,
    new: int,
    slack: float,
) -> int:
    """Add corner `new` to the hull of `faces` faces; return the new number of faces."""
    count = 0
    for f in range(faces):
        seen[count] = f
        count += plane[4, f] > slack
    for s in range(count):
        f = seen[s]
        a, b, c = corner[0, f], corner[1, f], corner[2, f]
        edge[a, b] = edge[b, c] = edge[c, a] = 1
    rim = 0
    for s in range(count):
        f = seen[s]
        a, b, c = corner[0, f], corner[1, f], corner[2, f]
        border[0, rim], border[1, rim] = a, b
        rim += edge[b, a] == 0
        border[0, rim], border[1, rim] = b, c
        rim += edge[c, b] == 0
        border[0, rim], border[1, rim] = c, a
        rim += edge[a, c] == 0
    for s in range(count):
        f = seen[s]
        a, b, c = corner[0, f], corner[1, f], corner[2, f]
        edge[a, b] = edge[b, c] = edge[c, a] = 0
    if faces - count + rim > plane.shape[1]:  # not observed: rounding has torn the surface apart
        return faces
    for r in range(rim):
        f = seen[r] if r < count else faces
        if r >= count:
            faces += 1
        _put(p, plane, corner, f, border[0, r], border[1, r], new)
    for s in range(count - 1, rim - 1, -1):  # rare: there are fewer new faces than old ones
        faces -= 1
        plane[:, seen[s]] = plane[:, faces]
        corner[:, seen[s]] = corner[:, faces]
    return faces


@njit()
def main_kurtosis(x: Floats, y: Floats, z: Floats) -> float:
    """Pearson kurtosis (Gaussian: 3) of points about 0 along their main axis; 0 if all are equal.

    The axis is the longest column of a high power of the covariance, found by repeated squaring.
    """
    n = len(x)
    a, b, c, d, e, f = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(n):
        a += x[i] * x[i]
        b += y[i] * y[i]
        c += z[i] * z[i]
        d += x[i] * y[i]
        e += x[i] * z[i]
        f += y[i] * z[i]
    if a + b + c <= 0:
        return 0.0
    for _ in range(8):
        scale = 1 / (a + b + c)
        a, b, c, d, e, f = a * scale, b * scale, c * scale, d * scale, e * scale, f * scale
        if a * a + b * b + c * c + 2 * (d * d + e * e + f * f) > 1 - 1e-13:
            break  # the matrix has rank one, so its columns are the axis
        for _ in range(4):
            a, b, c, d, e, f = (
                a * a + d * d + e * e,
                b * b + d * d + f * f,
                c * c + e * e + f * f,
                d * (a + b) + e * f,
                e * (a + c) + d * f,
                f * (b + c) + d * e,
            )
    if a >= b and a >= c:
        ux, uy, uz = a, d, e
    elif b >= c:
        ux, uy, uz = d, b, f
    else:
        ux, uy, uz = e, f, c
    two, four, one = 0.0, 0.0, 1 / math.sqrt(ux * ux + uy * uy + uz * uz)
    for i in range(n):
        square = (one * (ux * x[i] + uy * y[i] + uz * z[i])) ** 2
        two += square
        four += square * square
    return n * four / (two * two)
