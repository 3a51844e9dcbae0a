"""Every runtime finds the same table rows, means and symbols, on pictures, with the shipped weights."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import runtimes
from intaglio.bundle import Model, Window, read_model_file
from intaglio.coders import Decode, Encode
from intaglio.integer import HYPER
from intaglio.modelfile import ModelFile
from intaglio.quality import quality_to_rate
from intaglio.traversal import latents
from intaglio.workshop.models.base import Hyperprior
from runtimes import LEVELS, Parts, Slice, TorchParts

RATES_TRIED = [quality_to_rate(quality) for quality in (1, 30, 70, 100)]
Twins = tuple[Model, Hyperprior]


@pytest.fixture(scope="module")
def twins() -> Twins:
    """The shipped model in ONNX Runtime and in PyTorch."""
    return runtimes.twins(read_model_file("photo"))


@pytest.fixture(scope="module")
def wanted(twins: Twins, photo: np.ndarray) -> dict[int, list[Slice]]:
    """By rate, the slices of the photograph as ONNX Runtime encodes it with one thread."""
    model = twins[0]
    return {rate: runtimes.encoded(model, photo, rate, model.layout) for rate in RATES_TRIED}


@pytest.fixture
def threads() -> Any:
    """Puts PyTorch's number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def agrees(net: Any, model: Model, wanted: dict[int, list[Slice]]) -> None:
    """Holds a net against the slices; what it decodes from bytes must be right, too."""
    for rate, slices in wanted.items():
        found, y_hat = runtimes.decoded(net, slices, rate, model.layout)
        assert len(found) == 1 + model.layout.steps
        assert runtimes.differences(slices, found) == 0, f"rate {rate}"
        assert runtimes.digest(found) == runtimes.digest(slices)
        encoder = Encode(model.layout, model.tables)
        for each in slices:
            encoder._code(each.symbols, each.rows)
        coder = Decode(model.layout, model.tables, encoder.finish(), (4, 4))
        assert np.array_equal(latents(net, None, rate, coder), y_hat), f"rate {rate}"
        coder.finish()


def test_the_pictures_slices_are_worth_comparing(twins: Twins, wanted: dict[int, list[Slice]]) -> None:
    for rate, slices in wanted.items():
        rows = np.concatenate([each.rows.ravel() for each in slices[1:]])
        means = np.concatenate([each.loc.ravel() for each in slices if each.loc is not None])
        assert rows.size == twins[0].layout.channels * 16 * 16
        assert len(np.unique(rows)) > 20, f"rate {rate}"
        assert len(np.unique(means)) > 50, f"rate {rate}"
        assert np.count_nonzero(slices[1].symbols) > 50, f"rate {rate}"


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("level", LEVELS)
def test_onnx_runtime_agrees(twins: Twins, wanted: dict[int, list[Slice]], count: int, level: str) -> None:
    run = runtimes.on_onnxruntime(runtimes.safe(twins[0]), count, level)
    agrees(Parts(twins[0], run), twins[0], wanted)


@pytest.mark.parametrize("count", [1, 2])
def test_openvino_agrees_if_it_is_told_to_keep_32_bits(
    twins: Twins, wanted: dict[int, list[Slice]], count: int
) -> None:
    pytest.importorskip("openvino")
    agrees(Parts(twins[0], runtimes.on_openvino(runtimes.safe(twins[0]), count)), twins[0], wanted)


