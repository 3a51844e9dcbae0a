"""BD-rate is what its definition and a published package say; its interval covers; bad curves are refused."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from intaglio import bdrate, rdcurves
from intaglio.bdrate import Options
from intaglio.errors import ArgumentError
from intaglio.rdcurves import Curve
from intaglio.results import Row

# Two curves of (bits per pixel, dB) with different numbers of points and partly overlapping ranges.
ANCHOR = np.array([[0.2212, 23.85], [0.5083, 29.14], [0.9055, 32.17], [1.8565, 36.46], [3.8101, 41.35]])
TEST = np.array([[0.1196, 26.86], [0.3421, 30.48], [0.9982, 35.98], [2.1797, 41.47]])
NAMES = tuple(f"{number:02}.png" for number in range(24))


def random_curve(rng: np.random.Generator) -> np.ndarray:
    """Four to twelve points of rising rate and quality."""
    count = int(rng.integers(4, 13))
    return np.stack([np.exp(np.sort(rng.uniform(-2.5, 1.2, count))), np.sort(rng.uniform(25, 42, count))], axis=1)


def rows_of(codec: str, factors: np.ndarray, pictures: Iterable[str] = NAMES) -> list[Row]:
    """A codec that needs, at equal quality, `factors[i]` times the bits of a common curve on picture i."""
    points = [(str(quality), 0.1 * 1.5**n, quality) for n, quality in enumerate(range(28, 42, 2))]
    return [
        Row(picture, 768, 512, codec, setting, bytes=1, bpp=rate * (1 + 0.3 * number) * factor, psnr=quality + number)
        for number, (picture, factor) in enumerate(zip(pictures, factors, strict=True))
        for setting, rate, quality in points
    ]


def curve(rows: list[Row], metric: str = "psnr") -> Curve:
    """The only curve of these rows."""
    (found,) = rdcurves.from_rows(rows, metric).values()
    assert isinstance(found, Curve), found
    return found


def apart(spread: float) -> list[Row]:
    """Two codecs whose mean curves share half a decibel; the second's pictures lie `spread` dB above and below it."""
    return [
        Row(name, 8, 8, codec, str(step), bpp=0.1 * 2**step, psnr=start + 2 * step + shift)
        for codec, start in (("low", 28.0), ("high", 33.5))
        for number, name in enumerate(NAMES)
        for shift in [spread * (-1) ** number * (codec == "high")]
        for step in range(4)
    ]


@pytest.mark.filterwarnings("ignore:Insufficient curve overlap")
@pytest.mark.parametrize("method", ["pchip", "cubic"])
def test_bd_rate_is_within_5_hundredths_of_the_bjontegaard_package(
    method: str, rng: np.random.Generator, seed: int
) -> None:
    package = pytest.importorskip("bjontegaard")
    done, worst = 0, 0.0
    while done < 20:
        a, b = random_curve(rng), random_curve(rng)
        try:
            found = bdrate.compare(rdcurves.from_points(a), rdcurves.from_points(b))
        except ArgumentError:
            continue
        reference = package.bd_rate(*a.T, *b.T, method=method, require_matching_points=False)
        ours = found.rate if method == "pchip" else found.cubic
        # A cubic through few random points can run away to thousands of percent; then the 0.05 is of that.
        worst = max(worst, abs(ours - reference) / max(1, abs(reference) / 100))
        done += 1
    assert worst < 0.05, f"seed {seed}"


@pytest.mark.filterwarnings("ignore:Insufficient curve overlap")
def test_bd_psnr_is_that_of_the_bjontegaard_package(rng: np.random.Generator, seed: int) -> None:
    package = pytest.importorskip("bjontegaard")
    for _ in range(20):
        a = random_curve(rng)
        b = a * [rng.uniform(0.5, 1.5), 1] + np.sort(rng.uniform(0, 1, a.shape), axis=0) * [0, 2]
        reference = package.bd_psnr(*a.T, *b.T, method="pchip", require_matching_points=False)
        found = bdrate.compare(rdcurves.from_points(a), rdcurves.from_points(b), Options(min_overlap=0))
        assert found.quality == pytest.approx(reference, abs=1e-6), f"seed {seed}"


def test_known_values_of_the_bjontegaard_package() -> None:
    """Version 1.3, method "pchip"; these need no package."""
    assert bdrate.bd_rate(ANCHOR, TEST) == pytest.approx(-46.64958503906843, abs=1e-6)
    assert bdrate.bd_rate(TEST, ANCHOR) == pytest.approx(87.43996663049359, abs=1e-6)


