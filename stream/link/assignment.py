"""Assignment: which point continues which track, at the least total cost.

The sum of the costs of the links plus, for each track without one, its cost of staying alone is
minimized. The answer is exact, by shortest augmenting paths (Jonker and Volgenant, Computing 38,
325 (1987)) on the sparse graph of candidates. Rows with many candidates first try only their
cheapest ones, and those that the duals then show to be missing are added (Volgenant, Computers Ops
Res. 23, 917 (1996)). A search never leaves its connected component, and ends at the cost of staying
alone at the latest. The work of a frame is bounded: beyond `STEPS` each search is cut short, and
the points that this may concern are counted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.stream.compiled import njit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Columns = NDArray[np.int32]
Flags = NDArray[np.bool_]

STEPS = 1 << 22  # candidates looked at in a frame; beyond them `FEW` for each row
FEW = 1 << 7
MANY = 48  # candidates beyond which a row tries `CORE` of them first
CORE = 32
MORE = 4  # candidates of a row added at a time


class LinkGraph(NamedTuple):
    """Candidates of m rows: those of row i that are tried are `[first[i]:end[i]]`."""

    first: Ints  # (m + 1,)
    end: Ints  # (m,)
    col: Columns  # (pairs,)
    cost: Floats  # (pairs,)
    alone: Floats  # (m,) cost of a row without a column


class Solution(NamedTuple):
    """Columns chosen so far, and the duals that prove them cheapest.

    cost - u - v >= 0 for each pair, 0 for the chosen ones; v <= 0, 0 for free columns.
    """

    row_of: Ints  # (n,) row of each column, -1: none
    u: Floats  # (m,)
    v: Floats  # (n,)
    bounded: Flags  # (m,) rows that may have missed a better column


@njit(nogil=True)
def assign(
    first: Ints, col: Columns, cost: Floats, alone: Floats, capped: Flags, n: int
) -> tuple[Ints, int]:
    """Choose among candidates.

    Parameters
    ----------
    first : (m + 1,)
        The candidates of row i are `[first[i]:first[i + 1]]`.
    col, cost : (pairs,)
        Their columns and costs; put in another order where a row has many.
    alone : (m,)
        Cost of a row without a column.
    capped : (m,)
        Rows whose candidates are not all there.
    n
        Number of columns.

    Returns
    -------
    row_of : (n,)
        Row of each column, -1: none. Of equally cheap answers one is taken by rules that depend on
        the arguments alone; a link is preferred to none.
    degraded : int
        Columns connected to a row that was capped or cut short: their links may not be the best.
    """
    m = len(first) - 1
    end = first[1:].copy()  # of the candidates tried
    dense = False
    for i in range(m):
        if end[i] - first[i] > MANY:
            _turn(cost[first[i] : end[i]], i / m)
            _turn(col[first[i] : end[i]], i / m)
            _select(cost, col, first[i], end[i], CORE)
            end[i], dense = first[i] + CORE, True
    graph = LinkGraph(first, end, col, cost, alone)
    found = Solution(np.full(n, -1, np.int64), alone.copy(), np.zeros(n), capped.copy())
    work: Any = np.int64(0)  # of its final type: a literal would be compiled for too
    while True:
        work = augment(graph, found, work)
        add = work <= STEPS
        if not (dense and _price(graph, found, add) and add):
            break
        for i in range(m):  # assigned slices would take seconds to compile
            found.u[i] = alone[i]
        for j in range(n):
            found.row_of[j], found.v[j] = -1, 0.0
    bounded = found.bounded
    return found.row_of, _connected(first, col, bounded, n) if bounded.any() else 0


@njit(nogil=True)
def _turn(values: NDArray[Any], share: float) -> None:
    """Begin elsewhere in a list, in each row elsewhere: points at one position are shared out."""
    begin = int(share * len(values))
    before = values.copy()
    for k in range(len(values)):
        values[k] = before[(begin + k) % len(values)]


@njit(nogil=True)
def _select(cost: Floats, col: Columns, begin: int, end: int, count: int) -> None:
    """Bring the cheapest `count` candidates to the front (Hoare's selection)."""
    at = begin + count - 1
    end -= 1
    while begin < end:
        pivot = cost[(begin + end) >> 1]
        i, j = begin, end
        while i <= j:
            while cost[i] < pivot:
                i += 1
            while cost[j] > pivot:
                j -= 1
            if i <= j:
                cost[i], cost[j] = cost[j], cost[i]
                col[i], col[j] = col[j], col[i]
                i, j = i + 1, j - 1
        if at <= j:
            end = j
        elif at >= i:
            begin = i
        else:
            return


@njit(nogil=True)
def _price(graph: LinkGraph, found: Solution, add: bool) -> bool:
    """Whether candidates not tried are cheaper than the duals allow.

    With `add` the cheapest of them are to be tried next, otherwise their rows are marked.
    """
    first, end, col, cost, alone = graph
    u, v, bounded = found.u, found.v, found.bounded
    missing = False
    for i in range(len(end)):
        for _ in range(MORE):
            least, at = u[i] - 1e-9 * alone[i], -1  # rounding apart
            for e in range(end[i], first[i + 1]):
                if cost[e] - v[col[e]] < least:
                    least, at = cost[e] - v[col[e]], e
            if at < 0:
                break
            missing = True
            if not add:
                bounded[i] = True
                break
            k = end[i]
            cost[at], cost[k] = cost[k], cost[at]
            col[at], col[k] = col[k], col[at]
            end[i] = k + 1
    return missing


@njit(nogil=True)
def augment(graph: LinkGraph, found: Solution, work: int) -> int:
    """Choose columns for all rows, mark those whose search was cut short; return the work done.

    Rows come one by one. Each takes its cheapest column, and where that is taken, the cheapest
    chain of changes that ends at a free column or leaves a row alone.
    """
    first, end, col, cost, alone = graph
    row_of, u, v, bounded = found
    m, n = len(first) - 1, len(row_of)
    col_of = np.full(m, -1, np.int64)
    far = np.empty(n)  # length of the shortest path to a column
    via = np.empty(n, np.int64)  # row it comes from
    seen = np.full(n, -1, np.int64)  # row whose search reached it
    done = np.full(n, -1, np.int64)  # ... and has its final length
    trail = np.empty(n, np.int64)  # columns done, in order
    keys = np.empty(64)
    items = np.empty(64, np.int64)
    for s in range(m):
        best, end_col = _cheapest(first[s], end[s], col, cost, v, row_of, alone[s])
        if end_col == -1:
            continue
        if row_of[end_col] < 0:
            u[s] = best
            row_of[end_col] = s
            col_of[s] = end_col
            continue
        most = work + FEW if work > STEPS else 2 * STEPS
        best, end_row, end_col = alone[s], s, -1
        row, base, heap, steps = s, 0.0, 0, 0
        u[s] = 0.0
        while True:
            work += end[row] - first[row]
            while heap + end[row] - first[row] > len(keys):
                keys, items = _longer(keys), _longer(items)
            for e in range(first[row], end[row]):
                j = col[e]
                length = base + cost[e] - u[row] - v[j]
                if length > best or done[j] == s:
                    continue
                if row_of[j] < 0:
                    if length < best or end_col < 0:
                        best, end_row, end_col = length, row, j
                elif length < best and (seen[j] != s or length < far[j]):
                    seen[j], far[j], via[j] = s, length, row
                    heap = _push(keys, items, heap, length, j)
            near = -1
            while heap > 0 and near < 0:
                key, j, heap = _pop(keys, items, heap)
                if done[j] != s and key == far[j]:
                    near = j
            level = best
            if near < 0 or far[near] >= best:
                break
            if work > most:
                bounded[s], level = True, far[near]
                break
            done[near] = s
            trail[steps] = near
            steps += 1
            row, base = row_of[near], far[near]
            if base + alone[row] - u[row] < best:
                best, end_row, end_col = base + alone[row] - u[row], row, -1
        u[s] = level
        for k in range(steps):
            j = trail[k]
            v[j] += far[j] - level
            u[row_of[j]] += level - far[j]
        _flip(row_of, col_of, via, s, end_row, end_col)
    return work


@njit(nogil=True)
def _connected(first: Ints, col: Columns, marked: Flags, n: int) -> int:
    """Number of columns in the connected components of the marked rows."""
    root = np.arange(n)
    bad = np.zeros(n, np.bool_)
    for i in range(len(first) - 1):
        for e in range(first[i], first[i + 1]):
            a, b = _root(root, col[first[i]]), _root(root, col[e])
            root[max(a, b)] = min(a, b)
    for i in range(len(first) - 1):
        if marked[i] and first[i + 1] > first[i]:
            bad[_root(root, col[first[i]])] = True
    count = 0
    for j in range(n):
        count += bad[_root(root, j)]
    return count


@njit(nogil=True)
def _root(root: Ints, j: int) -> int:
    """The column that stands for the component of column `j`."""
    while root[j] != j:
        root[j] = root[root[j]]
        j = root[j]
    return j


@njit(nogil=True)
def _cheapest(
    begin: int, end: int, col: Columns, cost: Floats, v: Floats, row_of: Ints, alone: float
) -> tuple[float, int]:
    """Cheapest of the candidates [begin:end], a free column where costs are equal; -1: none."""
    best, at = alone, -1
    for e in range(begin, end):
        j = col[e]
        length = cost[e] - v[j]
        if length < best or (length == best and (at < 0 or row_of[j] < 0)):
            best, at = length, j
    return best, at


@njit(nogil=True)
def _flip(row_of: Ints, col_of: Ints, via: Ints, s: int, row: int, j: int) -> None:
    """Make the changes of the path that ends with `row` taking column `j` (-1: none)."""
    while True:
        before = col_of[row]
        col_of[row] = j
        if j >= 0:
            row_of[j] = row
        if row == s:
            return
        j, row = before, via[before]


@njit(nogil=True)
def _push(keys: Floats, items: Ints, size: int, key: float, item: int) -> int:
    """Add an item to a heap, the smallest key on top; return the new size."""
    at = size
    while at > 0 and keys[(at - 1) >> 1] > key:
        up = (at - 1) >> 1
        keys[at], items[at] = keys[up], items[up]
        at = up
    keys[at], items[at] = key, item
    return size + 1


@njit(nogil=True)
def _pop(keys: Floats, items: Ints, size: int) -> tuple[float, int, int]:
    """Take the item with the smallest key from a heap; return both, and the new size."""
    top, item = keys[0], items[0]
    size -= 1
    key, last = keys[size], items[size]
    at = 0
    while 2 * at + 1 < size:
        down = 2 * at + 1
        if down + 1 < size and keys[down + 1] < keys[down]:
            down += 1
        if keys[down] >= key:
            break
        keys[at], items[at] = keys[down], items[down]
        at = down
    keys[at], items[at] = key, last
    return top, item, size


@njit(nogil=True)
def _longer(array: NDArray[Any]) -> NDArray[Any]:
    """Give an array twice as long that starts with the elements of `array`."""
    grown = np.empty(2 * len(array), array.dtype)
    for k in range(len(array)):
        grown[k] = array[k]
    return grown
