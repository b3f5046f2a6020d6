"""From a GLB to one clean object in the scene.

importer     the steps below in their order
gltf         Blender's own importer, called so that no thread brings Blender down
staging      a place to import into: whole or not at all
polygons     quads, of the triangles that a file holds them as
materials    materials as a TRELLIS.2 asset needs them
joining      several objects made one
placement    one tidy object, standing where it is wanted
provenance   where it came from, kept on the object
"""
