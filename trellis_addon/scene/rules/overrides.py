"""Blender's operators in another context than the one that they are called from.

Up to Blender 5.0 (Python 3.11) an operator under `temp_override` brings Blender down as soon as another thread runs
Python at that moment (`scene/importing/gltf.py` says why), and a job or another add-on always may. There whatever asks
for this does without.
"""

from __future__ import annotations

import sys

ARE_SAFE = sys.version_info >= (3, 12)
