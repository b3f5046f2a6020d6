"""A part of a draft made anew: what lies outside stays, byte for byte.

soup      triangles that carry everything of their corners, split at planes
loops     the section of a closed form with a plane, as triangles
cut       a closed form within a convex region, and what is left of another one outside of it
change    the draft of another picture or seed, put into the region of one that is there
"""
