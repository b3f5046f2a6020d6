"""GLB files: reading, checking and writing them.

check           what a damaged or hostile file could do to Blender is stopped here
scenes          the nodes of the one scene that it shows
data_uris       what it keeps as text, put into its binary part
textured_mesh   parts and materials of a mesh in one list
pose            where shape keys and skeletons put a mesh at rest
read_materials  materials and their pictures
read            a GLB to a textured mesh
images         the pictures inside a GLB, and others in their place
join           several files as one
pieces         a GLB in the pieces that it is made of
dress          a GLB with new materials on some of its pieces
write           one mesh, one material and its textures to a GLB
tangents        normals and tangents, as renderers of glTF expect them
alpha           whether a material is really see-through: its texels decide
preview         a small picture of a GLB, without Blender
"""
