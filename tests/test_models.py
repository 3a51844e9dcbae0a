"""Every model keeps the promises of every model: trained, exported, encoded and decoded with no code of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import intaglio
from intaglio import codec, coders, container, images, modelfile, verify, ycbcr
from intaglio.bundle import Model as Runnable
from intaglio.bundle import Window
from intaglio.errors import ArgumentError, IntaglioError, ModelError
from intaglio.quality import rate_to_quality
from intaglio.traversal import latents
from intaglio.workshop import checkpoint, models, restore
from intaglio.workshop.coders import Likelihood, Round, Rows
from intaglio.workshop.config import read_config
from intaglio.workshop.export import export, graph_modules, round_weights, to_onnx
from intaglio.workshop.models.base import Model
from intaglio.workshop.train import train
from small_models import LMBDA, NAMES, RATE, TINY, given_to, input_of, known, pair_of, seen_by, shake, tiny

pytestmark = pytest.mark.usefixtures("one_thread")
TIES = 0.002  # share of the samples that may differ by one: the sums before them round in another order
RECIPE = """
[model]
name = "{name}"
{fields}
[data]
train = "{folder}/pictures"
[train]
out = "{folder}/run"
lmbda = {lmbda}
minutes = {minutes}
stages = [[1.0, 64, 2]]
warmup_steps = 2
log_steps = 1
precision = "32-true"
accelerator = "cpu"
"""


@dataclass(frozen=True)
class Case:
    """A model that was trained for some steps, resumed, shaken and exported."""

    name: str
    folder: Path  # holds `run` and `shaken`, checkpoints, and `model.itgm`
    steps: tuple[int, int]  # of the run, and after it was resumed
    file: modelfile.ModelFile
    runnable: Runnable
    model: Model  # in PyTorch, weights as the file stores them

    @property
    def fixed(self) -> bool:
        return self.model.fixed


def recipe(name: str, folder: Path, minutes: float) -> Path:
    """A configuration of the tiny model as a file."""
    fields = "\n".join(
        f"{key} = {str(value).lower().replace('(', '[').replace(')', ']')}" for key, value in TINY[name].items()
    )
    lmbda = LMBDA if models.MODELS[name][0].fixed else 0.0  # type: ignore[attr-defined]
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(name=name, fields=fields, folder=folder, lmbda=lmbda, minutes=minutes))
    return path


@pytest.fixture(scope="module", params=NAMES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, photo: np.ndarray) -> Case:
    name, folder = request.param, tmp_path_factory.mktemp("model")
    (folder / "pictures").mkdir()
    for number in range(3):
        images.save(folder / "pictures" / f"{number}.png", photo[60 * number : 60 * number + 96, :128])
    train(read_config(recipe(name, folder, 0.004)))
    _, first = checkpoint.load(folder / "run")
    train(read_config(recipe(name, folder, first["seconds"] / 60.0 + 0.004)), resume=True)
    state, record = checkpoint.load(folder / "run")
    model = models.build(name, **TINY[name])
    model.load_state_dict(checkpoint.under("average.", state))
    shake(model, seed=5)
    shaken = {f"average.{key}": value for key, value in model.state_dict().items()}
    checkpoint.save(folder / "shaken", shaken, record)
    export(folder / "shaken", folder / "model.itgm")
    file = modelfile.read((folder / "model.itgm").read_bytes())
    round_weights(model)
    return Case(name, folder, (first["step"], record["step"]), file, Runnable(file, threads=1), model.eval())


@pytest.fixture(scope="module")
def picture(photo: np.ndarray) -> np.ndarray:
    return photo[:128, :192]


@pytest.fixture
def quality(case: Case) -> float | None:
    return None if case.fixed else 30.0


@pytest.mark.slow
def test_training_goes_on_where_it_stopped(case: Case) -> None:
    assert 0 < case.steps[0] < case.steps[1]
    state, record = checkpoint.load(case.folder / "run")
    assert record["config"]["model"] == case.name
    assert all(bool(torch.isfinite(value).all()) for value in state.values() if value.is_floating_point())


@pytest.mark.slow
def test_the_file_says_what_the_codec_must_know(case: Case) -> None:
    assert case.file.name == case.name
    assert case.runnable.layout == case.model.layout
    assert case.runnable.halo == case.model.halo
    assert case.runnable.fixed_rate == (RATE if case.fixed else None)
    assert case.runnable.has_hyper == case.model.has_hyper
    assert len(case.runnable.tables) <= 256


@pytest.mark.slow
def test_weights_come_back_from_the_file(case: Case) -> None:
    again = models.build(case.name, **TINY[case.name])
    again.load_state_dict(restore.weights(case.file, again))
    wanted = case.model.state_dict()
    for name, value in again.state_dict().items():
        if not name.startswith(("hyper_synthesis.", "context.", "given_net.", "z_index.", "prior.", "z_prior.")):
            assert torch.equal(value, wanted[name]), name
    for name, network in again.networks().items():
        for layer, found in network.frozen().layers.items():
            assert np.array_equal(found.weight, case.file.arrays[f"{name}.{layer}.weight"])


@pytest.mark.slow
@torch.no_grad()
def test_transforms_give_the_numbers_of_pytorch(case: Case, picture: np.ndarray, seed: int) -> None:
    rate = RATE
    pair, seen = pair_of(case.model, picture), seen_by(case.model, picture)
    wanted = case.model.analysis(input_of(pair), torch.tensor([rate])).numpy()
    y = case.runnable.analysis(Window(picture, (0, 0, 8, 12), seen), rate)
    assert np.abs(wanted).max() > 0.5
    assert np.abs(y - wanted).max() <= 1e-4 * np.abs(wanted).max()
    y_hat = np.floor(y + 0.5)
    decoded = case.model.synthesis(torch.from_numpy(y_hat), torch.tensor([rate]), *known(pair)).clamp(0.0, 1.0)
    samples = decoded[0].permute(1, 2, 0).numpy() * np.float32(255.0)
    if case.model.given == "luma":
        assert seen is not None
        samples = ycbcr.to_rgb(seen[:, :, 0], samples)
    pixels = np.floor(samples + np.float32(0.5))
    difference = np.abs(pixels - case.runnable.synthesis(y_hat, rate, seen).astype(np.float32))
    assert np.ptp(pixels) > 3
    assert difference.max() <= 1
    assert np.mean(difference != 0) <= TIES


class Charged(Round):
    """As `Round`; but what no table has costs what its escape does, not what the tail of a Gaussian says."""

    def __init__(self, case: Case) -> None:
        super().__init__(case.model.layout, error_cost=case.model.error_cost)
        self.tables = case.runnable.tables

    def _charge(self, charged: Tensor, likelihood: Likelihood, handed: Tensor) -> None:
        if not isinstance(likelihood, Rows):
            super()._charge(charged, likelihood, handed)
            return
        bits, symbols = likelihood.rounded().bits(charged), charged.int().numpy()
        rows = np.ascontiguousarray(torch.floor(likelihood.index + 0.5).expand_as(charged).numpy().astype(np.uint8))
        first, beyond = self.tables.first[rows], self.tables.first[rows] + self.tables.sizes[rows] - 1
        escaped = torch.from_numpy((symbols < first) | (symbols >= beyond))
        exact = torch.from_numpy(self.tables.bits(np.ascontiguousarray(symbols), rows)).float()
        self.bits = self.bits + torch.where(escaped, exact, bits).sum((1, 2, 3))


@pytest.mark.slow
@torch.no_grad()
def test_the_workshop_estimates_what_the_tables_charge(case: Case, picture: np.ndarray) -> None:
    layout, faint = case.model.layout, picture // 8 + 112
    ours = Charged(case)
    theirs = coders.Round(layout, case.runnable.tables, case.runnable.quantiser)
    pair, seen = pair_of(case.model, faint), seen_by(case.model, faint)
    case.model.walk(pair, torch.tensor([RATE]), ours)
    latents(case.runnable, Window(faint, (0, 0, 8, 12), seen), RATE, theirs, seen)
    assert theirs.bits > 500.0
    assert math.isclose(float(ours.bits), theirs.bits, rel_tol=0.001)


@pytest.mark.slow
def test_what_is_decoded_is_what_was_encoded(case: Case, picture: np.ndarray, quality: float | None) -> None:
    runnable = case.runnable
    given, seen = given_to(runnable, picture), seen_by(runnable, picture)
    header = codec.header_for(picture, codec.rate_for(quality, runnable), runnable, seen)
    coder = coders.Encode(runnable.layout, runnable.tables, runnable.quantiser)
    y_hat = latents(runnable, Window(picture, (0, 0, 8, 12), seen), header.rate, coder, seen)
    data = intaglio.encode(picture, quality, model=runnable, given=given)
    assert container.read(data).payloads == (coder.finish(),)
    assert np.array_equal(codec.decode_latents(data, model=runnable, given=given), y_hat)
    assert len(np.unique(y_hat)) > 5
    decoded = intaglio.decode(data, model=runnable, given=given)
    assert np.array_equal(decoded, runnable.synthesis(y_hat, header.rate, seen))


@pytest.mark.slow
@pytest.mark.parametrize("grey", [False, True], ids=["colour", "grey"])
def test_odd_pictures_come_back_in_their_shape(
    case: Case, photo: np.ndarray, quality: float | None, grey: bool
) -> None:
    pixels = photo[:67, :93, 1] if grey else photo[:67, :93]
    given = given_to(case.runnable, pixels)
    data = intaglio.encode(pixels, quality, model=case.runnable, given=given)
    assert data == intaglio.encode(pixels, quality, model=case.runnable, given=given)
    decoded = intaglio.decode(data, model=case.runnable, given=given)
    assert decoded.shape == pixels.shape
    assert decoded.dtype == np.uint8
    assert np.array_equal(decoded, intaglio.decode(data, model=case.runnable, given=given))


@pytest.mark.slow
def test_the_payload_is_as_long_as_estimated(case: Case, photo: np.ndarray, quality: float | None) -> None:
    given = given_to(case.runnable, photo)
    (payload,) = container.read(intaglio.encode(photo, quality, model=case.runnable, given=given)).payloads
    bits = codec.estimate(photo, quality, model=case.runnable, given=given)
    lanes = 1 << (payload[0] & 7)
    flush = 40 if lanes == 1 else 68 + 6 * lanes  # what the coder promises
    assert bits > 1000
    assert abs(8 * len(payload) - bits) <= 0.001 * bits + flush


@pytest.mark.slow
def test_tiles_leave_no_seam(
    case: Case, photo: np.ndarray, quality: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each tile's transforms see their neighbourhood: y in tiles is y of the whole, and so is the picture."""
    runnable, rate, seen = case.runnable, RATE, seen_by(case.runnable, photo)
    whole = runnable.analysis(Window(photo, (0, 0, 16, 16), seen), rate)
    monkeypatch.setattr(container, "choose_tile", lambda width, height: 1)
    header = codec.header_for(photo, rate, runnable, seen)
    boxes = container.tile_grid(header)
    assert len(boxes) == 16
    for box in boxes:
        top, left = box.y // 16, box.x // 16
        y = runnable.analysis(codec._window(photo, seen, box, runnable.halo), rate)
        wanted = whole[:, :, top : top + 4, left : left + 4]
        assert np.abs(y - wanted).max() <= 1e-4 * np.abs(whole).max()
    y_hat, shown = np.floor(whole + 0.5), runnable.synthesis(np.floor(whole + 0.5), rate, seen)
    for box in boxes:
        part = codec._synthesise(y_hat, box, rate, runnable, seen)
        wanted = shown[box.y : box.y + box.height, box.x : box.x + box.width]
        assert np.abs(part.astype(int) - wanted).max() <= 1


