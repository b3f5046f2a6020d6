"""Several pictures of one object: what they show, and how much each of them has to say at each place.

Every step of sampling runs once for each picture, and the velocities are blended token by token: the softmax of
TEMPERATURE times how much the token faces each picture. While nothing is known but a dense grid, that is where the
token lies; from the shape stage on it is above all what each camera sees of the voxels. The model frame is Blender's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor

from ...task.views import direction

TEMPERATURE = 2.0
_SEEN = (
    0.75  # of what a token faces, that is by sight; the rest by where it lies, which tells the sides of a sheet apart
)
_BEHIND = 1.5  # voxels that one may lie behind the first one and be seen: a slope does


@dataclass(frozen=True)
class Views:
    """`features` (1, L, C) of each picture, and its direction from the object to the camera: (V, 3), float32.

    `weights` (V, T) are what each has to say at the tokens that are sampled, once it is known where they lie.
    """

    features: tuple[Tensor, ...]
    directions: Tensor
    weights: Tensor | None = None

    def on_grid(self, cells: Tensor, side: int) -> Views:
        """For tokens at all cells (T, 3) of a dense grid with so many a side."""
        return self._weighed(self.directions @ _places(cells.cpu(), side).T)

    def on_surface(self, coords: Tensor, side: int) -> Views:
        """For tokens on voxels (T, 4) = (0, x, y, z) of a grid with so many a side, which are an object's surface."""
        voxels = coords[:, 1:].cpu()
        seen = torch.stack([_seen(voxels, towards, side) for towards in self.directions])
        return self._weighed(_SEEN * (2 * seen - 1) + (1 - _SEEN) * (self.directions @ _places(voxels, side).T))

    def _weighed(self, facing: Tensor) -> Views:
        return replace(self, weights=torch.softmax(TEMPERATURE * facing, dim=0))


Condition: TypeAlias = Tensor | Views
"""What a flow model sees: the features (B, L, C) of one picture, or several pictures of one object."""


def views_of(features: Mapping[str, Tensor]) -> Views:
    """The features of pictures by the names of `task.views`."""
    return Views(tuple(features.values()), torch.tensor([direction(name) for name in features]))


def on_grid(cond: Condition, cells: Tensor, side: int) -> Condition:
    return cond.on_grid(cells, side) if isinstance(cond, Views) else cond


def on_surface(cond: Condition, coords: Tensor, side: int) -> Condition:
    return cond.on_surface(coords, side) if isinstance(cond, Views) else cond


def pictures_of(cond: Condition) -> Sequence[Tensor]:
    return cond.features if isinstance(cond, Views) else (cond,)


def context_length(cond: Condition) -> int:
    """Of all pictures together: the keys and values of each are kept over all steps."""
    return sum(features.shape[1] for features in pictures_of(cond))


def _places(cells: Tensor, side: int) -> Tensor:
    """Where cells (T, 3) have their centres in [-1, 1]^3."""
    return 2 * (cells.float() + 0.5) / side - 1


def _seen(voxels: Tensor, towards: Tensor, side: int) -> Tensor:
    """The share of a voxel's neighbours, and of itself, that the camera sees: about how squarely it is looked at."""
    right = torch.stack([-towards[1], towards[0], towards[2].new_zeros(())])  # views look level
    places = voxels.float() + 0.5
    depth, along = places @ towards, places @ right
    column = (along - along.min()).round().long() * side + voxels[:, 2].long()
    first = torch.full((int(column.max()) + 1,), float("-inf")).scatter_reduce_(0, column, depth, "amax")
    visible = (depth >= first[column] - _BEHIND).float()
    x, y, z = voxels.long().T
    there, found = torch.zeros(2, 1, 1, side, side, side)
    there[0, 0, x, y, z], found[0, 0, x, y, z] = 1.0, visible
    around = [torch.nn.functional.avg_pool3d(field, 3, 1, 1)[0, 0, x, y, z] for field in (found, there)]
    return around[0] / around[1]
