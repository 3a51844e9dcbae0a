"""How long an encoder looks for better latents: efforts 0 to 9. Decoders know nothing of it.

    0   latents go to what is nearest
    1   and to what takes few bits: to their mean if they are near, where the model has dead zones
        (`intaglio.scales.dead_zones`); along the cheapest path, where it has a trellis (`intaglio.quantiser`)
    2+  and, so many times less one, the picture is decoded, and y moved by what its error is worth: the networks of the
        decoder correct some of what rounding did, and analysis alone cannot know what

The last is a fixed-point iteration: y moves towards y_hat + F (x - x_hat), F the linear part of the analysis
(graph `feedback` of the model file). Where it has begun to swing, the best y so far is taken. A model without that
graph, or of given pictures, stays at 1.
"""

from __future__ import annotations

import copy
import math
import numbers
from functools import partial

import numpy as np

from intaglio.bundle import LATENT_SCALE, Floats, Model, Window
from intaglio.coders import Round
from intaglio.errors import ArgumentError
from intaglio.quality import rate_to_lmbda
from intaglio.traversal import latents

DEFAULT, MOST = 1, 9
SHARE = 0.4  # of the way to that point: the whole way would swing around it


def checked(effort: int) -> int:
    """The effort. Raises ArgumentError unless it is a whole number from 0 to 9."""
    if isinstance(effort, bool) or not isinstance(effort, numbers.Integral) or not 0 <= effort <= MOST:
        raise ArgumentError(f"effort is {effort!r}; it must be a whole number from 0 to {MOST}")
    return int(effort)


def prepared(model: Model, effort: int) -> Model:
    """The model as an encoder of this effort, 0 to 9, has it; it shares its networks with the one that is given."""
    ready = copy.copy(model)
    if effort == 0:
        ready.quantiser = model.quantiser.plain()
    if effort > 1 and model.has_feedback and not model.given:
        ready.analysis = partial(_refined, model, effort - 1)
    return ready


def _refined(model: Model, rounds: int, x: Window, rate: int) -> Floats:
    """Picture to y, float32 (1,M,h,w), in so many rounds."""
    y, known = model.analysis(x, rate), copy.copy(model)
    known.analysis = lambda x, rate: y
    top, left, height, width = (LATENT_SCALE * each for each in x.keep)
    wanted = x.pixels[top : top + height, left : left + width].astype(np.float32)
    weight = rate_to_lmbda(rate, model.file.lmbdas) / wanted.shape[2]  # of a sample's squared error, in bits
    lowest, best, worse = math.inf, y, False
    for _ in range(rounds):
        coder = Round(model.layout, model.tables, model.quantiser)
        y_hat = latents(known, x, rate, coder)
        error = wanted - model.synthesis(y_hat, rate)
        cost = coder.bits + weight * float(np.square(error, dtype=np.float64).sum())
        worse = cost >= lowest
        if not worse:
            lowest, best = cost, y
        y = y + np.float32(SHARE) * (y_hat + model.feedback(error, rate) - y)
    return best if worse else y
