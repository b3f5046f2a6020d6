"""Textures from the dense surface, or from the mesh that one was made of.

reading          what a bake reads: the look of a surface at places on it
painter          the light mesh, and its frames for a normal map
bake             every texel takes its look from the place that is seen there
detail           the dense surface and its voxels to be read
volume           voxels to be read at millions of places
source           a textured mesh to be read, through what is clear of it
several          looks for the shells of one mesh, each read for itself
pictures         textures, each at the level of detail that is asked for
occlusion        how much of the sky the asset itself hides
distant          seams that do not show in small mip levels: what is between charts, coloured for that
gutter           what no chart covers takes the nearest texel
maps             which channel of a texture holds what
kernels          Warp kernels of the bake
source_kernels   Warp kernels of the source and its pictures
gutter_kernels   Warp kernels of the gutters
"""
