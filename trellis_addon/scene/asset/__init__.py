"""What can be done with an asset that stands in the scene.

statistics     what it is made of, in numbers
judging        the numbers in plain words
height         its real-world height
orientation    which way it stands: front, origin, ground, transforms applied
lods           levels of detail
lod_switch     the one that is shown, by the distance from the camera
lod_import     those that a file of ours holds
decimate       fewer triangles, without operators
texture_size   smaller textures
contracts      held against what a production asks for, and mended
library        marked as an asset, with a preview, saved, laid out
catalog        catalogs of Blender's asset browser
collision      convex parts that stand for it where things collide
export         the GLB as it was delivered
"""
