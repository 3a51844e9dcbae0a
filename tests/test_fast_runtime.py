"""The optional runtime changes samples by little and what is coded not at all; what is wrong is said in one line."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import intaglio
from golden_files import Corpus
from intaglio import codec, runtimes, verify
from intaglio.bundle import Model, load_model
from intaglio.errors import ArgumentError, ModelError
from intaglio.runtimes import RUNTIMES, VARIABLE, Session, session

V1 = Corpus("v1")
LEVELS = 3  # that a sample may differ by
PSNR = 45.0  # of the decoded picture against the other runtime's, in dB: a deviation of 1.4 levels


@pytest.fixture(scope="module")
def fast() -> Model:
    return load_model(V1.folder / "small.itgm", 1, "openvino")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return V1.source("middle")


def _apart(a: np.ndarray, b: np.ndarray) -> tuple[int, float]:
    """The largest difference, and PSNR in dB."""
    error = a.astype(np.float64) - b
    return int(np.abs(error).max()), 10.0 * np.log10(255.0**2 / max(1e-9, float((error**2).mean())))


@pytest.mark.parametrize("name", V1.pictures)
def test_golden_files_have_the_same_latents_and_nearly_the_same_pixels(fast: Model, name: str) -> None:
    data, slow = V1.data(name), V1.model()
    assert np.array_equal(codec.decode_latents(data, model=fast), codec.decode_latents(data, model=slow))
    most, psnr = _apart(intaglio.decode(data, model=fast), intaglio.decode(data, model=slow))
    assert most <= LEVELS
    assert psnr >= PSNR


def test_a_file_of_either_runtime_decodes_with_the_other(photo: np.ndarray) -> None:
    runners = load_model("photo", 1), load_model("photo", 1, "openvino")
    assert runners[0] is not runners[1]
    decoded = []
    for runner in runners:
        data = intaglio.encode(photo, 60, model=runner)
        decoded += [intaglio.decode(data, model=other) for other in runners]
    worst = [_apart(each, photo)[1] for each in decoded]
    assert max(worst) - min(worst) < 0.1, f"PSNR {worst}"


def test_a_model_of_given_pictures_keeps_its_runtime(picture: np.ndarray) -> None:
    runners = load_model("colour", 1), load_model("colour", 1, "openvino")
    coded = [intaglio.encode(picture, 60, model=runner, given=picture) for runner in runners]
    assert coded[0] == coded[1]


def test_what_chooses_tables_is_exact(fast: Model) -> None:
    assert verify.selftest(fast).digest == verify.selftest(V1.model()).digest


def test_float_networks_run_in_it_and_integer_ones_do_not(picture: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, str] = {}
    model = load_model(V1.folder / "small.itgm", 1, "openvino")
    graphs = {data: name for name, data in model.file.graphs.items()}

    def spy(graph: bytes, threads: int, runtime: str) -> Session:
        asked[graphs.get(graph, f"integer {len(asked)}")] = runtime
        return session(graph, threads, runtime)

    monkeypatch.setattr(runtimes, "session", spy)
    intaglio.decode(intaglio.encode(picture, 50, model=model), model=model)
    floats = {name: runtime for name, runtime in asked.items() if not name.startswith("integer")}
    assert floats == dict.fromkeys(("analysis", "hyper_analysis", "synthesis"), "openvino")
    integers = [runtime for name, runtime in asked.items() if name.startswith("integer")]
    assert integers == ["onnxruntime"] * 5


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_input_that_is_missing_is_refused(runtime: str) -> None:
    model = load_model(V1.folder / "small.itgm", 1, runtime)
    with pytest.raises(ModelError, match=r"graph 'synthesis' .* failed: .*[Rr]equired inputs"):
        model.run("synthesis", {"rate": np.array([3])})


def test_several_threads_share_a_model(fast: Model) -> None:
    data = V1.data("middle")
    alone = intaglio.decode(data, model=fast)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda _: intaglio.decode(data, model=fast), range(8)))
    assert all(np.array_equal(each, alone) for each in together)


def test_the_environment_chooses_where_nobody_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    path = V1.folder / "small.itgm"
    monkeypatch.setenv(VARIABLE, "openvino")
    assert load_model(path, 1).runtime == "openvino"
    assert load_model(path, 1, "onnxruntime").runtime == "onnxruntime"
    monkeypatch.setenv(VARIABLE, "abacus")
    with pytest.raises(ArgumentError, match=r"INTAGLIO_RUNTIME is 'abacus'; it must be one of onnxruntime, openvino"):
        load_model(path, 1)


def test_an_unknown_or_missing_runtime_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentError, match="runtime is 'abacus'"):
        load_model("photo", 1, "abacus")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ArgumentError, match=r"not installed: pip install 'intaglio\[openvino\]'"):
        load_model("photo", 1, "openvino")


@pytest.mark.parametrize(("runtime", "name"), [("onnxruntime", "ONNX Runtime"), ("openvino", "OpenVINO")])
def test_a_graph_that_is_none_is_refused(runtime: str, name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} refuses a graph of the model file"):
        session(b"no graph", 1, runtime)
