"""O-Voxel: sparse voxels that carry a surface and its material, and the way between them and triangle meshes.

From voxels to an asset, in this order (`finish` calls the others):

voxels     the voxels themselves, their file, and the dense mesh that they say
mesh       cleaning a raw mesh, and questions to it: topology, closest points
remesh     one clean outer shell in place of what the voxels say
simplify   fewer faces for the same shape
quads      a surface of quads, whose edges follow its form
unwrap     charts in the unit square
projection  what a camera sees of a mesh
bake       textures from the dense surface
texturing  a new texture for a mesh that is there
finish     all of it, from voxels to a GLB, and its quality in numbers
voxelise   the way back, from any textured mesh to voxels
arrays     arrays on Warp's devices

Nothing is imported here: what is not used costs nothing.
"""
