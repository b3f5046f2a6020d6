"""O-Voxel: sparse voxels that carry a surface and its material, and the way between them and triangle meshes.

`dual_grid` makes the mesh, `from_mesh` and `attributes` make the voxels, `sampling` reads colours back,
`vxz` stores them; `voxelise` does all of it for a textured mesh and `finish` makes the asset. Nothing is
imported here: what is not used costs nothing.
"""
