"""What developers check this project with; none of it is in the zip.

pipeline   `python -m trellis_addon.pipeline.check FOLDER`: the networks against numbers computed by the reference;
           `make_small`: a small model with random weights in the published layout
geometry   `python -m trellis_addon.ovoxel.check FOLDER`: voxels and meshes against the reference's numbers
"""
