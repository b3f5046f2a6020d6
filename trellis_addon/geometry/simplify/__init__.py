"""Fewer faces for the same shape.

simplify           the steps below in their order, at one face count or several
collapse           quadric edge collapses that keep a mesh a manifold and stop at an error
pieces             the first and largest part of them, on all cores
rounds             one mesh while its edges are collapsed
untangle           faces that cross each other are moved apart
collapse_kernels   Warp kernels of the collapses
"""
