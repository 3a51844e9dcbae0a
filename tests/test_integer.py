"""Integer networks give whole numbers that no order of summation can change, or they are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray

from intaglio.errors import ModelError
from intaglio.integer import (
    HYPER,
    LEVELS,
    LOC_STEPS,
    MAX_SHIFT,
    PLANE_LIMIT,
    SUM_LIMIT,
    Layer,
    Network,
    Planes,
    Reference,
    from_arrays,
    head_names,
    layer_names,
    step_names,
    to_arrays,
    to_onnx,
)
from intaglio.quality import MAX_RATE, RATES
from intaglio.traversal import Layout

LATENT, SIDE, WIDE = 16, 8, 8
LAYOUT = Layout(LATENT)
CONTEXT = step_names(LAYOUT)
OTHERS = Layout(LATENT, "checkerboard"), Layout(LATENT, "channels"), Layout(LATENT, "channels", 4)
CASES = [(name, LAYOUT) for name in (HYPER, *CONTEXT)] + [(name, each) for each in OTHERS for name in step_names(each)]
RATES_TRIED = (0, 1, 98, MAX_RATE)
Arrays = dict[str, NDArray[Any]]


def random_layer(rng: np.random.Generator, shape: tuple[int, int, int], bounds: NDArray[np.int64]) -> Layer:
    """Weights of 8 bits, (outputs, inputs, kernel); biases that exhaust what the proof leaves; any shift."""
    outputs, inputs, kernel = shape
    weight = rng.integers(-127, 128, (outputs, inputs, kernel, kernel)).astype(np.int8)
    shift = rng.integers(1, 16, (RATES, outputs)).astype(np.int8)
    empty = Layer(weight, np.zeros((RATES, outputs), np.int32), shift)
    room = SUM_LIMIT - 1 - empty.largest_sum(bounds)
    near = np.minimum(room, LEVELS << shift.astype(np.int64) - 1)  # or all activations would be clamped
    bias = rng.integers(-near, near + 1)
    bias[rng.integers(RATES)] = room
    return Layer(weight, bias.astype(np.int32), shift)


def random_network(name: str, rng: np.random.Generator, layout: Layout = LAYOUT) -> Network:
    """A network within the proof, at its very edge."""
    if name == HYPER:
        shapes = {"first": (WIDE, WIDE, 3), "to_half": (4 * WIDE, WIDE, 3), "to_full": (4 * SIDE, WIDE, 3)}
        planes, inputs = None, np.full(WIDE, PLANE_LIMIT)
    else:
        step = step_names(layout).index(name)
        channel = np.arange(layout.seen(step), dtype=np.int32)
        exponent = rng.integers(-16, 5, (RATES, len(channel))).astype(np.int8)
        planes = Planes(channel, exponent) if len(channel) else None
        inputs = np.concatenate([np.full(SIDE, LEVELS), np.full(len(channel), PLANE_LIMIT)])
        shapes = {"first": (WIDE, len(inputs), 1), "second": (WIDE, WIDE, 3)}
        widths = zip(head_names(layout, step), layout.widths(step), strict=True)
        shapes |= {head: (2 * width, WIDE, 1) for head, width in widths}
    layers = {}
    for key, shape in shapes.items():
        bounds = inputs if key == "first" else np.full(WIDE, LEVELS)
        layers[key] = random_layer(rng, shape, bounds.astype(np.int64))
    return Network(name, layers, planes, layout)


def fast(network: Network, inputs: Arrays, rate: int) -> list[NDArray[Any]]:
    """What ONNX Runtime makes of the network's graph."""
    session = onnxruntime.InferenceSession(to_onnx(network), providers=["CPUExecutionProvider"])
    wanted = {item.name for item in session.get_inputs()}
    arrays = {key: value for key, value in (inputs | {"rate": np.array([rate])}).items() if key in wanted}
    return [np.asarray(each) for each in session.run(None, arrays)]


def slow(network: Network, inputs: Arrays, rate: int) -> list[NDArray[Any]]:
    """What the reference does."""
    if network.name == HYPER:
        return [Reference(network).hyper_synthesis(inputs["z_hat"], rate)]
    return list(Reference(network).step(inputs["side"], inputs["y_hat"], rate))


