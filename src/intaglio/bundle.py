"""A model that can run: the graphs of a model file in ONNX Runtime, behind the parts that the traversal asks for.

What chooses coding tables are the model's integer networks, exact on every machine (see `intaglio.integer`);
analysis and synthesis are float networks, whose last digits may differ.
"""

from __future__ import annotations

import numbers
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intaglio import gains, modelfile, quantiser, runtimes, ycbcr
from intaglio.errors import ArgumentError, IntaglioError, ModelError
from intaglio.given import KINDS
from intaglio.integer import CELL, GIVEN, HYPER, LEVELS, Network, Reference, from_arrays, step_names, to_onnx
from intaglio.modelfile import MAX_LOC, WITHOUT_HYPERPRIOR, ModelFile
from intaglio.quality import MAX_RATE, RATES
from intaglio.rans import Tables
from intaglio.scales import LOC_STEPS
from intaglio.traversal import HYPER_SCALE, Layout

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Steps = Sequence[Callable[[Any, Floats, int], tuple[Floats, NDArray[np.uint8]]]]
LATENT_SCALE = 16  # pixels per latent
MAX_COUNT = 4096  # latent channels, slices of them, or latents of halo, of any model of ours
EXACT = "onnxruntime"  # what runs the integer networks
BLIND = 128  # what the networks of a blind model see of the given picture


@dataclass(frozen=True)
class Window:
    """Part of a picture for the analysis.

    pixels: uint8 (H,W,3), sides multiples of 16. keep: (top, left, height, width) in latents, the part of y that is
    wanted; what lies around it only lends its neighbourhood. given: the same part of the given planes, uint8 (H,W,G).
    """

    pixels: Pixels
    keep: tuple[int, int, int, int]
    given: Pixels | None = None


@dataclass(frozen=True)
class Output:
    """What a graph has to return: dtype, shape (None: any side), and no value beyond `limit` on either side of 0."""

    dtype: type[np.generic]
    shape: tuple[int | None, ...]
    limit: float = 2.0**24  # float32 holds all integers up to there; NaN and infinity are beyond it


