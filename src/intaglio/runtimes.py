"""What runs a model's graphs: ONNX Runtime; and, if asked for, OpenVINO for the float networks.

OpenVINO computes in bfloat16 where the machine has it, which is twice as fast as a whole and moves decoded samples by a
few levels of 255 (docs/models.md has what that costs). The integer networks, which choose coding tables, and models
of given pictures stay with ONNX Runtime in float32: what is coded with either decodes with both.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from intaglio.errors import ArgumentError, ModelError

VARIABLE = "INTAGLIO_RUNTIME"
EXACT = "onnxruntime"  # what runs the integer networks, and the rest unless another is asked for
RUNTIMES = (EXACT, "openvino")
Arrays = Mapping[str, NDArray[Any]]


class Session(Protocol):
    """A graph that can run, from several threads at a time."""

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """The graph's outputs in order; inputs that it does not have are left out. May raise anything."""
        ...


def checked(runtime: str | None) -> str:
    """The runtime asked for; None: what the environment variable INTAGLIO_RUNTIME says, else ONNX Runtime.

    Raises ArgumentError if there is none of that name, or it is not installed.
    """
    where = "runtime is" if runtime is not None else f"the environment variable {VARIABLE} is"
    found = runtime if runtime is not None else os.environ.get(VARIABLE) or EXACT
    if not isinstance(found, str) or found not in RUNTIMES:
        raise ArgumentError(f"{where} {found!r}; it must be one of {', '.join(RUNTIMES)}")
    if found == "openvino":
        try:
            import openvino  # noqa: F401
        except ModuleNotFoundError:
            wanted = "pip install 'intaglio[openvino]'"
            raise ArgumentError(f"{where} 'openvino', which is not installed: {wanted}") from None
        except Exception as error:  # whatever a broken installation raises
            raise ArgumentError(f"{where} 'openvino', which cannot be loaded: {first_line(error)}") from None
    return found


def session(graph: bytes, threads: int, runtime: str) -> Session:
    """A session for an ONNX graph. Raises ModelError if the runtime refuses the graph."""
    kind = _OpenVino if runtime == "openvino" else _OnnxRuntime
    try:
        return kind(graph, threads)
    except Exception as error:  # both raise classes of their own that derive from Exception or RuntimeError alone
        name = "OpenVINO" if runtime == "openvino" else "ONNX Runtime"
        raise ModelError(f"{name} refuses a graph of the model file: {first_line(error)}") from None


def first_line(error: Exception) -> str:
    """What an error says first, or its class's name."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class _OnnxRuntime:
    def __init__(self, graph: bytes, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # several sessions share the cores
        # would round what the integer networks multiply, where a machine can
        options.add_session_config_entry("mlas.enable_gemm_fastmath_arm64_bfloat16", "0")
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        self._names = {item.name for item in self._session.get_inputs()}

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """As `Session.run`."""
        found = self._session.run(None, {name: each for name, each in inputs.items() if name in self._names})
        return [np.asarray(each) for each in found]


class _OpenVino:
    def __init__(self, graph: bytes, threads: int) -> None:
        import openvino

        core = openvino.Core()
        fast = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "bf16" if fast else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        self._compiled = core.compile_model(core.read_model(graph), "CPU", options)
        self._names = {name for each in self._compiled.inputs for name in each.names}
        self._own = threading.local()

    def run(self, inputs: Arrays) -> list[NDArray[Any]]:
        """As `Session.run`; each thread has a request of its own."""
        if not hasattr(self._own, "request"):
            self._own.request = self._compiled.create_infer_request()
        missing = self._names - set(inputs)  # a request would take what an earlier call left there
        if missing:
            raise ValueError(f"required inputs are missing: {', '.join(sorted(missing))}")
        known = {name: np.ascontiguousarray(inputs[name]) for name in self._names}
        found = self._own.request.infer(known)
        return [np.array(found[output]) for output in self._compiled.outputs]
