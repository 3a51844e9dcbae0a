"""What is exported is what was trained: every network gives PyTorch's numbers, and nothing else is in the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from intaglio import modelfile
from intaglio.bundle import Model, Window
from intaglio.errors import ArgumentError, ModelError
from intaglio.integer import LOC_STEPS
from intaglio.modelfile import DECODING_GRAPHS, ENCODING_GRAPHS, OPTIONAL_GRAPHS, ModelFile
from intaglio.onnxgraph import OPERATORS
from intaglio.quality import RATES
from intaglio.scales import SCALES
from intaglio.workshop import checkpoint, models, restore
from intaglio.workshop.export import SMALL, export, graph_modules, round_weights, to_onnx
from intaglio.workshop.models.photo import Z_UNIT, Photo
from small_photo import WIDTHS, randomised

pytestmark = pytest.mark.usefixtures("one_thread")
RATES_TRIED = (0, 77, 198)
SIZES = ((64, 128), (192, 64))  # pixels
TIES = 0.001  # share of the pixels that may differ by one: the sums before them round in another order
FEW = 4  # so many may in any case: a small output has a few hundred integers


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of such a model; the averaged weights are the ones to export."""
    folder = tmp_path_factory.mktemp("run")
    averaged, last = randomised(1).state_dict(), randomised(2).state_dict()
    state = {f"average.{name}": value for name, value in averaged.items()}
    state |= {f"model.{name}": value for name, value in last.items()}
    config = {"model": "photo", "model_fields": WIDTHS, "train": {"out": str(folder), "seed": 3}}
    record = {"step": 12, "seconds": 90.0, "skipped": 1, "manifest": "ab" * 32, "config": config}
    checkpoint.save(folder, state, record)
    return folder


