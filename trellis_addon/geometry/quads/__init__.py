"""A surface of quads, whose edges follow its form.

quads       the way there, part by part, to a number of faces
quadriflow  by Blender's own remesher, in a Blender of its own
instant     by Instant Meshes, where its package is installed
fitting     asking again until the number fits
mending     what a remesher leaves: places that are no numbers, edges without length, small holes
pairs       quads as pairs of triangles, through unwrapping and baking, and back
"""
