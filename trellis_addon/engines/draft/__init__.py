"""The draft engine: a closed, textured body of a picture's subject, without any weights.

engine      its one run, from picture to GLB
mask        what belongs to the subject, on which grid it is built
body        what kind of body it is: turned on a lathe or not, and how round
height      how far the form stands out, in front and behind
poisson     the equation that rounds it
rim         nodes crowded towards the silhouette
quadtree    where the grid may be coarser
mesh        heights become a closed surface
texture     the atlas: where front and back lie in it
back        the colours of the back, which the picture does not show
material    roughness, metalness and transparency, guessed from the picture
hull        several pictures: what none of their outlines rules out
change      a part of a draft made anew
projection  a picture brought onto a mesh that is there
new_uvs     texture coordinates for a mesh that has none
variation   what a seed changes
fields      arithmetic on 2D fields that the others share
"""

from .engine import ReliefEngine

__all__ = ["ReliefEngine"]