def random_inputs(rng: np.random.Generator, grid: tuple[int, int]) -> Arrays:
    """Inputs of every network for a grid of z; some latents are far outside of what is sensible."""
    height, width = 4 * grid[0], 4 * grid[1]
    y_hat = rng.integers(-3000, 3000, (1, LATENT, height, width)) / LOC_STEPS
    y_hat.flat[rng.integers(0, y_hat.size, 9)] = (1e9, -1e9, 2**31, -(2**31), 127.5, -127.5, 0.5, -0.5, 1 / LOC_STEPS)
    z_hat = rng.integers(-200, 200, (1, WIDE, *grid))
    z_hat.flat[rng.integers(0, z_hat.size, 2)] = 2**31 - 1, -(2**31)
    side = rng.integers(0, LEVELS + 1, (1, SIDE, height, width))
    return {name: value.astype(np.float32) for name, value in {"z_hat": z_hat, "y_hat": y_hat, "side": side}.items()}


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (3, 2), (7, 9)], ids=str)
@pytest.mark.parametrize(("name", "layout"), CASES, ids=str)
def test_the_graph_gives_what_the_reference_gives(
    name: str, layout: Layout, grid: tuple[int, int], rng: np.random.Generator, seed: int
) -> None:
    network = from_arrays(name, to_arrays(random_network(name, rng, layout)), layout)
    inputs = random_inputs(rng, grid)
    for rate in (*RATES_TRIED, int(rng.integers(RATES))):
        varies = False
        for got, wanted in zip(fast(network, inputs, rate), slow(network, inputs, rate), strict=True):
            assert got.dtype == wanted.dtype
            assert got.shape == wanted.shape
            assert np.isfinite(got).all()
            assert np.array_equal(got, wanted), f"{name}, rate {rate}, grid {grid}, seed {seed}"
            varies |= np.ptp(got) > 0  # rows of a few channels may all be at one end
        assert varies, f"{name}, rate {rate}, grid {grid}, seed {seed}"


def watched(bias: NDArray[np.int64], shift: int) -> Network:
    """A hyper-synthesis that shows its first layer: the others hand on each activation as it is.

    bias: (RATES, C), the sums of the first layer where z_hat is 0; z_hat's channels are added with the weight 1.
    """
    channels = bias.shape[1]
    eye = np.eye(channels, dtype=np.int8)[:, :, None, None]
    hand_on = np.repeat(2 * eye, 4, axis=0)
    plain = Layer(hand_on, np.zeros((RATES, 4 * channels), np.int32), np.ones((RATES, 4 * channels), np.int8))
    first = Layer(eye, bias.astype(np.int32), np.full((RATES, channels), shift, np.int8))
    shown = Network(HYPER, {"first": first, "to_half": plain, "to_full": plain}, None, LAYOUT)
    return from_arrays(HYPER, to_arrays(shown), LAYOUT)


@pytest.mark.parametrize("shift", [1, 4, 8, 12, 15])
def test_sums_one_unit_apart_fall_on_the_right_side_of_every_edge(shift: int) -> None:
    edges = np.arange(LEVELS + 1, dtype=np.int64) << shift
    bias = np.broadcast_to(edges, (RATES, len(edges)))
    network = watched(bias, shift)
    offsets = np.array([-2, -1, 0, 1], np.int64)
    z_hat = np.broadcast_to(offsets.astype(np.float32), (1, len(edges), 1, 4))
    sums = edges[:, None] + offsets
    wanted = np.clip(sums >> shift, 0, LEVELS)  # whole numbers throughout: nothing is rounded here
    assert (np.clip(sums - 1 >> shift, 0, LEVELS) != wanted).sum() >= LEVELS  # an error of one unit would show
    for run in (fast, slow):
        (side,) = run(network, {"z_hat": z_hat}, 77)
        assert np.array_equal(side[0, :, 0, ::4], wanted), run.__name__
        assert np.array_equal(side[0, :, 3, 3::4], wanted), run.__name__


def test_sums_up_to_the_limit_are_exact() -> None:
    largest = SUM_LIMIT - 2 - PLANE_LIMIT
    bias = np.broadcast_to(np.array([largest, largest - 1, -largest]), (RATES, 3))
    network, z_hat = watched(bias, 15), np.full((1, 3, 1, 1), 1e9, np.float32)
    for run in (fast, slow):
        (side,) = run(network, {"z_hat": z_hat}, 5)
        assert side[0, :, 0, 0].tolist() == [255, 255, 0]
    with pytest.raises(ModelError, match=f"layer first, channel 1: sums may reach {SUM_LIMIT}, {SUM_LIMIT} is the"):
        watched(np.broadcast_to(np.array([0, -largest - 1]), (RATES, 2)), 15)


