"""What every model is: the parts that the traversal walks, what training starts from, what a model file holds."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intaglio import gains
from intaglio.errors import ArgumentError
from intaglio.integer import GIVEN, HYPER, step_names, to_arrays
from intaglio.modelfile import MAX_LOC
from intaglio.quality import LMBDAS, RATES
from intaglio.quantiser import Trellis, first_of_z
from intaglio.rans import Tables
from intaglio.scales import LOC_STEPS, scale_grid
from intaglio.traversal import Coder, Layout, Net, latents
from intaglio.workshop.bounds import bounded
from intaglio.workshop.coders import Likelihood, Round, Slope
from intaglio.workshop.entropy_base import Factorized
from intaglio.workshop.hyper import ContextStep, GivenSide, HyperSynthesis, Widths
from intaglio.workshop.trellis import FollowedRound, FollowedSlope

Arrays = dict[str, NDArray[Any]]
IntegerNetwork = HyperSynthesis | GivenSide | ContextStep


class LearningRates(Protocol):
    """The factors of a training configuration that a model may use."""

    linear_factor: float
    synthesis_factor: float


class Pair(NamedTuple):
    """What a model of pictures given others is trained on.

    target: (B,T,H,W), 0..1, what is to be decoded. given: (B,G,H,W), whole numbers 0..255, what both ends have.
    """

    target: Tensor
    given: Tensor


class Transforms(NamedTuple):
    """A model's float networks: analysis, (pictures (B,3,16h,16w), 0..1; rate) to y (B,M,h,w); synthesis, (y_hat; rate)
    to pictures, about 0..1; hyper-analysis, y to z (B,C,h/4,w/4).
    """

    analysis: nn.Module
    synthesis: nn.Module
    hyper_analysis: nn.Module | None = None


class Prior:
    """A factorized entropy model as the likelihood of a slice less `Factorized.loc`."""

    def __init__(self, model: Factorized) -> None:
        self._model = model

    def bits(self, value: Tensor) -> Tensor:
        """As `intaglio.workshop.coders.Likelihood.bits`."""
        return self._model.bits(value + self._model.loc()[:, None, None])

    def rounded(self) -> Likelihood:
        """Itself: its tables stand for nothing else."""
        return self


class Model(nn.Module, ABC):
    """The parts as `intaglio.traversal.Net` names them; `rate` is (B,) int64. Abstract."""

    fixed: ClassVar[bool] = True  # trained for one lambda; otherwise for the whole quality scale
    lmbdas: ClassVar[tuple[float, float]] = LMBDAS  # of the rate steps 0 and 198
    given: ClassVar[str | None] = None  # what both ends have besides the model: nothing, or a kind of picture
    error_cost: float = 0.0  # bits that an error of 1 in y is worth to encoders; 0: they only round
    trellis: Trellis | None = None  # what y goes through, if it is not rounded
    halo: int  # latents around a tile that analysis and synthesis look at, at most
    has_hyper: ClassVar[bool]

    def __init__(self, config: Any, layout: Layout, transforms: Transforms) -> None:
        """`config`: the dataclass that the model is built from."""
        super().__init__()
        self.config, self.layout = config, layout
        self.analysis, self.synthesis = transforms.analysis, transforms.synthesis

    @property
    @abstractmethod
    def context_steps(self) -> Sequence[Any]:
        """The context steps in order."""

    def pair(self, pictures: Tensor) -> Pair | tuple[Tensor, None]:
        """What is to be decoded and what is given, from training pictures uint8 (B,3,H,W). Here the pictures, 0..1, and
        nothing. May be random; then by PyTorch's generator.
        """
        return pictures.float().div(255.0).contiguous(memory_format=torch.channels_last), None

    def walk(self, pair: Pair | tuple[Tensor, None], rate: Tensor, coder: Coder[Tensor], net: Any = None) -> Tensor:
        """The decoded pictures (B,T,H,W) of what `pair` returned, about 0..1, by `coder`; `net`: to walk instead of
        this model.
        """
        target, given = pair
        walked: Net[Tensor] = self if net is None else net  # type: ignore[assignment]
        if given is None:
            return self.synthesis(latents(walked, target, rate, coder), rate)
        return self.synthesis(latents(walked, pair, rate, coder, given), rate, given)

    @abstractmethod
    def arrays(self) -> Arrays:
        """What decodes before the synthesis, as `docs/models.md` lists it.

        Raises ArgumentError naming the channel for which exactness cannot be proved.
        """

    def rounding(self) -> Round:
        """What rounds y as the codec will, and sums its bits."""
        return (
            FollowedRound(self.layout, self.trellis) if self.trellis else Round(self.layout, error_cost=self.error_cost)
        )

    def sloped(self) -> Slope:
        """What hands y on as the codec will, and lets it feel its mean cost."""
        return (
            FollowedSlope(self.layout, self.trellis) if self.trellis else Slope(self.layout, error_cost=self.error_cost)
        )

    def networks(self) -> dict[str, IntegerNetwork]:
        """The integer networks by name; none without a hyperprior."""
        return {}

    def feedback(self) -> nn.Module | None:
        """What tells an error of the decoded picture (B,3,16h,16w), 0..1, at a rate in y's units, if there is such a
        part; see `intaglio.effort`.
        """
        return None

    def encoding_parts(self) -> list[nn.Module]:
        """What only the encoder runs; frozen in a last phase of training on rounded latents."""
        return [self.analysis]

    def rates_of_learning(self, options: LearningRates) -> dict[str, float]:
        """By the beginning of a parameter's name, the first that fits: how much faster than the rest it learns."""
        return {}

    def adopt(self, gains: bool) -> None:
        """Is told whether the weights that it was given are of a model with gains (`intaglio.gains`).

        If it has them and they were not, sets them to 1. Raises ArgumentError the other way round.
        """
        if gains:
            wanted = "set [model] gains = true in the configuration"
            raise ArgumentError(f"the weights are of a model with gains, and this one has none: {wanted}")

    def start(self, pictures: list[NDArray[np.uint8]]) -> None:
        """Sets what can be known before training from some pictures, uint8 (H,W,3). Here nothing."""

    def file_config(self) -> dict[str, Any]:
        """What a model file says of the network: its configuration, and what the codec reads."""
        order = {"order": self.layout.order} if self.layout.order != "quad" else {}
        slices = {"slices": self.layout.slices} if self.layout.slices > 1 else {}
        lmbdas = {"lmbdas": list(self.lmbdas)} if self.lmbdas != LMBDAS else {}
        given = {"given_kind": self.given} if self.given else {}
        cost = {"error_cost": self.error_cost} if self.error_cost else {}
        config = asdict(self.config) | {"halo": self.halo, "latent": self.layout.channels}
        return config | order | slices | lmbdas | given | cost


