"""The picture itself on an asset's texture, where the surface faces it: letters and faces as sharp as the picture.

outline    the edge of a mask, and which places of two edges belong together
align      the camera that the picture was taken with, found by its outline, then by what is drawn inside it
light      what of the picture is light and not colour, as far as that is smooth
share      how much the picture has to say at each texel
project    all of it, from a GLB and pictures to a GLB
onto       ... where a task asks for it
"""
