"""A surface becomes charts in the unit square.

unwrap           the steps below in their order: few charts, little stretched, never on top of each other
charts           cutting into charts that are flat enough
flatten          charts that keep lengths as nearly as they can
crumbs           charts of few faces folded out onto a neighbour
unfold           crumbs hinged on a neighbour as a sheet of paper is, and cut along the rest of their border
fill             crumbs that fill a hole of their neighbour, which makes room
grow             crumbs that nothing can take: they take faces of a neighbour and are laid out anew
pack             their places in the square, by their true shapes
pack_kernels     the packer's inner loops
apart            faces that lie on each other by a texel or two, pushed apart
raster           which triangle each texel belongs to
raster_kernels   the rasteriser's inner loops
"""
