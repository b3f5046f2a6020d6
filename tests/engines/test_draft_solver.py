"""The equations under the draft's form: solved as a dense solver would, and its blur and fill."""

from __future__ import annotations

import numpy as np
import pytest

from trellis_addon.engines.draft.fields import blur, fill
from trellis_addon.engines.draft.poisson import Operator, masked, solve


def test_solver_against_a_dense_solution() -> None:
    rng = np.random.default_rng(0)
    field = rng.normal(0.4, 0.5, (13, 18)).astype(np.float32)
    field[0] = field[-1] = -0.5
    field[:, 0] = field[:, -1] = -0.5
    inside = field > 0
    kappa = rng.uniform(0.01, 0.2, field.shape).astype(np.float32)
    operator = masked(kappa, rng.uniform(0.2, 1.0, field.shape).astype(np.float32), inside, field)
    right_side = inside.astype(np.float32)
    u = solve(operator, right_side, tolerance=1e-6)
    assert np.allclose(np.linalg.solve(dense(operator), right_side.ravel()), u.ravel(), atol=1e-4)
    assert np.abs(u[~inside]).max() < 1e-6


def dense(operator: Operator) -> np.ndarray:
    shape = operator.diagonal.shape
    columns = [operator.apply(unit.reshape(shape)).ravel() for unit in np.eye(operator.diagonal.size, dtype=np.float32)]
    matrix = np.stack(columns, 1).astype(np.float64)
    assert np.allclose(matrix, matrix.T, atol=1e-5)
    return matrix


def test_inflation_of_a_strip_is_a_half_circle() -> None:
    """kappa = 0 over a strip of width 2 w has sqrt(2 u) = sqrt(w^2 - x^2) as its exact solution."""
    columns = np.arange(61, dtype=np.float32)
    field = np.tile(18.3 - np.abs(columns - 30.0), (200, 1)).astype(np.float32)
    field[0] = field[-1] = -1.0
    zero = np.full(field.shape, 1e-9, np.float32)
    u = solve(masked(zero, np.ones_like(field), field > 0, field), (field > 0).astype(np.float32), tolerance=1e-5)
    x = columns - 30.0
    exact = np.sqrt(np.maximum(18.3**2 - x**2, 0.0))
    assert np.abs(np.sqrt(2 * u[100]) - exact).max() < 0.35


@pytest.mark.parametrize("sigma", [0.5, 1.0, 3.0, 9.0, 30.0])
def test_blur_has_the_right_width(sigma: float) -> None:
    impulse = np.zeros((257, 257), np.float32)
    impulse[128, 128] = 1.0
    out = blur(impulse, sigma)
    x = np.arange(257) - 128
    assert out.sum() == pytest.approx(1.0, abs=2e-3)
    assert np.sqrt((out.sum(0) * x**2).sum()) == pytest.approx(sigma, rel=0.06)


def test_fill_keeps_the_known_and_reaches_everywhere() -> None:
    colours = np.zeros((37, 50, 3), np.float32)
    colours[4, 5] = (0.2, 0.4, 0.6)
    weight = np.zeros((37, 50), np.float32)
    weight[4, 5] = 1.0
    assert np.allclose(fill(colours, weight), (0.2, 0.4, 0.6), atol=1e-5)


def test_solver_with_rows_that_are_hardly_tied() -> None:
    rng = np.random.default_rng(1)
    field = rng.normal(0.8, 0.5, (21, 34)).astype(np.float32)
    field[0] = field[-1] = -0.5
    field[:, 0] = field[:, -1] = -0.5
    inside = field > 0
    kappa = np.full(field.shape, 1e-3, np.float32)
    operator = masked(kappa, np.ones_like(kappa), inside, field, rows_tie=0.05)
    right_side = inside.astype(np.float32)
    turns: list[float] = []
    u = solve(operator, right_side, turns.append, tolerance=1e-5)
    assert len(turns) < 35
    assert np.allclose(np.linalg.solve(dense(operator), right_side.ravel()), u.ravel(), atol=1e-3)