class Model:
    """A model of a model file, runnable; its methods are the parts that `intaglio.traversal.Net` names.

    Sessions are made when first used, so that decoding loads no encoder graph. Safe to share between threads. Every
    part raises ModelError if its graph cannot be loaded, fails, or returns what such a graph cannot.
    """

    def __init__(self, file: ModelFile, threads: int | None = None, runtime: str | None = None) -> None:
        """`threads`: for the networks, default all cores; `runtime`: see `intaglio.runtimes.checked`. Raises ModelError
        if tables or configuration do not fit, ArgumentError for a wrong argument.
        """
        self.file, asked = file, runtimes.checked(runtime)
        self.name, self.model_id = file.name, file.model_id
        self.threads = _checked_threads(threads)
        try:
            self.tables = Tables.from_arrays(
                {key: _native_order(file.arrays[f"tables.{key}"]) for key in ("first", "sizes", "frequencies")}
            )
            self.layout = _layout(file.config)
            self.halo = _count(file.config["halo"], 0)
            self.fixed_rate = _count(file.config["rate"], 0, MAX_RATE) if "rate" in file.config else None
            self.has_hyper = WITHOUT_HYPERPRIOR not in file.arrays
            self.given = _given_kind(file)
            self.runtime = runtimes.EXACT if self.given else asked  # 8 bits would blur what follows a given picture
            self.quantiser = quantiser.of_config(file.config, self.tables, self.has_hyper)
            self._gains = _gains(file, self.layout)
            self.has_feedback = "feedback" in file.graphs
            self.blind = bool(file.config.get("blind", False))
            if self.has_hyper:
                self._z_rows = _checked_rows(file.arrays["z_rows"], len(self.tables))
            else:
                self._prior = _Prior.of(file.arrays, self.layout, len(self.tables))
        except KeyError as error:
            raise ModelError(f"model {file.name!r} does not fit together: it has no {error}") from None
        except (TypeError, ValueError, IntaglioError) as error:
            raise ModelError(f"model {file.name!r} does not fit together: {error}") from None
        self._sessions: dict[str, runtimes.Session] = {}
        self._lock = threading.Lock()

    def run(self, graph: str, inputs: dict[str, NDArray[Any]], *outputs: Output) -> list[NDArray[Any]]:
        """Runs one graph; a model file is hostile input, so what it returns is held against `outputs` (ModelError)."""
        with self._lock:
            session = self._sessions.get(graph)
            if session is None:
                data, runtime = self.file.graphs.get(graph), self.runtime
                if data is None:  # made of integers, whose sums must be exact
                    data, runtime = to_onnx(self.network(graph)), runtimes.EXACT
                session = self._sessions[graph] = runtimes.session(data, self.threads, runtime)
        try:
            found = session.run(inputs)
        except Exception as error:  # the runtimes raise classes of their own that derive from Exception alone
            raise ModelError(f"graph {graph!r} of model {self.name!r} failed: {runtimes.first_line(error)}") from None
        if len(found) != len(outputs) or not all(map(_fits, found, outputs)):
            raise ModelError(f"graph {graph!r} of model {self.name!r} returned what is no output of such a graph")
        return found

    def network(self, name: str) -> Network:
        """One of the integer networks, `hyper_synthesis` or `context_0`, .. Raises ModelError."""
        arrays = {key: value for key, value in self.file.arrays.items() if key.startswith(f"{name}.")}
        return from_arrays(name, {key: _native_order(value) for key, value in arrays.items()}, self.layout)

    def analysis(self, x: Window, rate: int) -> Floats:
        """Picture to y, float32 (1, M, h, w)."""
        grid = x.pixels.shape[0] // LATENT_SCALE, x.pixels.shape[1] // LATENT_SCALE
        output = Output(np.float32, (1, self.layout.channels, *grid))
        (y,) = self.run("analysis", {"pixels": x.pixels[None], **self._seen(x.given), "rate": _rate(rate)}, output)
        top, left, height, width = x.keep
        return np.ascontiguousarray(y[:, :, top : top + height, left : left + width])

    def feedback(self, error: Floats, rate: int) -> Floats:
        """What an error of the decoded picture, float32 (16h,16w,3), 0..255, is in y, float32 (1, M, h, w); only of a
        model that has this graph.
        """
        grid = error.shape[0] // LATENT_SCALE, error.shape[1] // LATENT_SCALE
        output = Output(np.float32, (1, self.layout.channels, *grid))
        return self.run("feedback", {"error": error[None], "rate": _rate(rate)}, output)[0]

    def hyper_analysis(self, y: Floats, rate: int) -> Floats:
        """y to z, float32 (1, C, h/4, w/4)."""
        grid = y.shape[2] // HYPER_SCALE, y.shape[3] // HYPER_SCALE
        output = Output(np.float32, (1, self._z_rows.shape[1], *grid))
        return self.run("hyper_analysis", {"y": y, "rate": _rate(rate)}, output)[0]

    def z_rows(self, rate: int) -> Floats:
        """Table row of each channel of z, (1, C, 1, 1)."""
        return self._z_rows[rate][None, :, None, None].astype(np.float32)

    def hyper_synthesis(self, z_hat: Floats, rate: int) -> Floats:
        """z_hat to side information, whole numbers in float32 (1, S, h, w)."""
        output = Output(np.float32, (1, None, HYPER_SCALE * z_hat.shape[2], HYPER_SCALE * z_hat.shape[3]), LEVELS)
        return self.run("hyper_synthesis", {"z_hat": z_hat, "rate": _rate(rate)}, output)[0]

    def gains(self, side: Floats, rate: int) -> tuple[Floats, Floats] | None:
        """What y and y_hat are multiplied by, float32 (1, M, h, w); None for a model without gains."""
        return None if self._gains is None else self._gains.of(side, rate)

    def given_side(self, side: Floats, given: Pixels, rate: int) -> Floats:
        """Side information followed by that of the given planes, uint8 (16h,16w,G), whole numbers in (1, S', h, w)."""
        seen = self._seen(given)["given"].transpose(0, 3, 1, 2).astype(np.float32)
        output = Output(np.float32, (1, None, *side.shape[2:]), LEVELS)
        (more,) = self.run(GIVEN, {"given": seen, "rate": _rate(rate)}, output)
        return np.concatenate([side, more], axis=1)

    @property
    def context_steps(self) -> Steps:
        """The context steps: (side, y_hat, rate) to loc, float32, and index, uint8, of the step's slice of y."""
        if not self.has_hyper:
            return [self._prior]
        return [_Step(self, name, number) for number, name in enumerate(step_names(self.layout))]

    def synthesis(self, y_hat: Floats, rate: int, given: Pixels | None = None) -> Pixels:
        """y_hat (1, M, h, w), and the given planes uint8 (16h, 16w, G), to pixels, uint8 (16h, 16w, 3)."""
        size = 1, LATENT_SCALE * y_hat.shape[2], LATENT_SCALE * y_hat.shape[3]
        inputs = {"y_hat": y_hat, **self._seen(given), "rate": _rate(rate)}
        if given is None or self.given != "luma":
            return self.run("synthesis", inputs, Output(np.uint8, (*size, 3)))[0][0]
        (chroma,) = self.run("synthesis", inputs, Output(np.float32, (*size, 2), 255.0))
        return ycbcr.to_rgb(given[:, :, 0], chroma[0])

    def _seen(self, given: Pixels | None) -> dict[str, Pixels]:
        """What the graphs see of the given planes."""
        if given is None:
            return {}
        return {"given": np.full_like(given, BLIND)[None] if self.blind else given[None]}


