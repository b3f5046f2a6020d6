"""`python -m devtools.geometry.check FOLDER`: voxels and meshes against the reference's numbers.

check                  the command
cases                  one function for each kind of case
attributes_reference   volumetric attributes as TRELLIS.2 computes them, quirks included
remesh_reference       remeshing as TRELLIS.2 does it
remesh_cases           what that remeshing did to its input, in a number
torture                meshes as bad as people's are, made of nothing but numpy
sampling               reading values between sparse voxels
glb_write              a textured mesh of many parts as a GLB
"""
