"""What turns a picture into a GLB: one small interface, and the engines behind it.

engine          the interface: one method from a picture to a `Made`
registry        which engines there are here, and which answers for which model
draft           the engine without weights: a textured relief of the picture
trellis2        the pipeline makes voxels of a picture, finishing makes a GLB of them
projection      the pictures put onto the texture that an engine has made
retexture       ... or colours those of a mesh that is there
devices         the devices that TRELLIS.2 can run on
memory_policy   what is tried when a device runs out of memory
export          kept latents as voxels or as the dense mesh, as a program of its own
failures        what an engine raised, as an error with a sentence
"""

from .engine import Engine, Made
from .registry import create_engine, engine_for

__all__ = ["Engine", "Made", "create_engine", "engine_for"]
