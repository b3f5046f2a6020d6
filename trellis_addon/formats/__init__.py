"""What lies in files, read and written without anything of Blender.

glb       the finished asset
latents   what is kept of a generation to go on from it, checked byte by byte
"""