@pytest.fixture(scope="module")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model file that `export` writes for it."""
    target = tmp_path_factory.mktemp("model") / "small.itgm"
    export(trained, target)
    return target


def test_a_model_of_another_name_and_measure_says_so_and_comes_back(trained: Path, tmp_path: Path) -> None:
    state, record = checkpoint.load(trained)
    record["config"]["train"]["distortion"] = "ms-ssim"
    checkpoint.save(tmp_path / "run", state, record)
    found = export(tmp_path / "run", tmp_path / "tuned.itgm", "tuned")
    assert found.name == modelfile.read((tmp_path / "tuned.itgm").read_bytes()).name == "tuned"
    assert found.config["network"] == "photo"
    assert "feedback" not in found.graphs  # it would trade MS-SSIM for squared error
    assert isinstance(restore.model(found), Photo)


@pytest.fixture(scope="module")
def file(exported: Path) -> ModelFile:
    return modelfile.read(exported.read_bytes())


@pytest.fixture(scope="module")
def runnable(file: ModelFile) -> Model:
    return Model(file, threads=1)


@pytest.fixture(scope="module")
def model() -> Photo:
    """The same weights in PyTorch, those of the float networks rounded as the file stores them."""
    model = randomised(1)
    for part in (model.analysis, model.hyper_analysis_net, model.synthesis):
        round_weights(part)
    return model


def same_floats(got: np.ndarray, wanted: Tensor, message: str) -> None:
    reference = wanted.numpy()
    assert got.shape == reference.shape, message
    assert got.dtype == np.float32, message
    assert np.abs(reference).max() > 1e-2, message  # a comparison of zeros says nothing
    assert np.abs(got - reference).max() <= 1e-5 * np.abs(reference).max(), message


def same_pixels(got: np.ndarray, wanted: Tensor, message: str) -> None:
    reference = wanted.numpy()
    assert got.shape == reference.shape, message
    assert np.ptp(reference) > 3, message
    difference = np.abs(got.astype(np.float64) - reference)
    assert difference.max() <= 1, message
    assert (difference != 0).sum() <= max(FEW, TIES * difference.size), message


def same_integers(got: np.ndarray, wanted: Tensor, message: str) -> None:
    assert got.shape == wanted.shape, message
    assert np.ptp(got) > 1, message
    assert np.array_equal(got, wanted.numpy()), message


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rate", RATES_TRIED)
@torch.no_grad()
def test_every_float_graph_gives_the_numbers_of_pytorch(
    rate: int, size: tuple[int, int], model: Photo, runnable: Model, seed: int
) -> None:
    message, config = f"rate {rate}, size {size}, seed {seed}", model.config
    rng, step = np.random.default_rng(seed), torch.tensor([rate])
    height, width = size[0] // 16, size[1] // 16
    pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    picture = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()).float() / 255.0
    window = Window(pixels, (0, 0, height, width))
    same_floats(runnable.analysis(window, rate), model.analysis(picture, step), "analysis, " + message)
    y = (20.0 * rng.normal(size=(1, config.latent, height, width))).astype(np.float32)
    wanted = model.hyper_analysis(torch.from_numpy(y), step)
    same_floats(runnable.hyper_analysis(y, rate), wanted, "hyper_analysis, " + message)
    decoded = model.synthesis(torch.from_numpy(y), step).clamp(0, 1)[0].permute(1, 2, 0)
    shown = runnable.synthesis(y, rate)
    assert shown.dtype == np.uint8
    same_pixels(shown, torch.floor(decoded * 255.0 + 0.5), "synthesis, " + message)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("rate", RATES_TRIED)
@torch.no_grad()
def test_every_integer_network_gives_exactly_the_numbers_of_pytorch(
    rate: int, size: tuple[int, int], model: Photo, runnable: Model, seed: int
) -> None:
    message, config = f"rate {rate}, size {size}, seed {seed}", model.config
    rng, step = np.random.default_rng(seed), torch.tensor([rate])
    height, width = size[0] // 16, size[1] // 16
    z_hat = rng.integers(-150, 150, (1, config.hyper, height // 4, width // 4)).astype(np.float32)
    unit = model.hyper_synthesis.scales(step)[-1].exp2()  # PyTorch's side information is in natural units
    found, wanted = runnable.hyper_synthesis(z_hat, rate), model.hyper_synthesis(torch.from_numpy(z_hat), step)
    same_integers(found, wanted * unit, "hyper_synthesis, " + message)
    side = rng.integers(0, 256, (1, config.side, height, width)).astype(np.float32)
    y_hat = (rng.integers(-2000, 2000, (1, config.latent, height, width)) / LOC_STEPS).astype(np.float32)
    for number, (ours, theirs) in enumerate(zip(runnable.context_steps, model.context_steps, strict=True)):
        loc, index = ours(side, y_hat, rate)
        wanted_loc, wanted_index = theirs(torch.from_numpy(side) / unit, torch.from_numpy(y_hat), step)
        same_integers(loc * LOC_STEPS, wanted_loc * LOC_STEPS, f"loc of step {number}, {message}")
        assert index.dtype == np.uint8
        same_integers(index, torch.floor(wanted_index + 0.5), f"index of step {number}, {message}")


@pytest.mark.slow
@torch.no_grad()
def test_the_rows_of_z_are_those_of_pytorch(trained: Path, file: ModelFile) -> None:
    model = models.build("photo", **WIDTHS)
    assert isinstance(model, Photo)
    model.load_state_dict(checkpoint.under("average.", checkpoint.load(trained)[0]))
    rows = model.z_rows(torch.arange(RATES))[:, :, 0, 0].numpy()
    assert file.arrays["z_rows"].dtype == np.uint8
    assert np.array_equal(file.arrays["z_rows"], np.floor(rows + np.float32(0.5)))
    assert file.arrays["z_rows"].max() < SCALES


@pytest.mark.slow
def test_float_weights_come_back_up_to_16_bits_and_integer_ones_as_they_were(trained: Path, file: ModelFile) -> None:
    state = checkpoint.under("average.", checkpoint.load(trained)[0])
    other = models.build("photo", **WIDTHS)
    restored = restore.weights(file, other)
    assert restored.keys() == state.keys()
    for name, value in state.items():
        if name == "z_index.anchors":  # stored as table rows
            assert ((restored[name] * Z_UNIT) - (value * Z_UNIT).clamp(0, SCALES - 1)).abs().max() <= 0.5
        elif name.startswith(("hyper_synthesis.", "context.")):  # stored as integers
            continue
        elif value.numel() >= SMALL:
            assert torch.equal(restored[name], value.half().float()), name
        else:
            assert torch.equal(restored[name], value), name
    other.load_state_dict(restored)
    for name, again in other.arrays().items():
        stored = file.arrays[name].astype(np.int64)
        assert np.abs(again - stored).max() <= (1 if name.endswith((".bias", "z_rows")) else 0), name


@pytest.mark.slow
def test_restoring_into_another_model_says_what_does_not_fit(file: ModelFile) -> None:
    other = models.build("photo", **(WIDTHS | {"side": 12}))
    with pytest.raises(ModelError, match="is it the same model"):
        restore.weights(file, other)


def test_restoring_weights_that_find_no_place_is_refused(file: ModelFile) -> None:
    arrays = dict(file.arrays)
    arrays["context_1.planes.exponent"] = (arrays["context_1.planes.exponent"] - 1).astype(np.int8)
    with pytest.raises(ModelError, match="context_1 was trained with other exponents"):
        restore.weights(replace(file, arrays=arrays), models.build("photo", **WIDTHS))


@pytest.mark.slow
def test_nothing_of_the_machine_is_left_in_the_file(exported: Path, trained: Path) -> None:
    data = exported.read_bytes()
    for trace in (b"/site-packages", b".py", b"Traceback", b"/home/", b"/tmp/", str(trained).encode()):
        assert trace not in data, trace


@pytest.mark.slow
def test_graphs_use_known_operators_only(file: ModelFile) -> None:
    assert set(file.graphs) == {*ENCODING_GRAPHS, *DECODING_GRAPHS, *OPTIONAL_GRAPHS}
    for name, data in file.graphs.items():
        graph = onnx.load_from_string(data).graph
        assert {node.op_type for node in graph.node} <= OPERATORS, name
        assert not any(node.doc_string or node.metadata_props for node in graph.node), name


@pytest.mark.slow
def test_large_weights_are_stored_in_16_bits(file: ModelFile) -> None:
    wide = [
        tensor.name
        for data in file.graphs.values()
        for tensor in onnx.load_from_string(data).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and np.prod(tensor.dims) >= SMALL
    ]
    assert not wide


@pytest.mark.slow
def test_exporting_again_gives_the_same_bytes(file: ModelFile) -> None:
    again = randomised(1)
    for name, array in again.arrays().items():
        assert np.array_equal(file.arrays[name], array), name
    round_weights(again)
    graphs = graph_modules(again)
    assert graphs.keys() == file.graphs.keys()
    for name in ("hyper_analysis", "synthesis"):
        assert to_onnx(*graphs[name]) == file.graphs[name], name


@pytest.mark.slow
def test_the_record_says_how_it_was_trained(file: ModelFile) -> None:
    assert file.record["steps"] == 12
    assert file.record["minutes"] == 1.5
    assert file.record["skipped_steps"] == 1
    assert file.record["data_manifest_sha256"] == "ab" * 32
    assert file.record["train"] == {"seed": 3}


def test_without_a_checkpoint_nothing_is_written(tmp_path: Path) -> None:
    target = tmp_path / "model.itgm"
    with pytest.raises(ArgumentError, match="holds no checkpoint"):
        export(tmp_path / "nowhere", target)
    assert not target.exists()


def test_a_damaged_checkpoint_is_a_model_error(trained: Path, tmp_path: Path) -> None:
    for path in trained.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="damaged"):
        export(tmp_path, tmp_path / "model.itgm")
