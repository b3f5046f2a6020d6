"""Any textured mesh to O-Voxel.

voxelise     the steps below in their order
scan         where triangles meet the lattice of voxels
overlap      which voxels a triangle touches
dual_grid    one vertex a voxel, where it fits the surface best
solve        the point of a voxel where a quadric is least
single       the same, rounded as the reference does
attributes   what lies on the mesh, for every voxel
closest      the closest point of one triangle
texels       reading textures at places and levels of detail
fit          sharpening, so that reading between voxels gives back what lies on the surface
files        voxels as files, `.vxz` or `.npz`
"""