def test_a_curve_of_ten_percent_more_bits_has_a_bd_rate_of_ten_percent() -> None:
    found = bdrate.compare(rdcurves.from_points(ANCHOR), rdcurves.from_points(ANCHOR * [1.1, 1.0]))
    assert (found.rate, found.cubic) == (pytest.approx(10.0), pytest.approx(10.0))
    assert (found.share_anchor, found.share_test, found.low, found.high) == (1.0, 1.0, 23.85, 41.35)
    assert bdrate.bd_rate(ANCHOR, ANCHOR[::-1]) == pytest.approx(0.0)


def test_a_curve_one_decibel_higher_has_a_bd_psnr_of_one() -> None:
    found = bdrate.compare(rdcurves.from_points(ANCHOR), rdcurves.from_points(ANCHOR + np.array([0.0, 1.0])))
    assert found.quality == pytest.approx(1.0)
    assert found.rate < 0


def test_straight_lines_have_the_area_between_them() -> None:
    """ln rate = q/5 - 7 against q/4 - 8.5: over 30 to 40 dB the mean difference is 35/4 - 8.5 - 35/5 + 7 = 1/4."""
    quality = np.linspace(30, 40, 5)
    a = np.stack([np.exp(quality / 5 - 7), quality], axis=1)
    b = np.stack([np.exp(quality / 4 - 8.5), quality], axis=1)
    found = bdrate.compare(rdcurves.from_points(a), rdcurves.from_points(b))
    expected = 100 * math.expm1(0.25)
    assert (found.rate, found.cubic) == (pytest.approx(expected), pytest.approx(expected))


def test_the_overlap_is_told_as_a_share_of_each_curve() -> None:
    found = bdrate.compare(rdcurves.from_points(ANCHOR), rdcurves.from_points(TEST))
    assert (found.low, found.high) == (26.86, 41.35)
    assert found.share_anchor == pytest.approx((41.35 - 26.86) / (41.35 - 23.85))
    assert found.share_test == pytest.approx((41.35 - 26.86) / (41.47 - 26.86))


def test_curves_are_means_over_pictures_setting_by_setting() -> None:
    rows = rows_of("jpeg", np.linspace(0.5, 1.5, 24))
    found = curve(rows)
    first = [row for row in rows if row.setting == found.settings[0]]
    expected = [np.mean([row.bpp for row in first]), np.mean([row.psnr for row in first])]
    assert len(first) == 24
    np.testing.assert_allclose(found.mean[0], expected)


def test_codecs_apart_by_one_factor_on_every_picture_have_an_interval_of_no_width() -> None:
    a, b = curve(rows_of("jpeg", np.ones(24))), curve(rows_of("webp", np.full(24, 0.8)))
    found = bdrate.compare(a, b)
    assert found.pictures == 24
    assert found.interval == (pytest.approx(-20.0), pytest.approx(-20.0))
    own = found.per_picture
    assert own
    assert (own.mean, own.median, own.undefined) == (pytest.approx(-20.0), pytest.approx(-20.0), 0)
    assert own.rates == pytest.approx(dict.fromkeys(NAMES, -20.0))


def test_the_interval_resamples_pictures_in_pairs(rng: np.random.Generator, seed: int) -> None:
    """As a plain loop over resamples that calls `bd_rate` has it."""
    a = curve(rows_of("jpeg", rng.uniform(0.7, 1.4, 24)))
    b = curve(rows_of("webp", rng.uniform(0.5, 1.0, 24)))
    found = bdrate.compare(a, b, Options(resamples=200, seed=7))
    draws = np.random.default_rng(7).multinomial(24, [1 / 24] * 24, 200)
    chosen = [np.repeat(np.arange(24), draw) for draw in draws]
    rates = [
        bdrate.bd_rate(*(np.stack([c.rate[s].mean(0), c.quality[s].mean(0)], axis=1) for c in (a, b))) for s in chosen
    ]
    assert found.interval
    assert found.interval == pytest.approx(tuple(np.quantile(rates, [0.025, 0.975]))), f"seed {seed}"
    assert found.interval[0] < found.rate < found.interval[1], f"seed {seed}"
    assert bdrate.compare(a, b, Options(resamples=200, seed=7)) == found


