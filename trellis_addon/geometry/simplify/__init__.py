"""Fewer faces for the same shape.

simplify   quadric edge collapses, and a sound mesh afterwards
flips      better triangles on the same surface, by exchanging diagonals
"""
