"""PyTorch tensors go through the coder as they are, though the coder knows nothing of PyTorch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from intaglio import rans
from intaglio.errors import ArgumentError

TABLES = rans.Tables.from_gaussian_scales([0.4, 1.0, 3.0])


def tensors(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    symbols = torch.randint(-4, 5, (2, 6, 7), dtype=torch.int32, generator=generator)
    return symbols, torch.randint(0, 3, (2, 6, 7), dtype=torch.uint8, generator=generator)


def test_tensors_give_the_bytes_of_arrays_and_come_back(seed: int) -> None:
    symbols, indexes = tensors(seed)
    data = rans.encode(symbols, indexes, TABLES)
    assert data == rans.encode(symbols.numpy(), indexes.numpy(), TABLES), f"seed {seed}"
    assert torch.from_numpy(rans.decode(data, indexes, TABLES)).equal(symbols), f"seed {seed}"
    channels_last = symbols.permute(0, 2, 1).contiguous().permute(0, 2, 1)
    assert rans.encode(channels_last, indexes, TABLES) == data, f"seed {seed}"


@pytest.mark.parametrize("wrong", [torch.zeros(3, dtype=torch.int64), torch.zeros(3, requires_grad=True)])
def test_wrong_tensors_are_refused_in_one_line(wrong: torch.Tensor) -> None:
    with pytest.raises(ArgumentError, match="symbols must be an array of int32 or int16") as caught:
        rans.encode(wrong, torch.zeros(3, dtype=torch.uint8), TABLES)
    assert "\n" not in str(caught.value)


def test_memoryviews_will_do(seed: int) -> None:
    symbols, indexes = (np.ascontiguousarray(each.numpy()) for each in tensors(seed))
    data = rans.encode(symbols.data, indexes.data, TABLES)
    assert np.array_equal(rans.decode(data, indexes.data, TABLES), symbols), f"seed {seed}"


def test_the_coder_imports_no_pytorch() -> None:
    code = "import sys; from intaglio import rans; rans.implementations(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
