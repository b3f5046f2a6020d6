"""The comparison with golden fixtures, see `devtools.pipeline.check`: what is computed for each of them.

    fixtures       reading them, comparing, tolerances
    transformers   attention, blocks, flow models, DINOv3
    autoencoders   structure decoder, sparse blocks, decoders, encoder
    runs           preparing the picture, samplers, the whole pipeline
    geometry       dual grid and sampling, of trellis_addon.geometry

Every function is named as its fixture. Sizes, depths and numbers of heads, samples and levels come from the fixture's
JSON and the shapes of its tensors.
"""
