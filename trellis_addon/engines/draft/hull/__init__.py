"""Several pictures of one object to one body: what none of their outlines rules out, with the pictures on it.

outlines   the pictures side by side: as tall as each other, each with its place in the object's space
carve      the visual hull as a field, rounded where outlines alone would leave edges
surface    the field's surface as a closed mesh
charts     the mesh in flat pieces, side by side in a square
texels     which place of the surface every texel of the square shows
paint      the pictures' colours there, by what faces and sees what
build      all of it, from pictures to mesh and textures
"""
