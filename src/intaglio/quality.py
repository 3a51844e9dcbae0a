"""The quality scale: what a person asks for, the rate step a file stores, and the lambda a model was trained for.

    quality  1, 1.5, 2, ... 100      (the `-q` of the command line; any number in between is rounded to a half)
    rate     0, 1, 2, ... 198        (the integer in the header: rate = 2 * (quality - 1))
    lmbda    0.0005 ... 0.3          (lmbda = 0.0005 * 600 ** (rate / 198); a model may have ends of its own)

`lmbda` weighs the squared error on the 0..255 scale, averaged over all samples, against bits per pixel:
`L = bits per pixel + lmbda * MSE`.
"""

from __future__ import annotations

import math
import numbers

from intaglio.errors import ArgumentError

MIN_QUALITY, MAX_QUALITY = 1.0, 100.0
DEFAULT_QUALITY = 50.0
MAX_RATE = 198
RATES = MAX_RATE + 1
LMBDAS = MIN_LMBDA, MAX_LMBDA = 0.0005, 0.3  # of a model that names no others


def quality_to_rate(quality: float) -> int:
    """Rate step 0..198 nearest to `quality` 1..100, a real number of any type, NumPy's included.

    Raises ArgumentError outside that range, on NaN, and for what is no number.
    """
    if isinstance(quality, bool) or not isinstance(quality, numbers.Real):
        raise ArgumentError(f"quality is {quality!r}; it must be a number from 1 to 100")
    if not MIN_QUALITY <= quality <= MAX_QUALITY:
        raise ArgumentError(f"quality is {quality}; it must be from 1 (smallest file) to 100 (best picture)")
    return math.floor(2.0 * (float(quality) - 1.0) + 0.5)


def rate_to_quality(rate: int) -> float:
    """Quality 1..100 of a rate step 0..198."""
    return 1.0 + rate / 2.0


def rate_to_lmbda(rate: float, lmbdas: tuple[float, float] = LMBDAS) -> float:
    """Lambda on squared error (0..255 scale) per bit per pixel, for a rate step 0..198; `lmbdas`: the scale's ends."""
    low, high = lmbdas
    return low * (high / low) ** (rate / MAX_RATE)


def lmbda_to_rate(lmbda: float, lmbdas: tuple[float, float] = LMBDAS) -> int:
    """The rate step 0..198 whose lambda is nearest, in its logarithm; of lambdas beyond the scale its end."""
    low, high = lmbdas
    rate = MAX_RATE * math.log(lmbda / low) / math.log(high / low)
    return min(max(math.floor(rate + 0.5), 0), MAX_RATE)