def test_resamples_that_share_no_quality_are_counted_and_never_make_the_interval_nan() -> None:
    how = Options(min_overlap=0)
    few, many = (bdrate.compare(*_low_and_high(apart(spread)), how) for spread in (0.9, 3.0))
    assert 0 < few.left_out <= 50
    assert few.interval
    assert few.interval[0] <= few.rate <= few.interval[1]
    assert few.notices[-1].endswith(
        f"{few.left_out} of 1000 resamples share no quality; the interval is that of the others"
    )
    assert many.left_out > 50
    assert many.interval is None
    assert many.notices[-1].endswith("there is no interval")
    cell = bdrate.matrix(apart(3.0), options=how).cell("low", "high")
    assert math.isnan(cell.interval_low)
    assert math.isfinite(cell.rate)


def _low_and_high(rows: list[Row]) -> tuple[Curve, Curve]:
    return curve([row for row in rows if row.codec == "low"]), curve([row for row in rows if row.codec == "high"])


def test_points_nearer_than_a_millionth_in_quality_are_refused() -> None:
    for gap, fine in ((0.9e-6, False), (1.1e-6, True)):
        points = np.array([[0.1, 30], [0.2, 31], [0.3, 31 + gap], [0.4, 33]])
        if fine:
            assert math.isfinite(bdrate.bd_rate(points, points))
        else:
            with pytest.raises(ArgumentError, match="have the same quality"):
                rdcurves.from_points(points)


def test_single_pictures_have_the_bd_rate_of_their_own_curves(rng: np.random.Generator, seed: int) -> None:
    factors = rng.uniform(0.5, 1.5, 24)
    found = bdrate.compare(curve(rows_of("jpeg", np.ones(24))), curve(rows_of("webp", factors))).per_picture
    assert found
    np.testing.assert_allclose(list(found.rates.values()), 100 * (factors - 1), atol=1e-9, err_msg=f"seed {seed}")
    assert found.median == pytest.approx(float(np.median(100 * (factors - 1))))


def test_the_interval_covers_the_truth_about_95_times_in_100(rng: np.random.Generator, seed: int) -> None:
    """Factors of mean 0.9 with a spread, 24 pictures each: between 85 and 100 of 100 intervals must hold -10 %."""
    a = curve(rows_of("jpeg", np.ones(24)))
    inside = 0
    for _ in range(100):
        b = replace(a, name="webp", rate=a.rate * rng.uniform(0.7, 1.1, (24, 1)))
        low, high = bdrate.compare(a, b, Options(resamples=300)).interval or (0, 0)
        inside += low <= -10 <= high
    assert inside >= 85, f"{inside} of 100, seed {seed}"


def test_a_thousand_resamples_of_kodak_take_less_than_a_second() -> None:
    rows = [row for codec in "abcdefg" for row in rows_of(codec, np.linspace(0.8, 1.2, 24))]
    start = time.perf_counter()
    found = bdrate.matrix(rows)
    assert time.perf_counter() - start < 5, "42 pairs; a second is usual"
    assert len(found.cells) == 42


def test_a_matrix_has_every_ordered_pair_and_reasons_for_what_is_missing() -> None:
    rows = [*rows_of("jpeg", np.ones(24)), *rows_of("webp", np.full(24, 0.8)), *rows_of("avif", np.ones(24))[:3]]
    found = bdrate.matrix(rows)
    assert found.codecs == ("jpeg", "webp", "avif")
    assert [(c.anchor, c.test) for c in found.cells] == list(itertools.permutations(found.codecs, 2))
    cell, back = found.cell("jpeg", "webp"), found.cell("webp", "jpeg")
    assert (cell.rate, cell.interval_low, cell.pictures, cell.reason) == (
        pytest.approx(-20),
        pytest.approx(-20),
        24,
        "",
    )
    assert back.rate == pytest.approx(25)
    assert math.isnan(found.cell("jpeg", "avif").rate)
    assert "3 points" in found.cell("jpeg", "avif").reason
    with pytest.raises(KeyError):
        found.cell("jpeg", "jpeg")


