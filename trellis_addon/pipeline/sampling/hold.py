"""What is known stays while the rest is sampled: the idea of RePaint (Lugmayr et al., arXiv 2201.09865) on this path.

After every step, what is known is put where it lies on its own straight path from the run's first noise: what is
sampled beside it always sees it as it is at that time. At the end it is itself, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hold:
    """`known` is the data x_0 like the sample, and `share` (broadcast to it) how much of it stays: 1 all, 0 none.

    Before the time `until` (1 is noise, 0 data) is reached it stays on its path, and from there on it goes where the
    model leads it: what is held until 0.6 begins as itself, noised to 0.6, and comes out as a relative of itself.
    """

    known: Tensor
    share: Tensor
    until: float = 0.0

    def holds(self, t: float) -> bool:
        return t >= self.until

    @property
    def is_known(self) -> bool:
        """Whether all of the sample is known at `until`, whatever was sampled before."""
        return 0 < self.until < 1 and bool((self.share >= 1).all())

    def __call__(self, x: Tensor, noise: Tensor, t: float, sigma_min: float) -> Tensor:
        """x at time t, with what is known in its place."""
        share = self.share.to(x.device)
        known = self.known.to(x.device)
        there = known  # where the path itself would end a little beside it
        if t > 0:
            there = (1 - t) * known + (sigma_min + (1 - sigma_min) * t) * noise
        return torch.where(share >= 1, there, torch.lerp(x, there, share))