@pytest.mark.parametrize("name", [HYPER, *CONTEXT])
def test_a_sum_that_may_leave_the_proof_is_refused_with_its_layer_and_channel(
    name: str, rng: np.random.Generator, seed: int
) -> None:
    network = random_network(name, rng)
    assert from_arrays(name, to_arrays(network), LAYOUT).name == name, f"seed {seed}"
    for key, layer in network.layers.items():
        channel, rate = int(rng.integers(layer.bias.shape[1])), int(rng.integers(RATES))
        bias = layer.bias.copy()
        bias[:, channel] = 0
        bias[rate, channel] = -SUM_LIMIT  # whatever the weights: beyond
        arrays = to_arrays(replace(network, layers={**network.layers, key: replace(layer, bias=bias)}))
        with pytest.raises(ModelError, match=f"network {name} .*layer {key}, channel {channel}: sums may reach"):
            from_arrays(name, arrays, LAYOUT)
        bias[rate, channel] = np.iinfo(np.int32).min  # has no absolute value of 32 bits
        with pytest.raises(ModelError, match=f"layer {key}, channel {channel}: sums may reach"):
            from_arrays(name, arrays | {f"{name}.{key}.bias": bias}, LAYOUT)


def test_an_array_less_or_of_another_kind_is_refused(rng: np.random.Generator, seed: int) -> None:
    for name in (HYPER, CONTEXT[0], CONTEXT[2]):
        arrays = to_arrays(random_network(name, rng))
        for key, array in arrays.items():
            wrong = [array.astype(np.int64), array[..., :0], array[:1], array[None], np.zeros((), array.dtype)]
            lacking = {other: value for other, value in arrays.items() if other != key}
            for hostile in (lacking, *({**arrays, key: each} for each in wrong)):
                if key.endswith("planes.channel") and key not in hostile:
                    continue  # a step that sees no y_hat, with weights too wide for that: see below
                with pytest.raises(ModelError) as caught:
                    from_arrays(name, hostile, LAYOUT)
                assert name in str(caught.value), f"seed {seed}"
                assert "\n" not in str(caught.value)


HOSTILE: dict[str, tuple[str, str, Callable[[NDArray[Any]], NDArray[Any]]]] = {
    "shift of 0": (HYPER, "first.shift", np.zeros_like),
    "shift too large": (HYPER, "first.shift", lambda old: np.full_like(old, MAX_SHIFT + 1)),
    "negative shift": (CONTEXT[1], "second.shift", lambda old: -old),
    "kernel of 5": (HYPER, "first.weight", lambda old: np.zeros((*old.shape[:2], 5, 5), np.int8)),
    "kernel of 3 x 1": (HYPER, "first.weight", lambda old: old[..., :1]),
    "inputs": (HYPER, "to_half.weight", lambda old: old[:, 1:]),
    "inputs of a head": (CONTEXT[1], "head_3.weight", lambda old: old[:, 1:]),
    "planes wider than the weights": (CONTEXT[1], "first.weight", lambda old: old[:, :LATENT]),
    "channel that is not there": (CONTEXT[1], "planes.channel", lambda old: old + 1),
    "negative channel": (CONTEXT[1], "planes.channel", lambda old: old - 1),
    "exponent too large": (CONTEXT[1], "planes.exponent", lambda old: np.full_like(old, 5)),
    "exponent too small": (CONTEXT[1], "planes.exponent", lambda old: np.full_like(old, -17)),
    "planes of another number": (CONTEXT[1], "planes.exponent", lambda old: old[:, 1:]),
}


@pytest.mark.parametrize(("name", "key", "edit"), HOSTILE.values(), ids=HOSTILE.keys())
def test_what_makes_no_sense_is_refused(
    name: str, key: str, edit: Callable[[NDArray[Any]], NDArray[Any]], rng: np.random.Generator
) -> None:
    arrays = to_arrays(random_network(name, rng))
    with pytest.raises(ModelError, match=f"integer network {name} of the model file is refused"):
        from_arrays(name, {**arrays, f"{name}.{key}": edit(arrays[f"{name}.{key}"])}, LAYOUT)


@pytest.mark.parametrize(("name", "layer", "outputs"), [(HYPER, "to_full", 6), (CONTEXT[1], "head_2", 4)])
def test_outputs_that_cannot_be_put_together_are_refused(
    name: str, layer: str, outputs: int, rng: np.random.Generator
) -> None:
    network = random_network(name, rng)
    old = network.layers[layer]
    cut = Layer(old.weight[:outputs], old.bias[:, :outputs], old.shift[:, :outputs])
    with pytest.raises(ModelError, match=f"layer {layer} has {outputs} outputs"):
        from_arrays(name, to_arrays(replace(network, layers={**network.layers, layer: cut})), LAYOUT)


def test_networks_come_back_from_their_arrays(rng: np.random.Generator) -> None:
    for name in (HYPER, *CONTEXT):
        network = random_network(name, rng)
        arrays = to_arrays(network)
        again = to_arrays(from_arrays(name, arrays, LAYOUT))
        assert again.keys() == arrays.keys()
        assert all(again[key] is array for key, array in arrays.items())
        assert tuple(network.layers) == layer_names(name, LAYOUT)