class Unconditional(Model):
    """A model whose y has a factorized prior and no hyperprior. Abstract."""

    has_hyper = False

    def __init__(self, config: Any, transforms: Transforms, prior: Factorized) -> None:
        """`prior`: of the channels of y."""
        super().__init__(config, Layout(prior.rows, "channels"), transforms)
        self.prior = prior

    @property
    def context_steps(self) -> Sequence[Any]:
        return [self._step]

    def _step(self, side: None, y_hat: Tensor, rate: Tensor) -> tuple[Tensor, Likelihood]:
        return self.prior.loc()[:, None, None], Prior(self.prior)

    def arrays(self) -> Arrays:
        loc = torch.round(self.prior.loc() * LOC_STEPS)
        if not bool((loc.abs() < MAX_LOC).all()):
            channel = int((~(loc.abs() < MAX_LOC)).nonzero()[0, 0])
            found, most = float(loc[channel]) / LOC_STEPS, (MAX_LOC - 1) / LOC_STEPS
            wanted = f"a model file holds means within +-{most:.9g}; train it further, or afresh"
            raise ArgumentError(f"loc of channel {channel} of {len(loc)} is {found:.9g}; {wanted}")
        rows = np.arange(self.layout.channels, dtype=np.uint8)
        return _table_arrays(self.prior.freeze()) | {"y_rows": rows, "y_loc": loc.to(torch.int32).cpu().numpy()}


