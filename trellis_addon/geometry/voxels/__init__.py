"""Sparse voxels and their file.

morton        codes that order voxels, and the octree that lists them
index         where a voxel is in a list, without a search
picture       a small picture of voxels, before there is a mesh
blocks        ... and a mesh of them, a block each
dual_grid     the voxels' points and flags become triangles
vxz           the file of voxels
vxz_streams   its compressed streams, unpacked without trusting them
vxz_filters   the two predictions that make it smaller
"""
