"""Training pictures with chroma as 4:2:0 has it: luma stays, half of the chroma's detail goes, others are kept."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from intaglio import ycbcr
from intaglio.workshop import models
from intaglio.workshop.subsampling import SHARE, mixed, subsampled


def pictures(count: int = 200) -> Tensor:
    """Smooth and away from 0 and 255, so that nothing is clamped."""
    noise = torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    return 64.0 + 128.0 * F.avg_pool2d(noise, 3, 1, 1, count_include_pad=False)


def test_luma_stays_and_chroma_is_that_of_half_the_size() -> None:
    torch.manual_seed(0)
    before = pictures()
    after = subsampled(before)
    changed = (after - before).abs().amax((1, 2, 3)) > 0.0
    assert abs(float(changed.float().mean()) - SHARE) < 0.1
    assert torch.allclose(mixed(before, (ycbcr.WEIGHTS,)), mixed(after, (ycbcr.WEIGHTS,)), atol=1e-3)
    small = F.avg_pool2d(mixed(before[changed], ycbcr.CHROMA), 2)
    wanted = F.interpolate(small, scale_factor=2, mode="bilinear")
    assert torch.allclose(mixed(after[changed], ycbcr.CHROMA), wanted, atol=1e-3)


def test_only_training_changes_pictures() -> None:
    model = models.build("photo", latent=16, analysis=[8, 8, 8], synthesis=[8, 8, 8], hyper=8, side=32, context=8)
    bytes_ = pictures(20).round().to(torch.uint8)
    target, given = model.eval().pair(bytes_)
    assert given is None
    assert torch.equal(target, bytes_.float().div(255.0))
    assert not torch.equal(model.train().pair(bytes_)[0], target)
