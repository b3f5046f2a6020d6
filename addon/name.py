"""What Blender calls this extension: `bl_ext.<repository>.trellis2`, or as a script has loaded it."""

from __future__ import annotations

EXTENSION = (__package__ or "").rpartition(".")[0]