class Hyperprior(Model):
    """A model whose y is Gaussian, with means and scales predicted by integer networks from z and what is coded.
    Abstract.
    """

    has_hyper = True
    bands: Tensor | None

    def __init__(self, config: Any, widths: Widths, transforms: Transforms, z_prior: Factorized | None = None) -> None:
        """`z_prior`: of the channels of z; None if `z_rows` is a table over the rates instead."""
        super().__init__(config, widths.layout, transforms)
        assert transforms.hyper_analysis is not None
        self.hyper_analysis_net = transforms.hyper_analysis
        self.z_prior = z_prior
        self.hyper_synthesis = HyperSynthesis(widths)
        self.context = nn.ModuleList(ContextStep(widths, number) for number in range(widths.layout.steps))
        self.given_net = GivenSide(widths) if widths.given else None
        bands = torch.from_numpy(gains.bands(widths.layout)) if widths.gains else None
        self.register_buffer("bands", bands, persistent=False)

    @property
    def context_steps(self) -> Sequence[ContextStep]:
        return list(self.context)  # type: ignore[arg-type]

    def hyper_analysis(self, y: Tensor, rate: Tensor) -> Tensor:
        """y to z; the rate is already in y's gain."""
        return self.hyper_analysis_net(y)

    def gains(self, side: Tensor, rate: Tensor) -> tuple[Tensor, Tensor] | None:
        """What y and y_hat are multiplied by, (B,M,h,w), if the model has gains: see `intaglio.gains`."""
        if self.bands is None:
            return None
        power = bounded(side[:, -gains.BANDS :].float(), 0.0, gains.MOST / gains.OCTAVE) - gains.NONE / gains.OCTAVE
        power = power.index_select(1, self.bands)
        return torch.exp2(power), torch.exp2(-power)

    def adopt(self, gains: bool) -> None:
        if self.bands is None:
            super().adopt(gains)
        elif not gains:
            self.hyper_synthesis.without_gains()

    def given_side(self, side: Tensor, given: Tensor, rate: Tensor) -> Tensor:
        """Side information (B,S,h,w) and, after it, that of the given planes (B,G,16h,16w)."""
        assert self.given_net is not None
        return torch.cat([side, self.given_net(given, rate)], 1)

    def z_rows(self, rate: Tensor) -> Tensor | Likelihood:
        """What z is charged by: its prior, or real rows of the Gaussian tables, (B,C,1,1)."""
        assert self.z_prior is not None
        return Prior(self.z_prior)

    def networks(self) -> dict[str, IntegerNetwork]:
        names = HYPER, *step_names(self.layout)
        parts: list[IntegerNetwork] = [self.hyper_synthesis, *self.context_steps]
        if self.given_net is not None:
            names, parts = (*names, GIVEN), [*parts, self.given_net]
        return dict(zip(names, parts, strict=True))

    def encoding_parts(self) -> list[nn.Module]:
        return [self.analysis, self.hyper_analysis_net]

    @torch.no_grad()
    def arrays(self) -> Arrays:
        tables = Tables.from_gaussian_scales(scale_grid())
        if self.z_prior is None:
            rows = self.z_rows(torch.arange(RATES))
            assert isinstance(rows, Tensor)
            arrays = _table_arrays(self.trellis.tables if self.trellis else tables)
            found = torch.floor(rows[:, :, 0, 0] + 0.5).to(torch.uint8).cpu().numpy()
            found += first_of_z(self.trellis)
        else:
            assert self.trellis is None, "the tables of a trellis leave no room for those of a prior"
            own = self.z_prior.freeze()
            arrays = _table_arrays(tables, own)
            found = np.tile(np.arange(len(tables), len(tables) + len(own), dtype=np.uint8), (RATES, 1))
        arrays["z_rows"] = found
        if self.bands is not None:
            shift = math.log2(gains.OCTAVE) - self.hyper_synthesis.scales.all()[-1]
            arrays[gains.ARRAY] = shift.to(torch.int8).cpu().numpy()
        for part in self.networks().values():
            arrays |= to_arrays(part.frozen())
        return arrays


def _table_arrays(*tables: Tables) -> Arrays:
    """The tables one after another, as a model file holds them."""
    parts = [each.to_arrays() for each in tables]
    return {f"tables.{name}": np.concatenate([part[name] for part in parts]) for name in parts[0]}
