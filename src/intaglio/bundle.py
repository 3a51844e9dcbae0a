"""A model that can run: the graphs of a model file in ONNX Runtime, behind the parts that the traversal asks for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from intaglio import modelfile
from intaglio.errors import ArgumentError, IntaglioError, ModelError
from intaglio.modelfile import ModelFile
from intaglio.quality import RATES
from intaglio.rans import Tables

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
LATENT_SCALE = 16  # pixels per latent
HYPER_SCALE = 4  # latents per hyper-latent


@dataclass(frozen=True)
class Window:
    """Part of a picture for the analysis.

    pixels: uint8 (H,W,3), sides multiples of 16. keep: (top, left, height, width) in latents, the part of y that is
    wanted; what lies around it only lends its neighbourhood.
    """

    pixels: Pixels
    keep: tuple[int, int, int, int]


class Model:
    """A model of a model file, runnable; its methods are the parts that `intaglio.traversal.Net` names.

    Sessions are made when first used, so that decoding loads no encoder graph. Safe to share between threads.
    """

    def __init__(self, file: ModelFile, threads: int | None = None) -> None:
        """`threads`: for the networks, default all cores. Raises ModelError if tables or configuration do not fit."""
        self.file = file
        self.name, self.model_id = file.name, file.model_id
        self.threads = _checked_threads(threads)
        try:
            arrays = {key.removeprefix("tables."): value for key, value in file.arrays.items()}
            self.tables = Tables.from_arrays(
                {key: _native_order(arrays[key]) for key in ("first", "sizes", "frequencies")}
            )
            self._z_rows = np.asarray(file.arrays["z_rows"])
            self.latent = int(file.config["latent"])
            self.halo = int(file.config["halo"])
        except (KeyError, TypeError, ValueError, IntaglioError) as error:
            raise ModelError(f"model {file.name!r} does not fit together: {error}") from None
        if self._z_rows.shape[:1] != (RATES,) or self._z_rows.ndim != 2 or self._z_rows.max() >= len(self.tables):
            raise ModelError(f"model {file.name!r} does not fit together: its table rows for z are wrong")
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()

    def _run(self, graph: str, inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        with self._lock:
            session = self._sessions.get(graph)
            if session is None:
                session = self._sessions[graph] = _session(self.file.graphs[graph], self.threads)
        wanted = {item.name for item in session.get_inputs()}
        try:
            return session.run(None, {name: value for name, value in inputs.items() if name in wanted})  # type: ignore[return-value]
        except Exception as error:  # ONNX Runtime raises classes of its own that derive from Exception alone
            raise ModelError(f"graph {graph!r} of model {self.name!r} failed: {_first_line(error)}") from None

    def analysis(self, x: Window, rate: int) -> Floats:
        """Picture to y, float32 (1, M, h, w)."""
        (y,) = self._run("analysis", {"pixels": x.pixels[None], "rate": _rate(rate)})
        top, left, height, width = x.keep
        return np.ascontiguousarray(y[:, :, top : top + height, left : left + width])

    def hyper_analysis(self, y: Floats, rate: int) -> Floats:
        """y to z, float32 (1, C, h/4, w/4)."""
        return self._run("hyper_analysis", {"y": y, "rate": _rate(rate)})[0]

    def z_rows(self, rate: int) -> Floats:
        """Table row of each channel of z, (1, C, 1, 1)."""
        return self._z_rows[rate][None, :, None, None].astype(np.float32)

    def hyper_synthesis(self, z_hat: Floats, rate: int) -> Floats:
        """z_hat to side information, float32 (1, S, h, w)."""
        return self._run("hyper_synthesis", {"z_hat": z_hat, "rate": _rate(rate)})[0]

    @property
    def context_steps(self) -> Sequence[Callable[[Floats, Floats, int], tuple[Floats, NDArray[np.uint8]]]]:
        """The context steps: (side, y_hat, rate) to loc, float32, and index, uint8, each (1, M, h/2, w/2)."""
        return [_Step(self, f"context_{number}") for number in range(4)]

    def synthesis(self, y_hat: Floats, rate: int) -> Pixels:
        """y_hat (1, M, h, w) to pixels, uint8 (16h, 16w, 3)."""
        return self._run("synthesis", {"y_hat": y_hat, "rate": _rate(rate)})[0][0]


@dataclass(frozen=True)
class _Step:
    model: Model
    graph: str

    def __call__(self, side: Floats, y_hat: Floats, rate: int) -> tuple[Floats, NDArray[np.uint8]]:
        loc, index = self.model._run(self.graph, {"side": side, "y_hat": y_hat, "rate": _rate(rate)})
        return loc, index


def _rate(rate: int) -> NDArray[np.int64]:
    return np.array([rate], np.int64)


def _native_order(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="))


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _checked_threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 1024:
        raise ArgumentError(f"threads is {threads!r}; it must be a whole number from 1 to 1024")
    return threads


def _session(graph: bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # several sessions share the cores
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see Model._run
        raise ModelError(f"ONNX Runtime refuses a graph of the model file: {_first_line(error)}") from None


def shipped_models() -> dict[str, Path]:
    """Name and file of the models inside the package."""
    folder = Path(__file__).parent / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.itgm"))}


def read_model_file(name_or_path: str | os.PathLike[str]) -> ModelFile:
    """The model file of a shipped model's name or of a path. Raises ModelError if there is none or it is damaged."""
    shipped = shipped_models()
    path = shipped.get(str(name_or_path)) or Path(name_or_path)
    try:
        if path.stat().st_size > modelfile.MAX_BYTES:
            raise ModelError(f"model {path}: larger than {modelfile.MAX_BYTES} bytes; that is no model of ours")
        data = path.read_bytes()
    except (OSError, ValueError):
        known = ", ".join(shipped) or "none"
        raise ModelError(
            f"there is no model {str(name_or_path)!r}; name a .itgm file or a shipped model: {known}"
        ) from None
    try:
        return modelfile.read(data)
    except ModelError as error:
        raise ModelError(f"model {path}: {error}") from None


_CACHE: dict[tuple[str, int], Model] = {}
_CACHE_LOCK = threading.Lock()


def load_model(name_or_path: str | os.PathLike[str] = "photo", threads: int | None = None) -> Model:
    """A runnable model: a shipped model's name or the path of a .itgm file. Shipped ones are kept for the next call.

    threads: for the networks, default all cores. Raises ModelError.
    """
    name = str(name_or_path)
    if name not in shipped_models():
        return Model(read_model_file(name_or_path), threads)
    key = (name, _checked_threads(threads))
    with _CACHE_LOCK:
        if key not in _CACHE:
            _CACHE[key] = Model(read_model_file(name), threads)
        return _CACHE[key]


def model_for(model_id: bytes, threads: int | None = None) -> Model:
    """The shipped model that a picture file names. Raises ModelError saying which one is needed."""
    for name in shipped_models():
        model = load_model(name, threads)
        if model.model_id == model_id:
            return model
    known = ", ".join(f"{name} ({load_model(name, threads).model_id.hex()})" for name in shipped_models()) or "none"
    raise ModelError(
        f"the file needs model {model_id.hex()}, which is not installed (installed: {known}); name its .itgm file"
    )
