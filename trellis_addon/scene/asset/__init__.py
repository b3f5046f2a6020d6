"""What can be done with an asset that stands in the scene.

statistics     what it is made of, in numbers
judging        the numbers in plain words
height         its real-world height
lods           levels of detail
decimate       fewer triangles, without operators
texture_size   smaller textures
library        marked as an asset, with a preview, saved, laid out
catalog        catalogs of Blender's asset browser
export         the GLB as it was delivered
rebuilding     any pile of objects becomes one clean asset
"""
