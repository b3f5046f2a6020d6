"""What the operators' mixins stand on: an operator to a type checker, and nothing to Blender."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpy.types import Operator as Mixin
else:

    class Mixin:
        """Brings `poll`, `execute` or what they share to an operator beside it."""
