"""A new texture for a mesh that is there: on its own coordinates where these can be kept.

scan        which pixels triangles cover, with NumPy alone
silhouette  the outline from a side, over the picture that shows it from there
own_alpha   what is seen through the mesh stays so
sampled     what voxels say, on sheets
sheets      which pieces of the mesh share a texture, and whose coordinates are kept
"""
