"""One clean outer shell, at the resolution of the voxels, with nothing inside.

remesh          the steps below in their order
seal            holes are closed before an inside is told from an outside
lattice         the corners of the voxels, and which of them lie outside
chambers        insides with openings
thin            bodies for what is thinner than a voxel
surface         from these to a closed surface that faces outward
tables          which sides of a voxel's edges share a vertex, for every way the surface can pass
flood_kernels   Warp kernels that fill space from several places
"""