@dataclass(frozen=True)
class _Step:
    model: Model
    graph: str
    number: int

    def __call__(self, side: Floats, y_hat: Floats, rate: int) -> tuple[Floats, NDArray[np.uint8]]:
        layout = self.model.layout
        _, _, *grid = y_hat[layout.parts(self.number)[0]].shape
        shape = 1, sum(layout.widths(self.number)), *grid
        outputs = Output(np.float32, shape), Output(np.uint8, shape, len(self.model.tables) - 1)
        loc, index = self.model.run(self.graph, {"side": side, "y_hat": y_hat, "rate": _rate(rate)}, *outputs)
        return loc, index


@dataclass(frozen=True)
class _Prior:
    """The one step of a model without hyperprior: a mean and a table for each channel, (1,M,1,1)."""

    loc: Floats
    rows: NDArray[np.uint8]

    @staticmethod
    def of(arrays: Mapping[str, NDArray[Any]], layout: Layout, tables: int) -> _Prior:
        loc, rows = arrays["y_loc"], arrays["y_rows"]
        kinds = (loc.dtype.newbyteorder("="), rows.dtype, loc.shape, rows.shape)
        if kinds != (np.int32, np.uint8, (layout.channels,), (layout.channels,)) or rows.max() >= tables:
            raise ValueError(f"y_loc and y_rows are not int32 and uint8 ({layout.channels},), rows below {tables}")
        if loc.min() <= -MAX_LOC or loc.max() >= MAX_LOC:
            raise ValueError(f"y_loc reaches from {loc.min()} to {loc.max()}; it must stay within +-{MAX_LOC - 1}")
        if layout.steps != 1:
            raise ValueError(f"y_rows knows one step, not {layout.steps}")
        return _Prior((loc[:, None, None] / np.float32(LOC_STEPS)).astype(np.float32)[None], rows[None, :, None, None])

    def __call__(self, side: None, y_hat: Floats, rate: int) -> tuple[Floats, NDArray[np.uint8]]:
        loc, rows = np.broadcast_to(self.loc, y_hat.shape), np.broadcast_to(self.rows, y_hat.shape)
        return np.ascontiguousarray(loc), np.ascontiguousarray(rows)


class ReferenceModel:
    """The decoding parts of a model before the synthesis, run by the slow reference of the integer networks."""

    def __init__(self, model: Model) -> None:
        """Raises ModelError if the model's integer networks do not fit."""
        self.layout, self.has_hyper, self.tables = model.layout, model.has_hyper, model.tables
        self.z_rows, self.context_steps = model.z_rows, model.context_steps
        self._blind, self._shift = model.blind, model.file.arrays.get(gains.ARRAY)
        if model.has_hyper:
            self._hyper = Reference(model.network(HYPER))
            self.context_steps = [Reference(model.network(each)).step for each in step_names(model.layout)]
        if model.given:
            self._given = Reference(model.network(GIVEN))

    def hyper_synthesis(self, z_hat: Floats, rate: int) -> Floats:
        """As `Model.hyper_synthesis`."""
        return self._hyper.hyper_synthesis(z_hat, rate)

    def gains(self, side: Floats, rate: int) -> tuple[Floats, Floats] | None:
        """As `Model.gains`, by powers instead of a table, channel by channel."""
        if self._shift is None:
            return None
        place = np.minimum(side[:, -gains.BANDS :].astype(np.int64) * 2 ** int(self._shift[rate]), gains.MOST)
        power = np.stack([place[:, band] for band in gains.bands(self.layout)], 1).astype(np.float64) - gains.NONE
        return np.exp2(power / gains.OCTAVE).astype(np.float32), np.exp2(-power / gains.OCTAVE).astype(np.float32)

    def given_side(self, side: Floats, given: Pixels, rate: int) -> Floats:
        """As `Model.given_side`."""
        seen = np.full_like(given, BLIND) if self._blind else given
        more = self._given.given(seen.transpose(2, 0, 1)[None].astype(np.float32), rate)
        return np.concatenate([side, more], axis=1)


