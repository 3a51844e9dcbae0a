"""What a training run is made of, read from a TOML file: [model], [data], [train]."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from intaglio.errors import ArgumentError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # type: ignore[import-not-found]

Section = TypeVar("Section")


@dataclass(frozen=True)
class DataConfig:
    """Where pictures come from."""

    train: str = ""  # folder of training pictures, searched with its sub-folders
    val: str = ""  # folder of validation pictures; empty: no validation
    repeat_prefix: str = "cid22_"  # pictures whose name starts so ...
    repeat: int = 1  # ... are drawn this many times as often


@dataclass(frozen=True)
class TrainConfig:
    """How long and how fast."""

    out: str = "runs/photo"  # folder for checkpoints, the log, validation results
    minutes: float = 120.0  # length of the whole run; the learning rate follows it
    stages: tuple[tuple[float, int, int], ...] = ((0.4, 128, 16), (0.7, 192, 10), (1.0, 256, 8))  # until, crop, batch
    learning_rate: float = 4e-4
    linear_factor: float = 0.02  # the linear path learns slower by this factor
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


@dataclass(frozen=True)
class RunConfig:
    """One training run."""

    model: str = "photo"
    model_fields: dict[str, Any] = field(default_factory=dict)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for checkpoints and records."""
        return asdict(self)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, (list, tuple)) else value


def _section(kind: type[Section], name: str, values: dict[str, Any]) -> Section:
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key, value in values.items():
        if key not in known:
            raise ArgumentError(f"configuration: [{name}] has no {key!r}; it may hold {', '.join(known)}")
        default = known[key].default
        number = isinstance(default, float) and isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number and type(_tuples(value)) is not type(default):
            wanted = type(default).__name__
            raise ArgumentError(f"configuration: [{name}] {key} is {value!r}; it must be of type {wanted}")
    return kind(**{key: _tuples(value) for key, value in values.items()})


def from_dict(values: dict[str, Any]) -> RunConfig:
    """A configuration from the tables of a TOML file. Raises ArgumentError naming what does not belong."""
    unknown = set(values) - {"model", "data", "train"}
    if unknown:
        raise ArgumentError(f"configuration: unknown table {', '.join(sorted(unknown))}; known: model, data, train")
    model = dict(values.get("model", {}))
    name = model.pop("name", "photo")
    data = _section(DataConfig, "data", values.get("data", {}))
    train = _section(TrainConfig, "train", values.get("train", {}))
    if not data.train:
        raise ArgumentError("configuration: [data] train is missing; set it to a folder of pictures")
    if train.minutes <= 0 or not train.stages or train.stages[-1][0] != 1.0:
        raise ArgumentError("configuration: [train] minutes must be positive and the last stage must end at 1.0")
    return RunConfig(name, {key: _tuples(value) for key, value in model.items()}, data, train)


def read_config(path: str | Path) -> RunConfig:
    """The configuration in a TOML file; folders in it are relative to the current one. Raises ArgumentError."""
    try:
        return from_dict(tomllib.loads(Path(path).read_text()))
    except OSError as error:
        raise ArgumentError(f"configuration {path} cannot be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise ArgumentError(f"configuration {path} is not TOML: {error}") from None
