"""Measuring latents: what is recorded is what is coded, and the measures are right where the answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import normalised_latents as benchmark
from intaglio import codec, container, images, latents
from intaglio.bundle import Model, Window, load_model
from intaglio.coders import take
from intaglio.errors import ArgumentError
from intaglio.latents import Latents, Moments
from intaglio.quantiser import Rounding
from intaglio.rans import Encoder, Tables
from intaglio.scales import SCALE_MIN, index_to_scale, scale_grid
from intaglio.traversal import Layout

SMALL = Path(__file__).parent / "golden" / "v1" / "small.itgm"
GRID = Tables.from_gaussian_scales(scale_grid())


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model(SMALL, 1)


@pytest.fixture(scope="module")
def found(photo: np.ndarray, model: Model) -> Latents:
    return latents.measure(photo[:100, :140], 60, model=model)


@pytest.fixture
def tiny_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 64 x 64 pixels."""
    monkeypatch.setattr(container, "choose_tile", lambda width, height: 1)


class Simulated(Model):
    """A model without hyperprior whose y, (1,M,H,W), is given; channel c has the mean loc[c] and the table rows[c]."""

    def __init__(self, y: np.ndarray, tables: Tables, loc: np.ndarray, rows: np.ndarray) -> None:
        self.layout, self.tables, self.halo, self.fixed_rate = Layout(y.shape[1], "channels"), tables, 0, 49
        self.model_id, self.name, self.has_hyper = b"test", "simulated", False
        self.given, self.quantiser = None, Rounding()
        self._y, self._loc, self._rows = y.astype(np.float32), loc[None, :, None, None], rows[None, :, None, None]

    def analysis(self, x: Window, rate: int) -> np.ndarray:
        return self._y

    @property
    def context_steps(self) -> Any:
        return [self._step]

    def _step(self, side: Any, y_hat: np.ndarray, rate: int) -> tuple[np.ndarray, ...]:
        return tuple(np.broadcast_to(each, y_hat.shape) for each in (self._loc.astype(np.float32), self._rows))

    def measured(self) -> Latents:
        """Its latents, from an empty picture of the right size."""
        height, width = (16 * side for side in self._y.shape[2:])
        return latents.measure(np.zeros((height, width), np.uint8), model=self)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (100, 140)])
@pytest.mark.parametrize("grey", [False, True])
def test_the_bits_are_those_of_the_estimate(photo: np.ndarray, model: Model, size: tuple[int, int], grey: bool) -> None:
    pixels = photo[: size[0], : size[1], 0] if grey else photo[: size[0], : size[1]]
    found = latents.measure(pixels, 60, model=model)
    wanted = codec.estimate(pixels, 60, model=model)
    assert found.total_bits == pytest.approx(wanted, rel=1e-12)
    assert found.allocation.sum() == pytest.approx(wanted, rel=1e-12)
    assert found.z is not None
    assert found.channel_bits.sum() + found.z.bits.sum() == pytest.approx(wanted, rel=1e-12)
    assert found.allocation.shape == found.y.shape[2:]
    assert found.size == size[::-1]


def test_the_shipped_model_is_measured_by_default(photo: np.ndarray) -> None:
    pixels = photo[:70, :90]
    found = latents.measure(pixels, threads=1)
    assert found.quality == 50.0
    assert found.total_bits == pytest.approx(codec.estimate(pixels), rel=1e-12)
    assert found.total_bits == pytest.approx(8 * len(codec.encode(pixels)), rel=0.1)  # headers are the difference


def test_the_symbols_and_rows_are_those_in_the_file(photo: np.ndarray, found: Latents, model: Model) -> None:
    encoder = Encoder(model.tables)
    assert found.z is not None
    encoder.push(found.z.symbols, found.z.rows)
    for step in range(model.layout.steps):
        symbols, rows = (take(each, model.layout, step) for each in (found.symbols, found.rows))  # type: ignore[arg-type]
        encoder.push(symbols, rows)
    file = codec.encode(photo[:100, :140], 60, model=model)
    assert (encoder.finish(),) == container.read(file).payloads


