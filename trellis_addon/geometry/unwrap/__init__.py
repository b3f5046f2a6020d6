"""A surface becomes charts in the unit square.

unwrap           the steps below in their order: few charts, little stretched, never on top of each other
charts           cutting into charts that are flat enough
pack             their places in the square, by their true shapes
pack_kernels     the packer's inner loops
raster           which triangle each texel belongs to
raster_kernels   the rasteriser's inner loops
"""
