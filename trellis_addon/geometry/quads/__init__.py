"""A surface of quads, whose edges follow its form.

quads    the way there, part by part, to a number of faces
pairs    quads as pairs of triangles, through unwrapping and baking, and back
"""
