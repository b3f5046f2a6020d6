"""The screened Poisson equation on a masked grid: conjugate gradients, preconditioned by multigrid.

Solves  kappa u - div(g grad u) = f  on a grid of unit cells, u = 0 outside the mask, where the
mask's border may lie anywhere between two nodes. Every grid function is float32 (rows, columns).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .fields import F32

# Aggregation makes the coarse problems too stiff by about the factor of refinement
# (D. Braess, "Towards algebraic multigrid for elliptic problems of second order", 1995).
_OVERCORRECTION = 0.55
_DAMPING = 0.8
# How much stronger the ties along the rows are where only those are coarsened.
_STRONG = 3.0


@dataclass(frozen=True)
class Operator:
    """A five-point stencil: (A u)_i = diagonal_i u_i - sum over neighbours j of weight_ij u_j.

    `right` (rows, columns - 1) are the weights between a node and the next in its row, `down`
    (rows - 1, columns) those to the next row.
    """

    diagonal: F32
    right: F32
    down: F32

    def apply(self, u: F32) -> F32:
        out = self.diagonal * u
        out[:, :-1] -= self.right * u[:, 1:]
        out[:, 1:] -= self.right * u[:, :-1]
        out[:-1] -= self.down * u[1:]
        out[1:] -= self.down * u[:-1]
        return out

    def coarser(self) -> Operator:
        """The same equation for functions constant on 2 x 2 blocks (Galerkin), its stiffness corrected.

        Where nodes are tied to their row much more than to their column, on blocks of 1 x 2: across the weak
        ties there is nothing smooth that a coarser grid could tell of.
        """
        # What of the diagonal is not coupling to a neighbour: the screening, and the border's pull.
        pull = self.diagonal.copy()
        pull[:, :-1] -= self.right
        pull[:, 1:] -= self.right
        pull[:-1] -= self.down
        pull[1:] -= self.down
        screen, right, down = _halved(pull, 1), self.right[:, 1::2], _halved(self.down, 1)
        right = _OVERCORRECTION * right
        if float(self.right.sum()) < _STRONG * float(self.down.sum()):
            screen, right, down = _halved(screen, 0), _halved(right, 0), _OVERCORRECTION * down[1::2]
        return Operator(_diagonal(screen, right, down), right, down)


def _halved(field: F32, axis: int) -> F32:
    """The sums of pairs along the axis; an odd last one stands alone."""
    if field.shape[axis] % 2:
        field = np.pad(field, ((0, 1), (0, 0)) if axis == 0 else ((0, 0), (0, 1)))
    return field[0::2] + field[1::2] if axis == 0 else field[:, 0::2] + field[:, 1::2]


def masked(kappa: F32, g: F32, inside: np.ndarray, field: F32, rows_tie: float = 1.0) -> Operator:
    """The operator of kappa u - div(g grad u) with u = 0 where the signed `field` crosses 0.

    From row to row g counts `rows_tie` times.

    `inside` (field > 0) has an empty frame. A node next to the border is tied to 0 over its true
    distance to it, so that the solution does not see the grid's steps
    (F. Gibou et al., "A second-order-accurate symmetric discretization of the Poisson equation", 2002).
    """
    screen = np.where(inside, kappa, 1.0).astype(np.float32)
    weights = []
    for axis in (1, 0):
        a = (slice(None), slice(None, -1)) if axis else (slice(None, -1), slice(None))
        b = (slice(None), slice(1, None)) if axis else (slice(1, None), slice(None))
        mean = np.float32(0.5 if axis else 0.5 * rows_tie) * (g[a] + g[b])
        both = inside[a] & inside[b]
        weights.append(np.where(both, mean, 0.0).astype(np.float32))
        for near, far in ((a, b), (b, a)):
            cut = inside[near] & ~inside[far]
            distance = field[near] / np.maximum(field[near] - field[far], 1e-9)
            screen[near] += np.where(cut, mean / np.clip(distance, 0.08, 1.0), 0.0)
    right, down = weights
    return Operator(_diagonal(screen, right, down), right, down)


def _diagonal(screen: F32, right: F32, down: F32) -> F32:
    diagonal = screen.astype(np.float32)
    diagonal[:, :-1] += right
    diagonal[:, 1:] += right
    diagonal[:-1] += down
    diagonal[1:] += down
    return np.maximum(diagonal, np.float32(1e-12))


def solve(
    operator: Operator,
    right_side: F32,
    on_iteration: Callable[[float], None] = lambda share: None,
    tolerance: float = 2e-4,
    iterations: int = 40,
) -> F32:
    """u with |f - A u| <= tolerance |f|; `on_iteration(share done)` may raise to stop."""
    levels = [operator]
    while min(levels[-1].diagonal.shape) > 4:
        levels.append(levels[-1].coarser())
    u = np.zeros_like(right_side)
    residual = right_side.copy()
    goal = tolerance * float(np.linalg.norm(right_side))
    direction = np.zeros_like(residual)
    product = 1.0
    for iteration in range(iterations):
        on_iteration(iteration / iterations)
        step = _cycle(levels, residual)
        previous, product = product, float(np.vdot(residual, step))
        direction = step + (product / previous if iteration else 0.0) * direction
        image = operator.apply(direction)
        length = product / max(float(np.vdot(direction, image)), 1e-30)
        u += np.float32(length) * direction
        residual -= np.float32(length) * image
        if float(np.linalg.norm(residual)) <= goal:
            break
    return u


def _cycle(levels: list[Operator], residual: F32) -> F32:
    """One symmetric V-cycle from 0: damped Jacobi, the correction of the coarser levels, damped Jacobi."""
    operator = levels[0]
    relax = np.float32(_DAMPING) / operator.diagonal
    u = relax * residual
    if len(levels) == 1:
        for _ in range(8):
            u += relax * (residual - operator.apply(u))
        return u
    rows, columns = residual.shape
    left = _halved(residual - operator.apply(u), 1)
    both = levels[1].diagonal.shape[0] < rows
    coarse = _cycle(levels[1:], _halved(left, 0) if both else left)
    u += np.repeat(np.repeat(coarse, 2, 0) if both else coarse, 2, 1)[:rows, :columns]
    u += relax * (residual - operator.apply(u))
    return u