@pytest.mark.slow
def test_the_slow_reference_agrees(twins: Twins, wanted: dict[int, list[Slice]]) -> None:
    agrees(runtimes.reference(twins[0]), twins[0], wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("count", [1, 2])
def test_pytorch_agrees(twins: Twins, wanted: dict[int, list[Slice]], count: int, layout: torch.memory_format) -> None:
    model = twins[1].to(memory_format=layout)  # type: ignore[call-overload]
    agrees(TorchParts(model, count), twins[0], wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
def test_pytorch_with_transforms_in_bf16_agrees(twins: Twins, photo: np.ndarray) -> None:
    model, low = twins[0], TorchParts(twins[1], transforms=torch.bfloat16)
    window = Window(photo, (0, 0, 16, 16))
    assert not np.array_equal(low.analysis(window, 99), model.analysis(window, 99))
    for rate in RATES_TRIED:
        own = runtimes.encoded(low, photo, rate, model.layout)
        agrees(model, model, {rate: own})
        agrees(low, model, {rate: own})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("short", [False, True])
def test_cuda_agrees_with_and_without_tf32(
    wanted: dict[int, list[Slice]], short: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", short)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", short)
    model, photo = runtimes.twins(read_model_file("photo"))
    agrees(TorchParts(photo.cuda()), model, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "limits",
    [
        {"ATEN_CPU_CAPABILITY": "default"},
        {"ATEN_CPU_CAPABILITY": "avx2"},
        {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ATEN_CPU_CAPABILITY": "default"},
        {"ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    ],
    ids=lambda limits: " ".join(f"{name}={value}" for name, value in limits.items()),
)
def test_pytorch_with_fewer_instructions_agrees(
    wanted: dict[int, list[Slice]], limits: dict[str, str], root: Path, tmp_path: Path
) -> None:
    rate = RATES_TRIED[2]
    arrays: dict[str, Any] = {f"slice{number}": each.symbols for number, each in enumerate(wanted[rate])}
    np.savez(tmp_path / "symbols.npz", rate=rate, **arrays)
    done = subprocess.run(
        [sys.executable, str(root / "benchmarks" / "runtimes.py"), "photo", str(tmp_path / "symbols.npz")],
        env={**os.environ, **limits},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    capability, digest = done.stdout.split()
    assert digest == runtimes.digest(wanted[rate]), f"with {capability}"
    assert capability.lower() == limits.get("ATEN_CPU_CAPABILITY", capability).lower()


def _nudged(file: ModelFile, channel: int) -> ModelFile:
    """The same model with one bias of the hyper-synthesis larger by the step of one activation."""
    name = f"{HYPER}.to_full.bias"
    bias = file.arrays[name].copy()
    bias[:, channel] += 1 << file.arrays[f"{HYPER}.to_full.shift"][:, channel].astype(np.int32)
    return replace(file, arrays={**file.arrays, name: bias})


def test_the_comparison_sees_one_activation_that_is_off_by_one(twins: Twins, wanted: dict[int, list[Slice]]) -> None:
    z_hat = wanted[RATES_TRIED[-1]][0].symbols.astype(np.float32)
    side = twins[0].hyper_synthesis(z_hat, RATES_TRIED[-1])[0, :, ::2, ::2]
    liveliest = int(side.var((1, 2)).argmax())  # the first of four outputs that make a channel of the side information
    nudged = Model(_nudged(twins[0].file, 4 * liveliest), threads=1)
    wrong = [
        runtimes.differences(slices, runtimes.decoded(nudged, slices, rate, nudged.layout)[0])
        for rate, slices in wanted.items()
    ]
    assert sum(wrong) > 0


def _in_plain_float(twins: Twins, run: Callable[..., runtimes.Run], *arguments: Any) -> Parts:
    return Parts(twins[0], run(runtimes.plain_float(twins[0]), *arguments))


def test_plain_float_is_not_safe(twins: Twins, photo: np.ndarray) -> None:
    """The means of two runtimes differ in the last digits; on enough pictures a table row does, too, and everything
    behind it is lost (`benchmarks/exactness.py` counts how often)."""
    pytest.importorskip("openvino")
    model = twins[0]
    one = _in_plain_float(twins, runtimes.on_onnxruntime)
    other = _in_plain_float(twins, runtimes.on_openvino)
    for rate in RATES_TRIED:
        slices = runtimes.encoded(one, photo, rate, model.layout)
        found, _ = runtimes.decoded(other, slices, rate, model.layout)  # type: ignore[arg-type]
        apart = [np.abs(a.loc - b.loc).max() for a, b in zip(slices[1:], found[1:], strict=True)]  # type: ignore[operator]
        assert max(apart) > 0, f"rate {rate}"
        assert runtimes.differences(slices, runtimes.decoded(one, slices, rate, model.layout)[0]) == 0  # type: ignore[arg-type]
