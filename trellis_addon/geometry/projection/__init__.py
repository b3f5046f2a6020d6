"""What a camera sees of a mesh; NumPy alone, so that it runs wherever the draft does.

raster    triangles on a grid of pixels: which one is seen at each, and where on it
camera    from places on the mesh to pixels of a picture
"""
