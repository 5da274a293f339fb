"""The ONNX graph of a hologram network: from a complex field to the outputs of all cells.

It computes the same as `HologramNet.pooled`, which a test compares with it, and also returns the
noise of the field. A complex matrix is a pair of real ones.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from livespt.models.networks import hologram as nets
from livespt.models.networks.lodestar_graph import layers
from livespt.models.runtime.onnx_graph import IR, OPSET, Graph

EXTRAS = ("z", "polarizability", "dz", "dy", "dx")  # outputs behind rho, as named in the card
OUTPUTS = 3 + len(EXTRAS)
FLOAT = 1  # onnx.TensorProto.FLOAT


class HologramScale(NamedTuple):
    """Calibration by which the outputs are corrected."""

    z_um: float  # output of the network for the particle of the crop, which is subtracted
    ln_s: float  # the same for the logarithm of the polarizability
    dz: tuple[float, float]  # precision in pixels: its floor, and its increase per noise of s
    dy: tuple[float, float]


def serialize(model: nets.HologramNet, half: int, scale: HologramScale) -> bytes:
    """The `.onnx` file's content.

    The input is `field`, float32 (2, y, x): real and imaginary part minus the background. The
    output `answer` (1, 8, h', w') holds dy, dx (pixels from the centre of the cell), rho, z
    (pixels), s (strength relative to the crop), and standard deviations of z, y and x (pixels). The
    output `noise` () is the standard deviation of the noise of real or imaginary part.

    Parameters
    ----------
    half : number of planes on each side of the focal plane.
    """
    from onnx import checker, helper

    g = Graph()
    planes_um = (nets.SPACING_UM * np.arange(-half, half + 1)).astype(np.float32)
    _constants(g, model, planes_um)
    _planes(g)
    _noise(g, half)
    _see(g)
    layers(g, model.net, "seen", "cells")
    _pool(g, scale)
    graph = helper.make_graph(
        g.nodes,
        "hologram",
        [helper.make_tensor_value_info("field", FLOAT, [2, "y", "x"])],
        [
            helper.make_tensor_value_info("answer", FLOAT, [1, OUTPUTS, "cells_y", "cells_x"]),
            helper.make_tensor_value_info("noise", FLOAT, []),
        ],
        g.constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR
    made.producer_name, made.producer_version = "livespt", ""
    checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString(deterministic=True))


def _constants(g: Graph, model: nets.HologramNet, planes_um: NDArray[np.float32]) -> None:
    m = model.microscope
    numbers = {
        "zero": 0.0, "one": 1.0, "stride": nets.STRIDE, "middle": (nets.STRIDE - 1) / 2,
        "around": 2 * np.pi, "margin": nets.MARGIN_PX, "pixel_um": m.pixel_um,
        "k": m.k, "k_square": m.k**2, "k_pupil": m.k_pupil, "k_pupil_square": m.k_pupil**2,
        "clip": nets.ENERGY_CLIP, "parts": 2 * nets.CLIPPED_MEAN, "least": nets.MIN_ENERGY,
        "scale": nets.INPUT_SCALE, "spacing": nets.SPACING_UM,
    }  # fmt: skip
    for name, value in numbers.items():
        g.constant(name, np.float32(value))
    for name, axes in (("front", [0]), ("second", [1])):
        g.constant(name, np.array(axes, np.int64))
    g.constant("planes", planes_um[:, None, None])
    g.constant("planes_z", planes_um[:, None, None, None])
    g.constant("numbers", np.arange(len(planes_um)).reshape(-1, 1, 1, 1))


def _planes(g: Graph) -> None:
    """`hologram.Planes`: "field" to "real" and "imaginary" (p, y/2, x/2)."""
    g.add("Shape", ["field"], "shape")
    for axis, name in ((1, "y"), (2, "x")):
        _axis(g, axis, name)
    for part, index in (("re", 0), ("im", 1)):
        g.add("Gather", ["field", g.constant(f"part_{part}", np.int64(index))], part, axis=0)
    # transform first along x: (y, x) (x, kx), then along y: (ky, y) (y, kx)
    _rotate(g, ("re", "im"), ("to_cos_x", "to_sin_x"), "row", -1, left=False, flip=True)
    _rotate(g, ("row_re", "row_im"), ("to_cos_y", "to_sin_y"), "wave", -1, left=True)
    g.add("Add", ["square_y", "square_x"], "square")
    g.add("Sub", ["k_square", "square"], "along_square")
    g.add("Max", ["along_square", "zero"], "along_some")
    g.add("Sqrt", ["along_some"], "along")
    g.add("Sub", ["along", "k"], "slow")
    g.add("Less", ["square", "k_pupil_square"], "within")
    g.add("Cast", ["within"], "pupil", to=FLOAT)
    g.add("Mul", ["planes", "slow"], "turn")
    for part in ("Cos", "Sin"):
        g.add(part, ["turn"], f"turn_{part}")
        g.add("Mul", [f"turn_{part}", "pupil"], f"factor_{part}")
    for a, b, to in (("re", "im", "Sub"), ("im", "re", "Add")):
        g.add("Mul", [f"wave_{a}", "factor_Cos"], f"kept_{a}")
        g.add("Mul", [f"wave_{b}", "factor_Sin"], f"turned_{a}")
        g.add(to, [f"kept_{a}", f"turned_{a}"], f"plane_{a}")
    _rotate(g, ("plane_re", "plane_im"), ("back_cos_x", "back_sin_x"), "half", 1, left=False,
            flip=True)  # fmt: skip
    _rotate(g, ("half_re", "half_im"), ("back_cos_y", "back_sin_y"), "cell", 1, left=True)


def _axis(g: Graph, axis: int, name: str) -> None:
    """Cosines and sines of one axis: "to" (waves, pixels) and "back" (cells, waves)."""

    def op(kind: str, inputs: str, output: str, **attributes: int) -> None:
        """Add a node; names that end with `_` belong to this axis."""
        named = [i + name if i.endswith("_") else i for i in inputs.split()]
        g.add(kind, named, f"{output}_{name}", **attributes)

    g.constant(f"axis_{name}", np.int64(axis))
    op("Gather", "shape axis_", "length")
    op("Cast", "length_", "size", to=FLOAT)
    op("Add", "size_ margin", "wide")
    op("Mul", "wide_ pixel_um", "width")
    op("Div", "around width_", "step")  # radians per micrometre
    op("Div", "k_pupil step_", "most")
    op("Floor", "most_", "last")
    op("Neg", "last_", "first")
    op("Add", "last_ one", "end")
    op("Range", "first_ end_ one", "index")
    op("Mul", "index_ step_", "waves")
    op("Unsqueeze", "waves_ second", "column")
    op("Mul", "waves_ waves_" if name == "x" else "column_ column_", "square")
    op("Range", "zero size_ one", "pixels")
    op("Mul", "pixels_ pixel_um", "places")
    op("Mul", "column_ places_", "phase")
    op("Div", "one wide_", "share")
    op("Div", "size_ stride", "pairs")
    op("Floor", "pairs_", "count")
    op("Range", "zero count_ one", "grid")
    op("Mul", "grid_ stride", "firsts")
    op("Add", "firsts_ middle", "centres")
    op("Mul", "centres_ pixel_um", "cells")
    op("Unsqueeze", "cells_ second", "tall")
    op("Mul", "tall_ waves_", "back")
    for kind, part in (("Cos", "cos"), ("Sin", "sin")):
        op(kind, "phase_", f"plain_{part}")
        op("Mul", f"plain_{part}_ share_", f"to_{part}")
        op(kind, "back_", f"back_{part}")


def _rotate(
    g: Graph,
    source: tuple[str, str],
    matrix: tuple[str, str],
    output: str,
    sign: int,
    *,
    left: bool,
    flip: bool = False,
) -> None:
    """Complex product with cos + `sign` i sin, from the left or, with `flip`, from the right."""
    cos, sin = matrix
    if flip:
        cos, sin = (g.add("Transpose", [m], f"{m}_flipped", perm=[1, 0]) for m in matrix)

    def times(part: str, by: str) -> str:
        return g.add("MatMul", [by, part] if left else [part, by], f"{output}_{part}_{by}")

    re, im = source
    g.add("Sub" if sign > 0 else "Add", [times(re, cos), times(im, sin)], f"{output}_re")
    g.add("Add" if sign > 0 else "Sub", [times(im, cos), times(re, sin)], f"{output}_im")


def _noise(g: Graph, half: int) -> None:
    """`HologramNet.noise`: "cell_re", "cell_im" to "energy" (p, 1, h', w') and "noise"."""
    for part in ("re", "im"):
        g.add("Unsqueeze", [f"cell_{part}", "second"], part + "_cells")
        g.add("Mul", [part + "_cells", part + "_cells"], part + "_energy")
    g.add("Add", ["re_energy", "im_energy"], "energy")
    mean = g.add("ReduceMean", ["energy"], "mean_0", axes=[2, 3])
    for k in range(nets.ROUNDS):
        limit = g.add("Mul", [mean, "clip"], f"limit_{k}")
        clipped = g.add("Min", ["energy", limit], f"clipped_{k}")
        mean = g.add("ReduceMean", [clipped], f"mean_{k + 1}", axes=[2, 3])
    g.add("Add", ["mean_0", "least"], "whole")
    g.add("Div", [mean, "whole"], "shares")
    g.add("ReduceMin", ["shares"], "share", keepdims=0)
    g.add("Gather", ["mean_0", g.constant("focal", np.array(half))], "here", axis=0)
    g.add("Div", ["here", "parts"], "half_here")
    g.add("Mul", ["half_here", "share"], "variance")
    g.add("Add", ["variance", "least"], "variance_some")
    g.add("Sqrt", ["variance_some"], "spread")
    g.add("ReduceMax", ["spread"], "noise", keepdims=0)


def _see(g: Graph) -> None:
    """Input of the network, "seen" (p, 3, h', w'), and its "amplitude" (p, 1, h', w')."""
    box, half, source = nets.AMPLITUDE_BOX, nets.AMPLITUDE_BOX // 2, "energy"
    for name, kernel, pads in (
        ("tall_mean", [box, 1], [half, 0, half, 0]),
        ("local", [1, box], [0, half, 0, half]),
    ):
        g.add("AveragePool", [source], name, kernel_shape=kernel, pads=pads, count_include_pad=0)
        source = name
    g.add("Add", ["local", "least"], "local_some")
    g.add("Sqrt", ["local_some"], "amplitude")
    g.add("Sqrt", ["energy"], "modulus")
    g.add("Concat", ["re_cells", "im_cells", "modulus"], "channels", axis=1)
    g.add("Div", ["channels", "amplitude"], "relative")
    g.add("Mul", ["relative", "scale"], "seen")


def _pool(g: Graph, scale: HologramScale) -> None:
    """Pool "cells" (p, 5, h', w') over planes, correct it by `scale`, and give "answer"."""
    for k, name in enumerate(("said_dy", "said_dx", "said_rho", "said_z", "said_s")):
        g.add("Gather", ["cells", g.constant(f"pick_{k}", np.array([k]))], name, axis=1)
    g.add("Mul", ["said_z", "spacing"], "apart_z")
    g.add("Add", ["apart_z", "planes_z"], "true_z")
    g.add("Log", ["amplitude"], "amplitude_log")
    g.add("Add", ["said_s", "amplitude_log"], "true_s")
    half = nets.PEAK_CELLS // 2
    g.add("MaxPool", ["energy"], "strongest", kernel_shape=[nets.PEAK_CELLS] * 2, pads=[half] * 4)
    g.add("Mul", ["noise", "noise"], "noise_square")
    g.add(
        "Mul", ["noise_square", g.constant("both", np.float32(2))], "noise_energy"
    )  # of both parts
    g.add("Div", ["strongest", "noise_energy"], "stands_out")
    g.add("Sub", [g.constant("clear", np.float32(nets.CLEAR_ENERGY)), "stands_out"], "unclear")
    g.add("Relu", ["unclear"], "lacks")
    g.add("Sub", ["said_rho", "lacks"], "clear_rho")
    g.add("ArgMax", ["clear_rho"], "best", axis=0)
    g.add("Sub", ["numbers", "best"], "from_best")
    g.add("Abs", ["from_best"], "distance")
    g.add("Less", ["distance", g.constant("two", np.int64(2))], "is_near")
    g.add("Cast", ["is_near"], "near", to=FLOAT)
    g.add("Sigmoid", ["clear_rho"], "likely")
    g.add("Mul", ["likely", "near"], "weight")
    g.add("ReduceSum", ["weight", "front"], "weights")
    g.add("Div", ["weight", "weights"], "normal")
    for source, name in (("said_dy", "dy"), ("said_dx", "dx"), ("true_z", "z"), ("true_s", "ln")):
        g.add("Mul", [source, "normal"], f"{name}_share")
        g.add("ReduceSum", [f"{name}_share", "front"], f"{name}_mean")
    g.add("ReduceMax", ["clear_rho"], "rho", axes=[0])
    g.add("Sub", ["z_mean", g.constant("z_offset", np.float32(scale.z_um))], "z_um")
    g.add("Div", ["z_um", "pixel_um"], "z_px")
    g.add("Sub", ["ln_mean", g.constant("ln_offset", np.float32(scale.ln_s))], "ln_s")
    g.add("Exp", ["ln_s"], "s")
    g.add("Div", ["noise", "s"], "noise_share")
    for name, (floor, slope) in (("dz", scale.dz), ("dy", scale.dy)):
        g.add("Mul", ["noise_share", g.constant(f"{name}_slope", np.float32(slope))], f"{name}_own")
        g.add("Mul", [f"{name}_own", f"{name}_own"], f"{name}_square")
        g.add("Add", [f"{name}_square", g.constant(f"{name}_floor", np.float32(floor**2))],
              f"{name}_variance")  # fmt: skip
        g.add("Sqrt", [f"{name}_variance"], f"{name}_spread")
    names = ["dy_mean", "dx_mean", "rho", "z_px", "s", "dz_spread", "dy_spread", "dy_spread"]
    g.add("Concat", names, "answer", axis=1)
