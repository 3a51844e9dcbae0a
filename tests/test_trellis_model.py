"""Models whose y goes through a trellis: coded, verified, estimated, trained, fitted, begun from weights without."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from golden_files import Corpus
from intaglio import codec, container, modelfile, rans, verify
from intaglio.bundle import Model
from intaglio.coders import Round
from intaglio.errors import ArgumentError
from intaglio.modelfile import ModelFile
from intaglio.quantiser import SCALES, TRELLIS_TABLES, Trellis
from intaglio.traversal import Layout, latents
from intaglio.workshop.config import RunConfig, TrainConfig
from intaglio.workshop.export import model_file
from intaglio.workshop.fitting import fitted
from intaglio.workshop.models.photo import Photo
from intaglio.workshop.objective import Objective
from intaglio.workshop.refine import Descent, encode
from intaglio.workshop.trainer import Trainer
from intaglio.workshop.trellis import FollowedSlope
from small_photo import WIDTHS, randomised

SIZE = 11
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def made() -> Photo:
    return randomised(4, trellis=SIZE)


@pytest.fixture(scope="module")
def file(made: Photo) -> ModelFile:
    return modelfile.read(modelfile.write(model_file(made, "photo", {})))


@pytest.fixture(scope="module")
def model(file: ModelFile) -> Model:
    return Model(file, threads=1)


@pytest.fixture
def pixels(photo: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(photo[:150, :200])


def test_the_file_says_so_and_z_has_tables_of_its_own(file: ModelFile, model: Model) -> None:
    assert isinstance(model.quantiser, Trellis)
    assert (model.quantiser.size, model.quantiser.error_cost) == (SIZE, file.config["error_cost"])
    assert len(model.tables) == TRELLIS_TABLES + SCALES
    assert file.arrays["z_rows"].min() >= TRELLIS_TABLES


@pytest.mark.parametrize("quality", [5, 50, 95])
def test_pictures_come_back_from_every_implementation(
    quality: int, model: Model, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams, planes = set(), []
    for implementation in rans.implementations():
        monkeypatch.setenv(rans.IMPLEMENTATION_VARIABLE, implementation)
        streams.add(codec.encode(pixels, quality, model=model))
        planes.append(codec.decode_latents(max(streams), model=model))
    (data,) = streams
    assert all(np.array_equal(planes[0], plane) for plane in planes)
    assert not verify.verify(data, model).differences
    header = codec.header_for(pixels, 2 * quality - 2, model)
    padded = codec._padded(pixels)
    wanted = latents(
        model,
        codec.Window(padded, (0, 0, padded.shape[0] // 16, padded.shape[1] // 16)),
        header.rate,
        Round(model.layout, model.tables, model.quantiser),
    )
    assert np.array_equal(planes[0], wanted)


@pytest.mark.parametrize("quality", [20, 80])
def test_estimated_equals_written(quality: int, pixels: np.ndarray) -> None:
    model = Corpus("trellis").model()
    (payload,) = container.read(codec.encode(pixels, quality, model=model)).payloads
    missing = 8 * len(payload) - codec.estimate(pixels, quality, model=model)
    assert 0 < missing < 0.0005 * 8 * len(payload) + 8 * 12  # the flush of four lanes


def test_less_effort_errs_less_and_takes_more_bits(model: Model, pixels: np.ndarray) -> None:
    bits, errors = [], []
    for effort in (0, 1):
        data = codec.encode(pixels, 50, model=model, effort=effort)
        bits.append(len(data))
        errors.append(float(np.square(codec.decode(data, model=model).astype(float) - pixels).mean()))
    assert bits[0] > bits[1]


@pytest.mark.parametrize("rate", [20, 120])
def test_the_workshop_rounds_as_the_codec_does(made: Photo, model: Model, photo: np.ndarray, rate: int) -> None:
    pixels = np.ascontiguousarray(photo[:128, :192])
    y = model.analysis(codec.Window(pixels, (0, 0, 8, 12)), rate)
    numpy_coder = Round(model.layout, model.tables, model.quantiser)
    torch_coder = made.rounding()

    class Known:
        def __getattr__(self, name: str) -> object:
            return getattr(made, name)

        def analysis(self, x: object, rate: object) -> torch.Tensor:
            return torch.from_numpy(y)

    fixed = Model(model.file, threads=1)
    fixed.analysis = lambda x, rate: y  # type: ignore[method-assign]
    theirs = latents(fixed, pixels, rate, numpy_coder)
    with torch.no_grad():
        ours = latents(Known(), pixels, torch.tensor([rate]), torch_coder)  # type: ignore[arg-type]
    assert np.array_equal(theirs, ours.numpy())
    assert float(torch_coder.bits) == pytest.approx(numpy_coder.bits, rel=1e-4)


def test_a_latent_feels_its_mean_cost_and_a_row_the_next_one() -> None:
    made = randomised(4, trellis=SIZE)
    assert made.trellis is not None
    layout = Layout(4, "channels")
    y = torch.linspace(-3.0, 3.0, 64).view(1, 4, 4, 4).requires_grad_()
    index = torch.full((1, 4, 4, 4), 20.3).requires_grad_()
    coder = FollowedSlope(layout, made.trellis)
    y_hat = coder.gaussian(y, torch.zeros_like(y), (torch.zeros_like(y), index), 0)
    assert isinstance(coder.bits, torch.Tensor)
    grads = torch.autograd.grad(coder.bits.sum() + y_hat.sum(), [y, index])
    assert torch.all((grads[0] - 1.0) * torch.sign(y) > 0.0)  # a larger latent costs more; y_hat moves with it
    symbols, used, steps = made.trellis.quantise(y.detach().numpy(), np.full(y.shape, 20, np.uint8))
    assert np.array_equal(y_hat.detach().numpy(), made.trellis.offsets(steps))
    next_row = made.trellis.tables.bits(symbols, used + np.uint8(1)) - made.trellis.tables.bits(symbols, used)
    assert np.allclose(grads[1].numpy(), next_row, atol=1e-4)


def test_fitted_tables_cost_less(file: ModelFile, model: Model, photo: np.ndarray) -> None:
    pictures = [np.ascontiguousarray(photo[at : at + 128, at : at + 192]) for at in (0, 64, 128)]
    seen: list[tuple[int, int]] = []
    better = Model(fitted(file, pictures, lambda *done: seen.append(done)), threads=1)
    before, after = (sum(codec.estimate(each, 60, model=one) for each in pictures) for one in (model, better))
    assert after < before
    assert seen == [(done, 9) for done in range(1, 10)]
    assert better.model_id != model.model_id


def _trainer(out: Path, **fields: object) -> Trainer:
    return Trainer(RunConfig(model_fields=WIDTHS | fields, train=TrainConfig(out=str(out), quantiser="slope")))


def test_weights_with_and_without_a_trellis_are_taken(tmp_path: Path, file: ModelFile) -> None:
    plain = tmp_path / "plain.itgm"
    plain.write_bytes(modelfile.write(model_file(randomised(5), "photo", {})))
    with_one = tmp_path / "with.itgm"
    with_one.write_bytes(modelfile.write(file))
    for path in (plain, with_one):
        rows = []
        for fields in ({}, {"trellis": SIZE}):
            trainer = _trainer(tmp_path / "run", **fields)
            trainer.start_from(path)
            rows.append(trainer.model.z_rows(torch.arange(0, 199, 20)))
        assert torch.equal(rows[0], rows[1])
        assert rows[0].max() < SCALES


def test_only_paths_are_trained_along() -> None:
    made = randomised(4, trellis=SIZE)
    for wrong in (TrainConfig(quantiser="noise"), TrainConfig(quantiser="slope", rate_term="log2")):
        with pytest.raises(ArgumentError, match="trained along its paths"):
            Objective(made, wrong, lambda: torch.no_grad())


def test_refinement_follows_the_trellis(tmp_path: Path, file: ModelFile, pixels: np.ndarray) -> None:
    path = tmp_path / "model.itgm"
    path.write_bytes(modelfile.write(replace(file, record={"train": {"distortion": "mse"}})))
    data = encode(pixels, 50, str(path), Descent(2))
    assert codec.decode(data, model=str(path)).shape == pixels.shape
    with pytest.raises(ArgumentError, match="has a trellis, where 'gumbel' finds nothing"):
        encode(pixels, 50, str(path), Descent(2, "gumbel"))


def test_what_is_not_finite_comes_through_and_does_not_end_a_run() -> None:
    made = randomised(4, trellis=SIZE)
    assert made.trellis is not None
    for wrong in (torch.nan, torch.inf):
        y, index = torch.ones(1, 4, 4, 4), torch.full((1, 4, 4, 4), 20.3)
        y[0, 1, 2, 3] = wrong
        coder = FollowedSlope(Layout(4, "channels"), made.trellis)
        y_hat = coder.gaussian(y, torch.zeros_like(y), (torch.zeros_like(y), index), 0)
        assert not torch.isfinite(y_hat[0, 1, 2, 3])
        index[0, 0, 0, 0] = torch.nan
        coder.gaussian(torch.ones_like(y), torch.zeros_like(y), (torch.zeros_like(y), index), 0)
        assert not torch.isfinite(torch.as_tensor(coder.bits)).any()
