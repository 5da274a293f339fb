"""A session: a model file, checked against its card, and its session in ONNX Runtime.

A model is two files, `NAME.onnx` and its card `NAME.json`. It is trusted if it is shipped, or was
made or named by the user, and if its SHA-256 is that of the card: an altered file may load and give
meaningless results. No provider is substituted silently. "auto" uses CUDA if CUDA works, and
`Session.provider` states which provider is in use; "cuda" is refused if it does not work.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from livespt.models.runtime import onnx_file
from livespt.models.runtime.card import read_card
from livespt.stream.errors import ModelError

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Session:
    """A session of ONNX Runtime, and the card of its model.

    Attributes
    ----------
    path : Path
    card : dict
    provider : str
        Provider in use: "cpu" or "cuda".
    threads : int
    """

    def __init__(self, path: Path, card: dict[str, Any], ort: Any, provider: str, threads: int):
        self.path = path
        self.card = card
        self.provider = provider
        self.threads = threads
        self._ort = ort
        self._inputs = [node.name for node in ort.get_inputs()]
        nodes = [*ort.get_inputs(), *ort.get_outputs()]
        shapes = {node.name: node.shape for node in nodes}
        self._width = {k: v[-1] for k, v in shapes.items() if v and isinstance(v[-1], int)}

    @property
    def name(self) -> str:
        """Name of the model, from its card."""
        return str(self.card["name"])

    @property
    def sha256(self) -> str:
        """SHA-256 of the model file, 64 hexadecimal digits."""
        return str(self.card["sha256"])

    def width(self, name: str) -> int:
        """Size of the last axis of the input or output `name`.

        Raises
        ------
        KeyError : the graph has no such input or output, or its width is not fixed.
        """
        return self._width[name]

    def run(self, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
        """Compute all outputs; `arrays` holds one array for each input, in the graph's order."""
        return self.named(None, arrays)

    def named(
        self, outputs: Sequence[str] | None, arrays: Sequence[NDArray[Any]]
    ) -> list[NDArray[Any]]:
        """Compute only these `outputs`; None: all of them. `arrays` are as in `run`."""
        if len(arrays) != len(self._inputs):
            raise ModelError(f"{self.name} takes {len(self._inputs)} arrays, got {len(arrays)}")
        feed = dict(zip(self._inputs, arrays, strict=True))
        try:
            return cast("list[NDArray[Any]]", self._ort.run(outputs, feed))
        except _ort_errors() as error:
            shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
            raise ModelError(f"{self.name} does not run on {shapes}: {_one_line(error)}") from error


def open_session(
    path: str | Path, provider: str = "auto", threads: int = 1, task: str | None = None
) -> Session:
    """Check a model file against its card, and open it in ONNX Runtime.

    Parameters
    ----------
    path : path of the `.onnx` file, next to its card, or the bare name of a shipped model.
    provider : "auto", "cpu" or "cuda".
    threads : threads for one operation.
    task : task that the card must name; None: any.

    Raises
    ------
    ModelError : file or card is missing, they do not match, the task is another one, or the
        provider is not available.
    """
    path = Path(path)
    if not path.suffix and len(path.parts) == 1:
        path = shipped(path.name)
    if provider not in ("auto", *PROVIDERS):
        raise ModelError(f"unknown provider '{provider}': use auto, cpu or cuda")
    if threads < 1:
        raise ModelError(f"a model runs on at least 1 thread, got {threads}")
    if not path.is_file():
        raise ModelError(f"no model file {path}")
    card = read_card(path)
    if path.stat().st_size > onnx_file.MAX_BYTES:
        raise ModelError(f"{path} is larger than {onnx_file.MAX_BYTES >> 30} GB: it is not a model")
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != card["sha256"]:
        raise ModelError(
            f"{path} is not the file that its card describes (SHA-256 {digest[:12]}..., card "
            f"{str(card['sha256'])[:12]}...): it is corrupt or was changed; get or train it again"
        )
    if task is not None and card["task"] != task:
        raise ModelError(f"{path} is a model for '{card['task']}', not for '{task}'")
    try:
        onnx_file.check_file(content)
    except ModelError as error:
        raise ModelError(f"{path} does not load as a model: {error}") from error
    ort, running = _start(path, content, provider, threads, _overflows(card))
    return Session(path, card, ort, running, threads)


def shipped(name: str) -> Path:
    """Path of the shipped model `name`.

    Raises
    ------
    ModelError : there is no shipped model of that name.
    """
    folder = Path(__file__).parents[1]  # weights and cards lie flat in models/
    names = sorted(path.stem for path in folder.glob("*.onnx"))
    if name not in names:  # the name may come from a run, so it must not be a path
        raise ModelError(f"no shipped model '{name}'; shipped: {', '.join(names) or 'none'}")
    return folder / f"{name}.onnx"


def _overflows(card: dict[str, Any]) -> bool:
    """Whether 8-bit weights need slower kernels here, since sums of two products exceed 16 bits.

    That is so on x86 processors without VNNI. Shipped networks have weights of 7 bits, which do
    not overflow anywhere; students of users made by earlier versions have 8.
    """
    if card.get("decoder") != "student" or card.get("weight_bits", 8) < 8:
        return False
    from llvmlite import binding

    features = binding.get_host_cpu_features()
    return "avx2" in features and not (features.get("avx512vnni") or features.get("avxvnni"))


def _start(path: Path, content: bytes, provider: str, threads: int, exact: bool) -> tuple[Any, str]:
    """Start a session; return it and the provider in use."""
    import onnxruntime

    if provider == "cuda" or (provider == "auto" and _has_nvidia_driver()):
        session = _create(path, content, "cuda", threads, exact)
        if session.get_providers()[0] == PROVIDERS["cuda"]:
            return session, "cuda"
        if provider == "cuda":
            built = PROVIDERS["cuda"] in onnxruntime.get_available_providers()
            why = "its libraries or the driver do not load" if built else "this build has no CUDA"
            raise ModelError(
                f"CUDA was requested but does not work here ({why}): use provider cpu or auto"
            )
    return _create(path, content, "cpu", threads, exact), "cpu"


def _create(path: Path, content: bytes, provider: str, threads: int, exact: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    # a spinning thread keeps a core busy that capture or the recorder needs
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    wanted: list[Any] = [PROVIDERS["cpu"]]
    if provider == "cuda" and PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        # with autotuning or TF32, two runs of the same frames would differ
        fixed = {"cudnn_conv_algo_search": "DEFAULT", "use_tf32": "0"}
        wanted.insert(0, (PROVIDERS["cuda"], fixed))
    onnxruntime.set_default_logger_severity(4)  # it prints a failed start of CUDA, which we report
    try:
        # without the fallback, which would try other providers and print messages
        return onnxruntime.InferenceSession(content, options, providers=wanted, enable_fallback=0)
    except _ort_errors() as error:
        raise ModelError(f"{path} does not load as a model: {_one_line(error)}") from error
    finally:
        onnxruntime.set_default_logger_severity(2)


def _has_nvidia_driver() -> bool:
    """Whether the CUDA driver loads; this test is fast, while a failing start of CUDA is slow."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def _ort_errors() -> tuple[type[Exception], ...]:
    """Exceptions that ONNX Runtime raises; they have no common base class."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    own = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel")
    more = ("NotImplemented", "RuntimeException", "EPFail")
    return (*(getattr(state, name) for name in own + more), ValueError, RuntimeError)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
