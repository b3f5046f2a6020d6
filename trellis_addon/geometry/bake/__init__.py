"""Textures from the dense surface.

bake             every texel takes its colour and its normal from the closest point
volume           voxels to be read at millions of places
occlusion        how much of the sky the asset itself hides
gutter           what no chart covers takes the nearest texel
maps             which channel of a texture holds what
kernels          Warp kernels of the bake
gutter_kernels   Warp kernels of the gutters
"""
