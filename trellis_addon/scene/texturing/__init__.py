"""Objects that are there get the look of a picture: their own meshes, coordinates and slots stay.

facing        from where the picture shows them, seen beforehand
taking        objects as they look, as the GLB that a task sends
own_uvs       coordinates for those that have none of use
giving        the result's textures as a material, beside the former one
see_through   a former material that is seen through stays so
normal_maps   a former material's normal map on the new one
asking        all of it, from a script
former        back to the former material, and forth
"""
