"""Developers' alias, in a checkout only: the voxels are in `geometry/`, the check of their numbers in `devtools/`.

check   `devtools.geometry.check`
"""