@pytest.mark.slow
def test_decoding_is_exact(case: Case, photo: np.ndarray, quality: float | None) -> None:
    given = given_to(case.runnable, photo[:90, :130])
    data = intaglio.encode(photo[:90, :130], quality, model=case.runnable, given=given)
    found = verify.verify(data, case.runnable, given=given)
    assert found.exact, found.differences
    assert found.symbols > 0
    assert verify.selftest(case.runnable).exact


@pytest.mark.slow
def test_damaged_files_are_refused(
    case: Case, photo: np.ndarray, quality: float | None, rng: np.random.Generator, seed: int
) -> None:
    given = given_to(case.runnable, photo[:67, :93])
    data = intaglio.encode(photo[:67, :93], quality, model=case.runnable, given=given)
    stored = (case.folder / "model.itgm").read_bytes()
    for _ in range(20):
        at, where = int(rng.integers(len(data))), int(rng.integers(len(stored)))
        flipped, wrong = bytearray(data), bytearray(stored)
        flipped[at] ^= 1 << int(rng.integers(8))
        wrong[where] ^= 1 << int(rng.integers(8))
        for bad in (bytes(flipped), data[:at]):
            with pytest.raises(IntaglioError) as caught:
                intaglio.decode(bad, model=case.runnable, given=given)
            assert "\n" not in str(caught.value), f"byte {at}, seed {seed}"
        for bad in (bytes(wrong), stored[:where]):
            with pytest.raises(ModelError):
                modelfile.read(bad)