def test_only_pictures_that_both_have_count_and_the_others_are_named() -> None:
    a = curve(rows_of("jpeg", np.ones(24)))
    factors = np.full(24, 0.5)
    factors[:3] = 9.0
    b = curve(rows_of("webp", factors, ["x.png", "y.png", "z.png", *NAMES[3:]]))
    found = bdrate.compare(a, b)
    assert (found.pictures, found.rate) == (21, pytest.approx(-50.0))
    assert [n for n in found.notices if "jpeg" in n and "00.png, 01.png, 02.png" in n]
    assert [n for n in found.notices if "webp" in n and "x.png, y.png, z.png" in n]


def test_pictures_of_one_name_and_another_size_are_other_pictures() -> None:
    a = curve(rows_of("jpeg", np.ones(24)))
    b = curve([replace(row, width=384, height=256) for row in rows_of("webp", np.ones(24))])
    with pytest.raises(ArgumentError, match=r"no picture of the same name and size in common \(such as 00.png"):
        bdrate.compare(a, b)


@pytest.mark.parametrize("fault", [{"psnr": math.nan}, {"psnr": math.inf}, {"bpp": math.nan}, {"error": "failed"}])
def test_a_picture_without_a_setting_is_left_out_and_named(fault: dict[str, float | str]) -> None:
    rows = rows_of("jpeg", np.ones(24))
    rows[9] = replace(rows[9], **fault)
    found = curve(rows)
    assert len(found.pictures) == 23
    assert "01.png" in found.notices[0]


def test_few_pictures_have_a_bd_rate_and_no_interval() -> None:
    few = NAMES[: bdrate.MIN_PICTURES - 1]
    a, b = (curve(rows_of(name, np.ones(len(few)), few)) for name in ("jpeg", "webp"))
    found = bdrate.compare(a, b)
    assert (found.rate, found.interval) == (pytest.approx(0.0), None)


def test_a_curve_that_is_a_mean_already_has_no_interval_and_says_so() -> None:
    a = curve(rows_of("jpeg", np.ones(24)))
    found = bdrate.compare(a, rdcurves.from_points(a.mean))
    assert (found.rate, found.interval, found.per_picture, found.pictures) == (pytest.approx(0.0), None, None, 0)
    assert "no interval" in found.notices[0]


def test_a_rate_that_falls_is_used_as_it_is_and_told() -> None:
    dented = ANCHOR.copy()
    dented[2, 0] = 0.45
    found = bdrate.compare(rdcurves.from_points(ANCHOR), rdcurves.from_points(dented, "dented"))
    assert found.rate < 0
    assert found.notices == (
        "dented: the rate falls 1 time(s) while the quality rises; all points were used all the same",
    )


@pytest.mark.parametrize(
    ("points", "what"),
    [
        (ANCHOR + np.array([0.0, 50.0]), r"share no quality \(23.85 to 41.35 dB and 73.85 to 91.35 dB\)"),
        (ANCHOR + np.array([0.0, 12.0]), "share 31% of the narrower curve's qualities"),
        (ANCHOR * [-1.0, 1.0], "not positive"),
        (ANCHOR * [1.0, math.nan], "not finite"),
        (ANCHOR * [math.inf, 1.0], "not finite"),
        (np.repeat(ANCHOR, 2, axis=0), "same quality"),
        (ANCHOR[:3], "3 points"),
        (ANCHOR.T, "shape"),
        (np.zeros((0, 2)), "0 points"),
    ],
)
def test_unusable_curves_are_refused(points: np.ndarray, what: str) -> None:
    with pytest.raises(ArgumentError, match=what):
        bdrate.bd_rate(ANCHOR, points)


def test_the_least_overlap_is_a_choice() -> None:
    a, b = rdcurves.from_points(ANCHOR), rdcurves.from_points(ANCHOR + np.array([0.0, 12.0]))
    assert bdrate.compare(a, b, Options(min_overlap=0.3)).share_test == pytest.approx(5.5 / 17.5)


@pytest.mark.parametrize("wrong", [{"min_overlap": 1.5}, {"min_overlap": math.nan}, {"resamples": -1}, {"seed": -1}])
def test_wrong_options_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ArgumentError):
        Options(**wrong)  # type: ignore[arg-type]


def test_curves_of_different_metrics_are_not_compared() -> None:
    with pytest.raises(ArgumentError, match="psnr, the other ms_ssim_db"):
        bdrate.compare(rdcurves.from_points(ANCHOR), rdcurves.from_points(TEST, metric="ms_ssim_db"))
    with pytest.raises(ArgumentError, match="'ms_ssim'; it must be one of psnr"):
        rdcurves.from_rows([], "ms_ssim")
