"""The published weights: found, checked, and read into networks.

safetensors_file   weights: looked through, then mapped
eight_bits         weights in half the memory, for those who ask for it
loading            networks from files
dinov3_files       the two layouts in which DINOv3 is published
repository         the published files: what a folder has, and what is missing or wrong in it
"""