@pytest.mark.slow
def test_the_identity_is_that_of_the_decoding_half(case: Case) -> None:
    again = modelfile.read(modelfile.write(case.file))
    assert again.model_id == case.file.model_id == case.runnable.model_id
    better = replace(case.file, graphs={**case.file.graphs, "analysis": case.file.graphs["synthesis"]}, record={})
    assert better.model_id == case.file.model_id
    arrays = {**case.file.arrays, "tables.first": case.file.arrays["tables.first"] + np.int32(1)}
    assert replace(case.file, arrays=arrays).model_id != case.file.model_id


@pytest.mark.slow
def test_exporting_again_gives_the_same_bytes() -> None:
    first, second = (tiny("bls2017", 4) for _ in range(2))
    found, again = first.arrays(), second.arrays()
    assert all(np.array_equal(found[name], again[name]) for name in found | again)
    assert to_onnx(*graph_modules(first)["synthesis"]) == to_onnx(*graph_modules(second)["synthesis"])


@pytest.mark.slow
def test_a_model_of_one_quality_says_which(case: Case, picture: np.ndarray) -> None:
    if not case.fixed:
        given = given_to(case.runnable, picture)
        low, high = (intaglio.encode(picture, each, model=case.runnable, given=given) for each in (20, 70))
        assert low != high
        return
    only = rate_to_quality(RATE)
    data = intaglio.encode(picture, model=case.runnable)
    assert data == intaglio.encode(picture, only, model=case.runnable)
    assert intaglio.info(data).quality == only
    with pytest.raises(ArgumentError, match=f"trained for {only:g} alone"):
        intaglio.encode(picture, only + 10, model=case.runnable)
