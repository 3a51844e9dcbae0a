"""The layers do what their papers say, start as they promise, and see no farther than they may."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.onnxgraph import check_graph
from intaglio.traversal import Layout
from intaglio.workshop import attention
from intaglio.workshop.attention import Attention
from intaglio.workshop.export import to_onnx
from intaglio.workshop.gdn import GDN
from intaglio.workshop.layers import Residual, Shuffled, strided, transposed
from intaglio.workshop.masked import Mask, MaskedConv2d, mask
from intaglio.workshop.models.klt import start_linear
from intaglio.workshop.models.seen import CELL, Seen
from intaglio.workshop.models.staged import RESIDUAL_REACH

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = [(5, 2), (9, 4), (3, 1)]
BAD_NUMBERS = [-0.1, math.nan, math.inf]


@pytest.fixture(autouse=True)
def seeded(seed: int) -> None:
    torch.manual_seed(seed)


def random_gdn(**options: bool) -> GDN:
    layer = GDN(3, **options).double()
    with torch.no_grad():
        layer.root_beta.uniform_(0.3, 2.0)
        layer.root_gamma.uniform_(0.0, 1.0)
    return layer


def test_cells_are_seen_as_the_planes_that_they_are_of() -> None:
    seen, planes = Seen(3, (16, 8, 4)), torch.randn(2, 3, 64, 96)
    for found, wanted in zip(seen(F.pixel_unshuffle(planes, CELL)), seen(planes), strict=True):
        assert torch.allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("simplified", [False, True])
def test_gdn_is_its_formula(inverse: bool, simplified: bool, seed: int) -> None:
    layer = random_gdn(inverse=inverse, simplified=simplified)
    x = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    beta, gamma, wanted = layer.beta(), layer.gamma(), torch.empty_like(x)
    for i in range(3):
        pool = beta[i] + sum(gamma[i, j] * (x[:, j].abs() if simplified else x[:, j] ** 2) for j in range(3))
        root = pool if simplified else torch.sqrt(pool)
        wanted[:, i] = x[:, i] * root if inverse else x[:, i] / root
    assert torch.allclose(layer(x), wanted, rtol=1e-12), f"seed {seed}"


@pytest.mark.parametrize("simplified", [False, True])
def test_gdns_gradients_are_right(simplified: bool) -> None:
    layer = random_gdn(simplified=simplified, symmetric=True)
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    beta, gamma = layer.root_beta.detach(), layer.root_gamma.detach()

    def run(x: Tensor, beta: Tensor, gamma: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"root_beta": beta, "root_gamma": gamma}, (x,))

    assert torch.autograd.gradcheck(run, (x, beta.requires_grad_(), gamma.requires_grad_()))


def test_gdn_starts_as_published_and_symmetric_gamma_stays_symmetric() -> None:
    layer = GDN(4)
    assert torch.allclose(layer.beta(), torch.ones(4))
    assert torch.allclose(layer.gamma(), 0.1 * torch.eye(4))
    symmetric, plain = random_gdn(symmetric=True).gamma(), random_gdn().gamma()
    assert torch.equal(symmetric, symmetric.t())
    assert not torch.equal(plain, plain.t())


def test_gdns_parameters_stay_in_bounds_and_come_back() -> None:
    layer = GDN(2, least=1e-3)
    with torch.no_grad():
        layer.root_beta.fill_(-5.0)
        layer.root_gamma.fill_(-5.0)
    assert torch.allclose(layer.beta(), torch.full((2,), 1e-3))
    assert layer.gamma().min() >= 0.0
    assert torch.isfinite(layer(torch.randn(1, 2, 3, 3))).all()
    (-layer.beta().sum()).backward()  # descending this raises beta: it may
    assert layer.root_beta.grad is not None
    assert (layer.root_beta.grad < 0).all()
    (grad,) = torch.autograd.grad(layer.beta().sum(), layer.root_beta)  # and this would lower it further
    assert not grad.any()


@pytest.mark.parametrize(("kernel", "stride"), STEPS)
def test_a_step_up_undoes_the_shape_of_a_step_down(kernel: int, stride: int) -> None:
    x = torch.randn(2, 3, 4 * stride, 2 * stride)
    down = strided(3, 7, kernel, stride)(x)
    assert down.shape == (2, 7, 4, 2)
    assert transposed(7, 3, kernel, stride)(down).shape == x.shape
    assert Shuffled(7, 3, 3, stride)(down).shape == x.shape


@pytest.mark.parametrize(("kernel", "stride"), STEPS)
def test_the_transposed_convolution_is_the_transpose_of_the_strided_one(kernel: int, stride: int, seed: int) -> None:
    down, up = strided(3, 5, kernel, stride).double(), transposed(5, 3, kernel, stride).double()
    with torch.no_grad():
        up.weight.copy_(down.weight)
    x = torch.randn(1, 3, 8 * stride, 6 * stride, dtype=torch.float64)
    y = torch.randn(1, 5, 8, 6, dtype=torch.float64)
    ahead, back = (down(x) * y).sum().item(), (x * up(y)).sum().item()
    assert math.isclose(ahead, back, rel_tol=1e-9), f"seed {seed}"


@pytest.mark.parametrize(("kernel", "stride"), STEPS)
def test_a_pixel_shuffle_can_do_whatever_the_transposed_convolution_does(kernel: int, stride: int, seed: int) -> None:
    up, shuffled = transposed(4, 2, kernel, stride), Shuffled(4, 2, 3, stride)
    with torch.no_grad():
        weight = shuffled.conv.weight.view(2, stride, stride, 4, 3, 3).zero_()
        for row, column, down, across in np.ndindex(stride, stride, 3, 3):
            at = row + kernel // 2 - stride * (down - 1), column + kernel // 2 - stride * (across - 1)
            if min(at) >= 0 and max(at) < kernel:
                weight[:, row, column, :, down, across] = up.weight[:, :, at[0], at[1]].t()
    y = torch.randn(1, 4, 5, 6)
    assert torch.allclose(shuffled(y), up(y), atol=1e-5), f"seed {seed}"


@pytest.mark.parametrize(("kernel", "stride"), STEPS)
def test_steps_start_with_the_gain_they_are_asked_for(kernel: int, stride: int, seed: int) -> None:
    for layer in (
        strided(48, 64, kernel, stride, 3.0),
        transposed(48, 64, kernel, stride, 3.0),
        Shuffled(48, 64, 3, stride, 3.0),
    ):
        with torch.no_grad():
            middle = (
                layer(torch.randn(2, 48, 32, 32))[:, :, 6:-6, 6:-6] if stride < 4 else layer(torch.randn(4, 48, 64, 64))
            )
        assert abs(float(middle.std()) / 3.0 - 1.0) < 0.15, f"{layer}, seed {seed}"


def reach_of(layer: nn.Module, width: int) -> int:
    """How far the layer looks, from where its output has a gradient."""
    x = torch.randn(1, width, 25, 25, requires_grad=True)
    layer(x)[0, :, 12, 12].sum().backward()
    assert x.grad is not None
    rows, columns = x.grad.abs().sum((0, 1)).nonzero(as_tuple=True)
    return int(max((rows - 12).abs().max(), (columns - 12).abs().max()))


def test_attention_starts_close_to_the_identity_and_reaches_as_far_as_it_says() -> None:
    layer, x = Attention(6), torch.randn(2, 6, 9, 11)
    y = layer(x)
    assert y.shape == x.shape
    assert 0.0 < (y - x).abs().max() < 0.3 * x.abs().max()
    wide = Attention(32)
    nn.init.normal_(wide.gate[-1].weight)  # type: ignore[arg-type]
    assert reach_of(wide, 32) == attention.REACH


def test_attention_weighs_its_trunk_by_an_open_or_shut_gate() -> None:
    layer, x = Attention(4), torch.randn(1, 4, 5, 5)
    last = layer.gate[-1]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    nn.init.zeros_(last.weight)
    for bias, share in ((100.0, 1.0), (0.0, 0.5), (-100.0, 0.0)):
        nn.init.constant_(last.bias, bias)
        assert torch.allclose(layer(x), x + share * layer.trunk(x), atol=1e-6)


def test_a_residual_block_starts_as_the_identity_and_reaches_as_far_as_it_says() -> None:
    layer, x = Residual(5), torch.randn(1, 5, 6, 6)
    assert torch.equal(layer(x), x)
    nn.init.normal_(layer.second.weight)
    assert reach_of(layer, 5) == RESIDUAL_REACH


@pytest.mark.parametrize("kind", get_args(Mask))
@pytest.mark.parametrize("kernel", [3, 5])
def test_a_masked_convolution_sees_only_what_is_coded(kind: Mask, kernel: int) -> None:
    layer = MaskedConv2d(2, 3, kernel, kind)
    nn.init.uniform_(layer.weight, 0.5, 1.0)
    x = torch.randn(1, 2, 7, 7, requires_grad=True)
    layer(x)[0, :, 3, 3].sum().backward()
    assert x.grad is not None
    for row, column in np.ndindex(7, 7):
        near = max(abs(row - 3), abs(column - 3)) <= kernel // 2
        before = 7 * row + column < 7 * 3 + 3 + (kind == "B")
        coded = (row + column) % 2 == 1 if kind == "checkerboard" else before
        assert bool(x.grad[0, :, row, column].any()) == (near and coded), (row, column)


def test_serial_context_through_two_layers_never_sees_what_comes() -> None:
    network = nn.Sequential(MaskedConv2d(1, 4, 5, "A"), nn.ReLU(), MaskedConv2d(4, 1, 3, "B"))
    for layer in (network[0], network[2]):
        nn.init.uniform_(layer.weight, 0.5, 1.0)  # type: ignore[union-attr]
    x = torch.rand(1, 1, 8, 8, requires_grad=True)
    network(x)[0, 0, 4, 3].backward()
    assert x.grad is not None
    seen = x.grad.flatten().nonzero().flatten()
    assert len(seen) > 12
    assert int(seen.max()) < 8 * 4 + 3


def test_what_the_checkerboards_second_step_sees_is_a_masked_convolution(seed: int) -> None:
    layout, y = Layout(3, "checkerboard"), torch.randn(1, 3, 8, 10)
    y_hat = torch.zeros_like(y)
    for part in layout.parts(0):
        y_hat[part] = y[part]
    layer = MaskedConv2d(3, 4, 5, "checkerboard")
    ordinary = F.conv2d(y_hat, layer.weight, layer.bias, padding=2)
    masked = layer(y)
    for part in layout.parts(1):  # where the step codes
        here = slice(None), slice(None), *part[2:]
        assert torch.allclose(ordinary[here], masked[here], atol=1e-5), f"seed {seed}"


def test_what_a_channel_step_sees_is_a_convolution_under_a_mask_over_channels(seed: int) -> None:
    layout, y = Layout(6, "channels", 3), torch.randn(1, 6, 4, 4)
    for step in range(layout.steps):
        y_hat = torch.zeros_like(y)
        for earlier in range(step):
            for part in layout.parts(earlier):
                y_hat[part] = y[part]
        weight = torch.randn(2, 6, 3, 3)
        wanted = F.conv2d(y, weight * (torch.arange(6) < layout.seen(step)).float()[:, None, None], padding=1)
        assert torch.allclose(F.conv2d(y_hat, weight, padding=1), wanted, atol=1e-5), f"step {step}, seed {seed}"


def test_masks_are_those_of_the_papers() -> None:
    assert mask("A", 3).tolist() == [[1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert mask("B", 3).tolist() == [[1, 1, 1], [1, 1, 0], [0, 0, 0]]
    assert mask("checkerboard", 3).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert mask("checkerboard", 5)[0].tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("kernel", [0, 2, -1, 3.0])
def test_a_mask_without_a_middle_is_refused(kernel: int) -> None:
    for make in (lambda: mask("A", kernel), lambda: MaskedConv2d(1, 1, kernel, "A")):
        with pytest.raises(ArgumentError, match=f"kernel is {kernel}"):
            make()


@pytest.mark.parametrize("kind", ["C", "a", "", None, []])
def test_a_mask_of_another_kind_is_refused(kind: Any) -> None:
    for make in (lambda: mask(kind, 3), lambda: MaskedConv2d(1, 1, 3, kind)):
        with pytest.raises(ArgumentError, match=re.escape(f"kind is {kind!r}; it must be one of A, B, checkerboard")):
            make()


@pytest.mark.parametrize("step", [strided, transposed, Shuffled])
@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ((3, 3, 4, 2), "kernel is 4; it must be odd"),
        ((3, 3, 0, 2), "kernel is 0; it must be a whole number, 1 or more"),
        ((3, 3, 5.0, 2), "kernel is 5.0; it must be a whole number"),
        ((3, 3, 5, 0), "stride is 0; it must be a whole number, 1 or more"),
        ((3, 3, 5, 1.5), "stride is 1.5"),
        ((0, 3, 5, 2), "inputs is 0"),
        ((3, -1, 5, 2), "outputs is -1"),
    ],
)
def test_steps_of_sizes_that_cannot_be_are_refused(step: Callable[..., nn.Module], sizes: Any, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        step(*sizes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"channels": 0}, "channels is 0; it must be a whole number, 1 or more"),
        ({"channels": 2.5}, "channels is 2.5"),
        *(({"gamma": bad}, f"gamma is {bad}; it must be a finite number, 0 or more") for bad in BAD_NUMBERS),
        *(({"least": bad}, f"least is {bad}; it must be a finite number, above zero") for bad in (0.0, *BAD_NUMBERS)),
    ],
)
def test_gdn_of_parameters_that_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        partial(GDN, channels=3)(**options)


@pytest.mark.parametrize("shape", [(1, 4, 2, 2), (1, 1, 2, 2), (3, 2, 2), (1, 3, 2, 2, 1)])
def test_gdn_names_the_shape_of_what_it_cannot_normalise(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=re.escape(f"x of shape {shape} must be (B, 3, H, W)")):
        GDN(3)(torch.ones(shape))


def test_gdn_that_starts_without_gamma_is_the_identity() -> None:
    x = torch.randn(1, 3, 2, 2)
    assert torch.allclose(GDN(3, gamma=0.0)(x), x)


@pytest.mark.parametrize("shuffle", [False, True])
def test_the_linear_start_is_an_orthonormal_transform_and_its_inverse(shuffle: bool, rng: np.random.Generator) -> None:
    pictures = [rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for _ in range(8)]
    downs = [strided(3, 48, 9, 4), strided(48, 192, 5, 2)]
    ups = (
        [Shuffled(48, 3, 3, 4), Shuffled(192, 48, 3, 2)]
        if shuffle
        else [transposed(48, 3, 9, 4), transposed(192, 48, 5, 2)]
    )
    for layer in (*downs, *ups):  # nothing beside the transform
        nn.init.zeros_(layer.conv.weight if isinstance(layer, Shuffled) else layer.weight)
    spread = start_linear(downs, ups, pictures, gain=3.0)  # type: ignore[arg-type]
    x = torch.rand(1, 3, 32, 48) - 0.5
    y = downs[1](downs[0](x))
    assert math.isclose(y.square().sum().item(), 9.0 * x.square().sum().item(), rel_tol=1e-4)
    assert torch.allclose(ups[0](ups[1](y)), x, atol=1e-4)
    assert spread.shape == (192,)
    assert (spread[:-1] >= spread[1:] - 1e-3).all()


@pytest.mark.parametrize("simplified", [False, True])
@pytest.mark.parametrize("inverse", [False, True])
def test_gdn_at_full_width_exports_to_known_operators(inverse: bool, simplified: bool) -> None:
    """At small widths the exporter folds what it computes of the parameters; at full width the graph does it."""
    layer = GDN(192, inverse, simplified, symmetric=True)
    check_graph("analysis", to_onnx(layer, {"x": torch.zeros(1, 192, 4, 6)}))
