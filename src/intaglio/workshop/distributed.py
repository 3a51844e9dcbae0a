"""Several processes that train one model: `torchrun` starts them, PyTorch's DDP averages their gradients.

Everything here also works in a process that is alone, and then does nothing.
"""

from __future__ import annotations

import os
import warnings
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from intaglio.errors import ArgumentError
from intaglio.workshop.config import TrainConfig

_PATIENCE = timedelta(hours=6)  # the others wait while the first process validates


def open_fabric(options: TrainConfig) -> Fabric:
    """This process's device, and its place among the processes that `torchrun` has started, if it has.

    Raises ArgumentError if the accelerator cannot be used.
    """
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    strategy: DDPStrategy | str = "auto"
    if world > 1:
        strategy = DDPStrategy(timeout=_PATIENCE)
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
    try:
        fabric = Fabric(
            accelerator=options.accelerator,
            devices=local,
            num_nodes=world // local,
            strategy=strategy,
            precision=options.precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    except Exception as error:  # Lightning's own classes among them, which derive from Exception alone
        fault = f"{options.accelerator!r} cannot be used: {' '.join(str(error).split())}"
        raise ArgumentError(f"configuration: [train] accelerator {fault}") from None
    return fabric


def alone_or_first() -> bool:
    """Whether this process is the one that writes what no training run writes."""
    return int(os.environ.get("RANK", "0")) == 0


def averaging(fabric: Fabric, module: nn.Module) -> nn.Module:
    """The module, or one around it whose gradients are the means over the processes. It takes the first one's weights,
    and works until other parameters are frozen than now.
    """
    return fabric.setup_module(module) if fabric.world_size > 1 else module


def own_part(fabric: Fabric, whole: Tensor) -> Tensor:
    """This process's equal part of the first process's tensor, by its first axis; of one shape everywhere."""
    if fabric.world_size == 1:
        return whole
    return fabric.broadcast(whole).chunk(fabric.world_size)[fabric.global_rank]


def sums(fabric: Fabric, values: list[float]) -> list[float]:
    """The sums over the processes."""
    if fabric.world_size == 1:
        return values
    total = fabric.all_reduce(torch.tensor(values, dtype=torch.float32), reduce_op="sum")
    assert isinstance(total, Tensor)
    return total.tolist()


def random_states(fabric: Fabric) -> dict[str, Tensor]:
    """What the random generators of all processes stand at, by name; all must ask together."""
    states = {"random": torch.get_rng_state()}
    if fabric.device.type == "cuda":  # the noise is drawn there
        states["random.cuda"] = torch.cuda.get_rng_state(fabric.device)
    if fabric.world_size == 1:
        return states
    every: list[dict[str, Tensor]] = [{}] * fabric.world_size
    torch.distributed.all_gather_object(every, states)
    return {_of_rank(name, rank): state for rank, each in enumerate(every) for name, state in each.items()}


def restore_random_states(fabric: Fabric, states: dict[str, Tensor], seed: int) -> None:
    """Puts back what `random_states` took; a process that was not there then begins with `seed`."""
    own = states.get(_of_rank("random", fabric.global_rank))
    if own is None:
        seed_apart(fabric, seed)
        return
    torch.set_rng_state(own)
    cuda = states.get(_of_rank("random.cuda", fabric.global_rank))
    if fabric.device.type == "cuda" and cuda is not None:
        torch.cuda.set_rng_state(cuda, fabric.device)


def seed_apart(fabric: Fabric, seed: int) -> None:
    """Gives every process but the first its own noise."""
    if fabric.global_rank:
        torch.manual_seed(seed + 1_000_003 * fabric.global_rank)


def _of_rank(name: str, rank: int) -> str:
    return f"{name}.{rank}" if rank else name