def _fits(found: Any, wanted: Output) -> bool:
    """Whether a graph's output has the dtype, shape and values wanted of it."""
    if not isinstance(found, np.ndarray) or found.dtype != wanted.dtype or found.ndim != len(wanted.shape):
        return False
    if any(side not in (None, got) for side, got in zip(wanted.shape, found.shape, strict=True)):
        return False
    return found.size > 0 and bool(
        found.max() <= wanted.limit and (wanted.dtype == np.uint8 or found.min() >= -wanted.limit)
    )


def _checked_rows(rows: NDArray[Any], tables: int) -> NDArray[Any]:
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[0] != RATES or not rows.size or rows.max() >= tables:
        raise ValueError(f"the table rows for z are not uint8 ({RATES}, channels), each below {tables}")
    return rows


def _given_kind(file: ModelFile) -> str | None:
    """What is given to the model, or None."""
    kind = file.config.get("given_kind")
    first = file.arrays.get(f"{GIVEN}.first.weight")
    planes = 0 if first is None or first.ndim != 4 else first.shape[1] // CELL**2
    if planes != (0 if kind is None else KINDS.get(kind) if isinstance(kind, str) else None):
        raise ValueError(f"given_kind is {kind!r}, and the network for it sees {planes} planes")
    return kind


def _gains(file: ModelFile, layout: Layout) -> gains.Gains | None:
    """The gains of y, if the model has any."""
    shift, last = file.arrays.get(gains.ARRAY), file.arrays.get(f"{HYPER}.to_full.weight")
    if shift is None:
        return None
    if last is None or last.shape[0] < 4 * gains.BANDS:
        raise ValueError(f"{gains.ARRAY} is for models with side information in {gains.BANDS} channels or more")
    return gains.Gains(layout, shift)


def _count(value: object, least: int, most: int = MAX_COUNT) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{value!r} is not a whole number from {least} to {most}")
    return value


def _layout(config: Mapping[str, Any]) -> Layout:
    """`order` and `slices` are left out of the configuration where they are the default."""
    return Layout(_count(config["latent"], 1), str(config.get("order", "quad")), _count(config.get("slices", 1), 1))


def _rate(rate: int) -> NDArray[np.int64]:
    return np.array([rate], np.int64)


def _native_order(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _checked_threads(threads: int | None) -> int:
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(threads, bool) or not isinstance(threads, numbers.Integral) or not 1 <= threads <= 1024:
        raise ArgumentError(f"threads is {threads!r}; it must be a whole number from 1 to 1024")
    return int(threads)


def shipped_models() -> dict[str, Path]:
    """Name and file of the models inside the package, that of most files first."""
    files = (Path(__file__).parent / "weights").glob("*.itgm")
    return {path.stem: path for path in sorted(files, key=lambda path: (path.stem != "photo", path.stem))}


def read_model_file(name_or_path: str | os.PathLike[str]) -> ModelFile:
    """The model file of a shipped model's name or of a path. Raises ModelError if there is none or it is damaged,
    ArgumentError for another type.
    """
    if not isinstance(name_or_path, (str, os.PathLike)):
        raise ArgumentError(
            f"model is of type {type(name_or_path).__name__}; it must be a name, a path or a loaded model"
        )
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


_CACHE: dict[tuple[str, int, str], Model] = {}
_CACHE_LOCK = threading.Lock()


def load_model(
    name_or_path: str | os.PathLike[str] = "photo", threads: int | None = None, runtime: str | None = None
) -> Model:
    """A runnable model: a shipped model's name or the path of a .itgm file. Shipped ones are kept for the next call.

    threads: for the networks, default all cores. runtime: "onnxruntime" or "openvino", see `intaglio.runtimes`; by
    default what the environment variable INTAGLIO_RUNTIME says, else the former. Raises ModelError, and ArgumentError
    for a wrong argument.
    """
    name = str(name_or_path)
    if name not in shipped_models():
        return Model(read_model_file(name_or_path), threads, runtime)
    key = (name, _checked_threads(threads), runtimes.checked(runtime))
    with _CACHE_LOCK:
        if key not in _CACHE:
            _CACHE[key] = Model(read_model_file(name), threads, key[2])
        return _CACHE[key]


def model_for(model_id: bytes, threads: int | None = None) -> Model:
    """The shipped model that a picture file names. Raises ModelError saying which one is needed."""
    for name in shipped_models():
        model = load_model(name, threads)
        if model.model_id == model_id:
            return model
    known = ", ".join(f"{name} ({load_model(name, threads).model_id.hex()})" for name in shipped_models()) or "none"
    raise ModelError(
        f"the file needs model {model_id.hex()}, which is not installed (installed: {known}); "
        "use a newer Intaglio, or name its .itgm file"
    )