@pytest.mark.usefixtures("tiny_tiles")
def test_several_tiles_lie_side_by_side(photo: np.ndarray, model: Model) -> None:
    pixels = photo[:100, :140]
    seen: list[tuple[int, int]] = []
    found = latents.measure(pixels, 60, model=model, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 6) for step in range(7)]
    assert np.array_equal(found.y_hat, codec.decode_latents(codec.encode(pixels, 60, model=model), model=model))
    assert found.total_bits == pytest.approx(codec.estimate(pixels, 60, model=model), rel=1e-12)
    assert found.z is not None
    assert found.z.bits.shape[2:] == (2, 3)
    for top, left in ((0, 0), (4, 8)):  # z's bits stay in their own tile
        cell = found.allocation[top : top + 4, left : left + 4].sum()
        y = found.bits[:, :, top : top + 4, left : left + 4].sum()
        assert cell - y == pytest.approx(found.z.bits[:, :, top // 4, left // 4].sum(), rel=1e-9)


def test_what_is_recorded_fits_together(found: Latents, model: Model) -> None:
    shape = (1, model.layout.channels, 8, 12)
    for name in ("y", "y_hat", "means", "scales", "symbols", "rows", "bits"):
        assert getattr(found, name).shape == shape
    assert np.array_equal(found.symbols + found.means, found.y_hat)
    assert np.abs(found.y - found.y_hat).max() <= 0.5 + 1e-4
    assert np.array_equal(found.scales, index_to_scale(found.rows))
    assert np.array_equal(found.bits, model.tables.bits(found.symbols, found.rows))
    assert len(np.unique(found.rows)) > 3


def test_the_grids_own_bound_changes_nothing_and_is_active_in_the_lowest_row(rng: np.random.Generator) -> None:
    rows = np.array([0, 1, 0, 7], np.uint8)
    found = Simulated(rng.standard_normal((1, 4, 8, 8)), GRID, np.zeros(4), rows).measured()
    assert found.bound == SCALE_MIN
    assert found.active().mean(axis=(0, 2, 3)).tolist() == [1, 0, 1, 0]
    plain = found.normalised()
    assert np.array_equal(plain, (found.y - found.means) / found.scales)
    assert np.array_equal(plain, found.normalised(SCALE_MIN))


def test_a_higher_bound_divides_by_itself_where_it_is_active(found: Latents) -> None:
    bound = float(np.median(found.scales)) * 1.01
    active = found.active(bound)
    assert 0.3 < active.mean() < 0.9
    plain, bounded = found.normalised(), found.normalised(bound)
    assert np.array_equal(bounded[~active], plain[~active])
    assert np.allclose(bounded[active] * bound, (found.y - found.means)[active], rtol=1e-12)
    assert np.array_equal(replace(found, bound=bound).active(), active)


@pytest.mark.parametrize("bound", [0, -1.0, math.nan, math.inf, True, "0.11", None])
def test_a_bound_that_is_none_is_refused(photo: np.ndarray, found: Latents, bound: Any) -> None:
    for call in (latents.check_bound, lambda bound: latents.measure(photo, bound=bound)):
        with pytest.raises(ArgumentError, match=r"bound is .* finite number above zero"):
            call(bound)
    if bound is not None:
        with pytest.raises(ArgumentError, match="bound"):
            found.normalised(bound)


def test_wrong_arguments_are_refused(photo: np.ndarray) -> None:
    for quality in (0, 101, math.nan):
        with pytest.raises(ArgumentError, match="quality"):
            latents.measure(photo, quality)
    with pytest.raises(ArgumentError, match="picture"):
        latents.measure(photo.astype(np.float32))  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="threads"):
        latents.measure(photo, threads=0)


def test_gaussian_latents_with_the_right_table_are_standard_normal(rng: np.random.Generator, seed: int) -> None:
    rows, loc = np.arange(0, 64, 3).astype(np.uint8), rng.integers(-80, 80, 22) / 16.0
    noise = rng.standard_normal((1, 22, 128, 64))
    y = noise * index_to_scale(rows)[None, :, None, None] + loc[None, :, None, None]
    found = Simulated(y, GRID, loc, rows).measured()
    said = f"seed {seed}"
    assert found.z is None, said
    assert found.quality == 25.5, said
    assert np.array_equal(found.scales[0, :, 0, 0], index_to_scale(rows)), said
    assert found.total_bits == found.bits.sum() == pytest.approx(found.allocation.sum(), rel=1e-9), said
    made = latents.moments(found.normalised())
    count = made.count
    assert count == noise.size, said
    assert abs(made.mean) < 6 / math.sqrt(count), said
    assert abs(made.variance - 1) < 6 * math.sqrt(2 / count), said
    assert abs(made.kurtosis) < 6 * math.sqrt(24 / count), said
    entropy = 0.5 * math.log2(2 * math.pi * math.e) + math.log2(float(index_to_scale(63)))
    assert found.bits[0, -1].mean() == pytest.approx(entropy, abs=0.06), said  # of the widest row, 128


def test_other_tables_count_with_their_own_mean_and_deviation(rng: np.random.Generator, seed: int) -> None:
    wide, skew = 3.0, [0.125, 0.5, 0.25, 0.125]  # N(0, 3) rounded; 4..7 with mean 5.375, variance 0.734375
    gaussian = Tables.from_gaussian_scales([wide])
    cells = gaussian.frequencies[:-1] / 32768
    tables = Tables.from_pmfs([(int(gaussian.first[0]), cells), (4, skew), (-2, [1.0])])
    means, scales = latents.table_moments(tables)
    assert means == pytest.approx([0.0, 5.375, -2.0], abs=2e-4)
    assert scales == pytest.approx([math.sqrt(wide**2 + 1 / 12), math.sqrt(0.734375), SCALE_MIN], rel=1e-3)
    y = rng.normal(0.0, wide, (1, 1, 256, 64))
    found = Simulated(y, tables, np.zeros(1), np.zeros(1, np.uint8)).measured()
    variance, wanted = latents.moments(found.normalised()).variance, wide**2 / (wide**2 + 1 / 12)
    assert abs(variance - wanted) < 6 * math.sqrt(2 / y.size), f"seed {seed}"
    found = Simulated(np.full((1, 1, 4, 4), 5.5), tables, np.zeros(1), np.ones(1, np.uint8)).measured()
    assert np.allclose(found.normalised(), 0.125 / math.sqrt(0.734375), rtol=1e-3)


def test_tables_of_the_grid_are_known_only_in_their_own_row() -> None:
    means, scales = latents.table_moments(GRID)
    assert not means.any()
    assert np.array_equal(scales, scale_grid())
    shifted = Tables.from_gaussian_scales(scale_grid()[20:])
    _, scales = latents.table_moments(shifted)
    assert scales == pytest.approx(np.sqrt(scale_grid()[20:] ** 2 + 1 / 12), rel=2e-3)


def test_a_model_of_one_quality_is_measured_at_that_one() -> None:
    model = Simulated(np.zeros((1, 4, 4, 4)), GRID, np.zeros(4), np.zeros(4, np.uint8))
    pixels = np.zeros((64, 64, 3), np.uint8)
    assert latents.measure(pixels, model=model).quality == 25.5
    with pytest.raises(ArgumentError, match=r"25\.5"):
        latents.measure(pixels, 80, model=model)


def test_moments_of_known_distributions() -> None:
    assert latents.moments(np.array([-1.0, 1.0])) == Moments(2, 0.0, 1.0, -2.0)
    even = latents.moments(np.linspace(0, 1, 100_001))  # uniform
    assert (even.mean, even.variance, even.kurtosis) == pytest.approx((0.5, 1 / 12, -1.2), abs=1e-4)
    sparse = latents.moments(np.eye(1, 10)[0])  # one in ten: (1 - 6 p q) / (p q)
    assert sparse.kurtosis == pytest.approx((1 - 6 * 0.09) / 0.09)
    flat, none = latents.moments(np.full(5, 2.0)), latents.moments(np.zeros(0))
    assert (flat.mean, flat.variance, math.isnan(flat.kurtosis)) == (2.0, 0.0, True)
    assert none.count == 0
    assert math.isnan(none.mean)


def test_white_noise_is_not_correlated(rng: np.random.Generator, seed: int) -> None:
    matrix = latents.spatial_correlation(rng.standard_normal((20, 60, 70)))
    assert matrix.shape == (9, 9)
    assert matrix[4, 4] == pytest.approx(1.0, abs=1e-12)
    off = np.delete(matrix.ravel(), 40)
    assert np.abs(off).max() < 6 / math.sqrt(20 * 56 * 66), f"seed {seed}"
    assert np.array_equal(matrix, matrix[::-1, ::-1])


def test_an_autoregressive_field_has_its_own_powers(rng: np.random.Generator, seed: int) -> None:
    """v = a v[up] + noise along the rows, then b along the columns: correlation a^|i| b^|j|."""
    a, b = 0.8, -0.5
    field = rng.standard_normal((6, 340, 340))
    for row in range(1, 340):
        field[:, row] += a * field[:, row - 1]
    for column in range(1, 340):
        field[:, :, column] += b * field[:, :, column - 1]
    matrix = latents.spatial_correlation(field[:, 40:, 40:])
    steps = np.abs(np.arange(-4, 5))
    assert np.abs(matrix - np.outer(a**steps, b**steps)).max() < 0.03, f"seed {seed}"


def test_a_checkerboard_is_correlated_by_its_parity() -> None:
    board = np.indices((7, 10)).sum(axis=0) % 2
    steps = np.arange(-4, 5)
    assert np.allclose(latents.spatial_correlation(board[None]), (-1.0) ** np.add.outer(steps, steps), atol=1e-12)


def test_a_direction_has_its_own_side(rng: np.random.Generator, seed: int) -> None:
    """What lies 1 down and 2 right of a value equals it; 1 down and 2 left does not."""
    line = rng.standard_normal(1000)
    field = np.stack([line[2 * (39 - row) :][:900] for row in range(40)])
    matrix = latents.spatial_correlation(field[None])
    assert matrix[4 + 1, 4 + 2] == pytest.approx(1.0)
    assert matrix[4 - 2, 4 - 4] == pytest.approx(1.0)
    assert abs(matrix[4 + 1, 4 - 2]) < 0.3, f"seed {seed}"


def test_correlation_is_pearsons_and_ends_at_the_grid(rng: np.random.Generator, seed: int) -> None:
    field = rng.standard_normal((2, 3, 6)) * 1e-3 + 50.0
    weights = np.array([3.0, 1.0])
    matrix = latents.spatial_correlation(field[None], weights)
    assert np.isnan(matrix[[0, 1, 7, 8]]).all()  # 3 or 4 rows away there is nothing
    for i, j in ((0, 1), (1, -2), (0, 4), (1, 3), (2, 0)):
        rows, columns = slice(0, 3 - i), slice(max(0, -j), 6 - max(0, j))
        shifted = slice(i, 3), slice(max(0, j), 6 + min(0, j))
        each = [np.corrcoef(v[rows, columns].ravel(), v[shifted].ravel())[0, 1] for v in field]
        assert matrix[4 + i, 4 + j] == pytest.approx(np.average(each, weights=weights), abs=1e-9), f"seed {seed}"


def test_channels_weigh_what_they_are_given_and_constant_ones_nothing(rng: np.random.Generator) -> None:
    board = np.indices((8, 8)).sum(axis=0) % 2 * 1.0
    stripes = np.indices((8, 8))[0] % 2 * 1.0
    both = np.stack([board, stripes, np.full((8, 8), 0.1)])
    for weights, beside in (([1, 1, 1], 0.0), ([3, 1, 9], -0.5), ([0, 2, 5], 1.0), ([2, 0, 0], -1.0)):
        assert latents.spatial_correlation(both, np.array(weights))[4, 5] == pytest.approx(beside, abs=1e-12)
    assert np.isnan(latents.spatial_correlation(both[2:])).all()


@pytest.mark.parametrize("corner", [0, -1])
def test_what_is_constant_on_one_side_of_an_offset_alone_has_no_figure_there(corner: int) -> None:
    field = np.full((1, 5, 6), 0.1)
    field[0, corner, corner] = 7.0
    matrix = latents.spatial_correlation(field)
    assert matrix[4, 4] == pytest.approx(1.0)
    assert np.isnan(np.delete(matrix.ravel(), 40)).all()


@pytest.mark.parametrize(
    ("values", "weights", "said"),
    [
        (np.zeros((3, 4)), None, r"\(3, 4\).*\(M,H,W\)"),
        (np.zeros((2, 3, 4, 4)), None, r"\(2, 3, 4, 4\)"),
        (np.zeros((0, 4, 4)), None, "empty"),
        (np.full((1, 4, 4), np.nan), None, "NaN"),
        (np.zeros((2, 4, 4)), np.ones(3), r"weights have shape \(3,\)"),
        (np.zeros((2, 4, 4)), np.array([1.0, -1.0]), "smallest -1"),
        (np.zeros((2, 4, 4)), np.zeros(2), "not all 0"),
        (np.zeros((2, 4, 4)), np.array([1.0, np.inf]), "weights.* infinity"),
    ],
)
def test_fields_that_have_no_correlation_are_refused(values: Any, weights: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        latents.spatial_correlation(values, weights)


def test_more_refusals() -> None:
    with pytest.raises(ArgumentError, match="reach"):
        latents.spatial_correlation(np.zeros((1, 4, 4)), reach=-1)
    with pytest.raises(ArgumentError, match=r"values, of shape \(1,\)"):
        latents.moments(np.array([math.inf]))
    with pytest.raises(ArgumentError, match="empty"):
        latents.normal_quantiles(np.zeros(0))
    with pytest.raises(ArgumentError, match="array of numbers"):
        latents.moments("text")  # type: ignore[arg-type]


def test_quantiles_of_a_normal_sample_lie_on_the_line(rng: np.random.Generator, seed: int) -> None:
    theory, made = latents.normal_quantiles(3.0 + 2.0 * rng.standard_normal(100_000))
    assert theory[0] == -theory[-1]
    assert 4.0 < theory[-1] < 4.5  # as far out as 100,000 values go
    inner = np.abs(theory) <= 3
    assert np.abs(made - (3.0 + 2.0 * theory))[inner].max() < 0.25, f"seed {seed}"
    assert latents.normal_quantiles(np.array([7.0]))[1] == [7.0]


def test_the_benchmark_measures_a_model_of_one_quality_once_and_rewrites_its_own_part_of_the_page(
    tmp_path: Path, photo: np.ndarray, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    images.save(tmp_path / "a.png", photo[:64, :64])
    single = load_model(SMALL, 1)
    single.fixed_rate = 98
    paths = [tmp_path / "a.png"] * 2
    rows = benchmark.measure({"any": model, "single": single}, paths, [20.0, 80.0], [0.11, 1.0])
    named = [("any", 20.0), ("any", 80.0), ("single", 50.0)]
    assert [(row.model, row.quality, row.bound) for row in rows] == [(*each, b) for each in named for b in (0.11, 1.0)]
    found, row = latents.measure(photo[:64, :64], 20, model=model), rows[1]
    assert (row.all.variance, row.all.count) == pytest.approx(
        (latents.moments(found.normalised(1.0)).variance, 2 * found.y.size)
    )
    assert row.bpp == pytest.approx(found.total_bits / 64**2)
    assert row.low[:2] == pytest.approx(
        (found.active(1.0).mean(), found.bits[found.active(1.0)].sum() / found.bits.sum())
    )
    page = tmp_path / "page.md"
    page.write_text(f"before\n{benchmark.BEGIN}old\n{benchmark.END}\nafter\n")
    monkeypatch.setattr(benchmark, "PAGE", page)
    for text in ("first", "second"):
        benchmark.write(text, single)
    assert page.read_text() == f"before\n{benchmark.BEGIN}\nsecond\n\n{benchmark.END}\nafter\n"
    assert len(list(tmp_path.glob("latents-*.png"))) == 4
