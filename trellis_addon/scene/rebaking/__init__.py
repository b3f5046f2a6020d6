"""Remesh and rebake: objects as they look become one clean asset in their place.

rebuilding   the whole way: copies, a GLB of them, the clean asset, the scene
game         an asset within the budget of a game, in one call
levels       levels of detail of an object that is there
copies       evaluated copies of objects, in a .blend of their own
process      the Blender without a window that makes a GLB of them
quadriflow   another one, that makes quads of surfaces
nodes        which nodes a material is made of
sayable      which materials glTF can express as they are
baking       the others become images
atlas        one UV layer for everything that is baked
closures     what a shader tree does at each point, as colours and numbers
sockets      the small nodes that this takes
textures     the images of the atlas, and the material that shows them
"""
