"""From voxels and their dense mesh to a clean, light, textured GLB.

finish            all the steps in their order
light             so many triangles of a surface, of coarser voxels where they do not suffice
normals           smooth over curves, broken at creases
parts             which faces are drawn how: solid, cut out, seen through
mesh              the finished mesh with its textures, and its file
quality           an asset's quality as one flat table of numbers
quality_mesh      the numbers of its mesh
quality_texture   the numbers of its unwrapping and its colours
warm_up           finishing something small, so that what is compiled is there
two_faced         sheets that look different from behind become two, back to back
shells            glass apart from what is solid
roundtrip         any textured mesh to one clean asset in its place
rebake            the same from file to file, and what can be chosen for it
"""
