"""Checkpoints: everything a run needs to go on, in one safetensors file or in shards of limited size."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from intaglio.errors import ArgumentError, ModelError
from intaglio.workshop.soap import Soap

State = dict[str, Tensor]
# What the numbers in a checkpoint mean, kept in its record. Raise it when a parameter gets another unit under its name.
#   1  (the record has no version) z's rows and the biases of the integer networks as they are
#   2  z's rows in units of `photo.Z_UNIT`, the biases of a layer's outputs in units of `IntegerConv.gain`
VERSION = 2
_INDEX = "checkpoint.json"
_FILE_HEADER, _ENTRY_HEADER = 32, 128  # bytes a safetensors file spends besides the tensors and their names, at most


def save(folder: Path, state: State, record: dict[str, Any], shard_bytes: int | None = None) -> None:
    """Writes `state` and the JSON-able `record`, `VERSION` added, to `folder`, in files of at most `shard_bytes` bytes
    each.

    A tensor that is larger than that has a file of its own. The index, which names the shards, is replaced last, and no
    shard that it names is touched before, so a reader finds the old checkpoint or the new one. Raises ArgumentError if
    the folder cannot be written.
    """
    names: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stem = _free_stem(folder, int(record["step"]))
        for number, shard in enumerate(_shards(state, shard_bytes)):
            name = f"{stem}-{number:02d}.safetensors"
            save_file(shard, folder / name)
            names.append(name)
        partial = folder / (_INDEX + ".partial")
        partial.write_text(json.dumps({"shards": names, "record": record | {"version": VERSION}}))
        os.replace(partial, folder / _INDEX)
        for old in folder.glob("checkpoint-*.safetensors"):
            if old.name not in names:
                old.unlink()
    except (OSError, SafetensorError) as error:
        raise ArgumentError(f"checkpoint {folder} cannot be written: {error}") from None


def _free_stem(folder: Path, step: int) -> str:
    """How the names of the shards of a step begin: otherwise than those that the index names."""
    stem, index = f"checkpoint-{step:08d}", folder / _INDEX
    return stem + "-again" if index.exists() and f'"{stem}-00.' in index.read_text(errors="replace") else stem


def exists(folder: Path) -> bool:
    """Whether the folder holds a checkpoint."""
    return (folder / _INDEX).exists()


def _shards(state: State, limit: int | None) -> list[State]:
    shards: list[State] = [{}]
    used = _FILE_HEADER
    for name, tensor in state.items():
        size = tensor.numel() * tensor.element_size() + len(name) + _ENTRY_HEADER
        if limit is not None and shards[-1] and used + size > limit:
            shards.append({})
            used = _FILE_HEADER
        shards[-1][name] = tensor.detach().cpu().contiguous().clone()
        used += size
    return shards


def load(folder: Path) -> tuple[State, dict[str, Any]]:
    """State and record of the checkpoint in `folder`. Raises ArgumentError if there is none, ModelError if it is
    damaged or of another version.
    """
    try:
        index = json.loads((folder / _INDEX).read_text())
    except FileNotFoundError:
        raise ArgumentError(f"{folder} holds no checkpoint ({_INDEX} is missing)") from None
    except ValueError as error:
        raise ModelError(f"checkpoint {folder}: {_INDEX} is damaged: {error}") from None
    state: State = {}
    try:
        record = dict(index["record"])
        _check_version(folder, record.get("version", 1))
        for name in index["shards"]:
            with safe_open(folder / name, "pt") as file:
                state.update({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        return state, record
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"checkpoint {folder} is damaged: {error}") from None


def _check_version(folder: Path, version: Any) -> None:
    """Raises ModelError unless it is `VERSION`: parameters would be read in other units, and nobody would notice."""
    if version == VERSION:
        return
    if version in range(VERSION):
        wanted = "an older version; export it with that version and start from the model file with --from X.itgm"
    else:
        wanted = "a newer version; update this program"
    raise ModelError(f"checkpoint {folder} was written by {wanted}")


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> State:
    """The optimiser's tensors under flat names `optimizer.<parameter>.<entry>`."""
    entries = optimizer.state_dict()["state"]
    return {
        f"optimizer.{number}.{key}": torch.as_tensor(value)
        for number, values in entries.items()
        for key, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, state: State) -> None:
    """Puts back what `flatten_optimizer` took. Raises ModelError if it is of other parameters.

    Tensors of a parameter's shape get its strides too: files hold the plain order, and fused optimisers walk the memory
    of a parameter and of its moments side by side, whatever their strides.
    """
    full = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            like = parameters[int(number)] if int(number) < len(parameters) else torch.empty(0)
            shapes = optimizer.shapes(like) if isinstance(optimizer, Soap) else {}
            wanted = shapes.get(key, like.shape if value.ndim else value.shape)
            if value.shape != wanted:
                found = f"{tuple(value.shape)}, not {tuple(wanted)}"
                raise ModelError(f"checkpoint: {name} has the shape {found}; is it of another version?")
            fits = value.shape == like.shape
            entries.setdefault(int(number), {})[key] = torch.empty_like(like).copy_(value) if fits else value
    full["state"] = entries
    optimizer.load_state_dict(full)


def source_commit() -> str | None:
    """The commit of the checkout this code lies in, with `+` if it was changed since; None outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parent,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def under(prefix: str, state: State) -> State:
    """The entries whose name begins with `prefix`, without it."""
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
