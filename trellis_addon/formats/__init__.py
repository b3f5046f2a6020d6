"""What lies in files, read and written without anything of Blender.

glb             the finished asset
safetensors     the header of a file of tensors, read without trusting it
obj             Wavefront OBJ, which holds quads
threemf         3MF, the file of 3D printing
latents         what is kept of a generation to go on from it, checked byte by byte
early_picture   small pictures of what is being made, on their way in a status
"""
