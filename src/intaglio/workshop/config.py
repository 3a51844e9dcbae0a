"""What a training run is made of, read from a TOML file: [model], [data], [train], [sweep]; see docs/training.md."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from intaglio.errors import ArgumentError
from intaglio.quality import MAX_RATE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found]

Section = TypeVar("Section")
CROP_UNIT = 64  # pixels: one hyper-latent
MS_SSIM_CROP = 192  # pixels: the least multiple of CROP_UNIT that has five scales
CHOICES = {
    "precision": ("32-true", "bf16-mixed"),  # others would need a scaled loss
    "distortion": ("mse", "l1", "ms-ssim"),
    "rate_term": ("density", "log2"),
    "quantiser": ("mixed", "slope", "noise", "straight-through", "universal", "soft"),
    "optimizer": ("adam", "soap"),
}


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from."""

    train: str = ""  # folder of training pictures, searched with its sub-folders
    val: str = ""  # folder of validation pictures; empty: no validation
    repeat_prefix: str = "cid22_"  # pictures whose name starts so ...
    repeat: int = 1  # ... are drawn this many times as often

    def __post_init__(self) -> None:
        """Raises ArgumentError naming what cannot be meant."""
        _require("data", "repeat", self.repeat >= 1, "1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """What for, how long and how fast."""

    lmbda: float = 0.0  # weight of the squared error; 0: the whole quality scale
    distortion: str = "mse"
    rate_term: str = "density"  # what trains the transforms: the learned densities, or max(0, log2 |y|)
    quantiser: str = "mixed"
    soft_alpha: tuple[float, float] = (1.0, 16.0)  # of the quantiser "soft": at the beginning, at the end
    out: str = "runs/photo"  # folder for checkpoints, the log, validation results
    minutes: float = 120.0  # length of the whole run, or sweep; the learning rate follows it
    stages: tuple[tuple[float, int, int], ...] = ((0.78, 256, 6), (1.0, 384, 3))  # until, crop, batch of a process
    hard_from: float = 1.0  # from this share of the run on: latents rounded, the encoding half frozen
    hard_learning_rate: float = 1e-4  # at the beginning of that phase; it falls to zero as well
    optimizer: str = "adam"
    learning_rate: float = 4e-4
    linear_factor: float = 0.02  # the linear path learns slower by this factor
    synthesis_factor: float = 4.0  # and the rest of the synthesis faster: what it adds is scaled down
    warmup_steps: int = 300
    clip: float = 1.0
    outlier: float = 20.0  # steps whose gradient norm exceeds this many times its running mean are skipped
    ema: float = 0.999
    seed: int = 0
    precision: str = "bf16-mixed"
    accelerator: str = "auto"
    log_steps: int = 50
    save_minutes: float = 5.0
    val_minutes: float = 20.0
    val_crop: int = 512
    val_rates: tuple[int, ...] = (10, 50, 90, 130, 170)

    def __post_init__(self) -> None:
        """Raises ArgumentError naming the key whose value cannot be meant."""
        for key in ("minutes", "learning_rate", "hard_learning_rate", "clip"):
            _require("train", key, 0.0 < getattr(self, key) < math.inf, "above zero")
        for key in ("linear_factor", "synthesis_factor", "save_minutes", "val_minutes"):
            _require("train", key, getattr(self, key) >= 0.0, "zero or more")
        _require("train", "lmbda", 0.0 <= self.lmbda < math.inf, "above zero, or 0 for the whole quality scale")
        for key, known in CHOICES.items():
            _require("train", key, getattr(self, key) in known, f"one of {', '.join(known)}")
        ends = len(self.soft_alpha) == 2 and all(0.0 < end < math.inf for end in self.soft_alpha)
        _require("train", "soft_alpha", ends, "two numbers above zero")
        for key, least in {"warmup_steps": 0, "seed": 0, "log_steps": 1, "val_crop": CROP_UNIT}.items():
            _require("train", key, getattr(self, key) >= least, f"{least} or more")
        _require("train", "hard_from", 0.0 <= self.hard_from <= 1.0, "from 0 to 1")
        _require("train", "outlier", self.outlier > 1.0, "above 1")
        _require("train", "ema", 0.0 <= self.ema < 1.0, "from 0 up to, but not, 1")
        valid = bool(self.val_rates) and all(0 <= rate <= MAX_RATE for rate in self.val_rates)
        _require("train", "val_rates", valid, f"rate steps from 0 to {MAX_RATE}, one at least")
        self._check_stages()

    def _check_stages(self) -> None:
        ends = [until for until, _, _ in self.stages]
        valid = bool(ends) and ends[-1] == 1.0 and all(a < b for a, b in zip([0.0, *ends], ends, strict=False))
        _require("train", "stages", valid, "[until, crop, batch] each, with `until` rising from above 0 to 1.0")
        crops = all(crop > 0 and crop % CROP_UNIT == 0 and batch >= 1 for _, crop, batch in self.stages)
        wanted = f"[until, crop, batch] each, crop a multiple of {CROP_UNIT}, batch 1 or more"
        _require("train", "stages", crops, wanted)
        large = self.distortion != "ms-ssim" or all(crop >= MS_SSIM_CROP for _, crop, _ in self.stages)
        _require("train", "stages", large, f"crops of {MS_SSIM_CROP} or more: MS-SSIM has five scales")


@dataclass(frozen=True)
class SweepConfig:
    """One run for each lambda."""

    lmbdas: tuple[float, ...] = (0.002, 0.01, 0.05)
    warm: bool = False  # whether each run starts from the weights of the one before

    def __post_init__(self) -> None:
        """Raises ArgumentError naming what cannot be meant."""
        valid = bool(self.lmbdas) and all(0.0 < lmbda < math.inf for lmbda in self.lmbdas)
        valid = valid and len(set(self.lmbdas)) == len(self.lmbdas)
        _require("sweep", "lmbdas", valid, "different numbers above zero, one at least")


@dataclass(frozen=True)
class RunConfig:
    """One training run, or one for each lambda of a sweep."""

    model: str = "photo"
    model_fields: dict[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and records."""
        return asdict(self)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _require(table: str, key: str, valid: bool, wanted: str) -> None:
    if not valid:
        raise ArgumentError(f"configuration: [{table}] {key} must be {wanted}")


def _alike(value: Any, default: Any) -> bool:
    """Whether a value has the type of a default: a list of one type may have any length, a float may lack its point."""
    if isinstance(default, tuple):
        pattern = default[:1] * len(value) if isinstance(value, tuple) and len({*map(type, default)}) == 1 else default
        return isinstance(value, tuple) and len(value) == len(pattern) and all(map(_alike, value, pattern))
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def section(kind: type[Section], name: str, values: Any) -> Section:
    """The dataclass `kind` from the TOML table `name`. Raises ArgumentError naming table and key of a misfit."""
    if not isinstance(values, dict):
        raise ArgumentError(f"configuration: {name} must be a table: write [{name}]")
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in known:
            raise ArgumentError(f"configuration: [{name}] has no {key!r}; it may hold {', '.join(known)}")
        default = known[key].default
        if not _alike(_tuples(value), default):
            wanted = f"{type(default).__name__.replace('tuple', 'list')}, such as {json.dumps(default)}"
            raise ArgumentError(f"configuration: [{name}] {key} is {value!r}; it must be a {wanted}")
    return kind(**{key: _tuples(value) for key, value in values.items()})


def from_dict(values: dict[str, Any]) -> RunConfig:
    """A configuration from the tables of a TOML file. Raises ArgumentError naming what does not belong."""
    known = "model", "data", "train", "sweep"
    if unknown := set(values) - {*known}:
        raise ArgumentError(f"configuration: unknown table {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    model = values.get("model", {})
    if not isinstance(model, dict) or not isinstance(model.get("name", ""), str):
        raise ArgumentError("configuration: [model] must be a table, and its name a str")
    widths = {key: _tuples(value) for key, value in model.items() if key != "name"}
    data = section(DataConfig, "data", values.get("data", {}))
    train = section(TrainConfig, "train", values.get("train", {}))
    if not data.train:
        raise ArgumentError("configuration: [data] train is missing; set it to a folder of pictures")
    sweep = section(SweepConfig, "sweep", values.get("sweep", {}))
    return RunConfig(model.get("name", "photo"), widths, data, train, sweep)


def read_config(path: str | Path) -> RunConfig:
    """The configuration in a TOML file; folders in it are relative to the current one. Raises ArgumentError."""
    try:
        return from_dict(tomllib.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ArgumentError(f"configuration {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ArgumentError(f"configuration {path} is not TOML: {error}") from None
