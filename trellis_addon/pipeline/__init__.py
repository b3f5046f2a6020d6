"""TRELLIS.2 in plain PyTorch: from one picture to a dense, coloured 3D asset.

Xiang et al., Native and Compact Structured Latents for 3D Generation (arXiv 2512.14692). This package runs the
published model (microsoft/TRELLIS.2-4B, MIT) on CUDA, ROCm, Metal and CPUs with torch, safetensors, numpy and Pillow
alone, and is written to be read. It was written from facts about the model, not from its code, and agrees with it:
`python -m devtools.pipeline.check FOLDER`.

    from trellis_addon.pipeline.pipeline import Pipeline
    result = Pipeline.from_folder("TRELLIS.2-4B").run(image, {"resolution": 1024}, seed=42)

How the model works, and where to read on
-----------------------------------------
An asset is a set of voxels on the surface. Each holds one point of the surface and flags that say which of its edges
the surface crosses, which makes the mesh (a dual grid), and six numbers of material. At 1024^3 that is a few million
voxels. Two autoencoders pack 16^3 of them into one voxel of a latent grid: shape and material, 32 numbers each. Flow
models then draw the latents from noise, seeing the picture by cross-attention:

1. preprocess          the subject alone, on black, in the middle of a square
2. dinov3              what the flow models see of the picture: features of a vision transformer
3. structure_flow      noise on 16^3 cells becomes a latent of where the object is
   structure_decoder   ... and that becomes occupied voxels on a grid of 32^3 (or 64^3)
4. latent_flow         noise on these voxels becomes the shape's latent; in a cascade a decoder then refines the voxels,
                       and a second model draws the shape's latent again on the finer ones
5. latent_flow         the same for the material, which sees the shape's latent beside the noise
6. vae_decoder         latents to voxels 16 times finer: the shape decoder predicts which of a voxel's eight corners go
                       on existing, four times over; the texture decoder follows it
   vae_encoder         the way back, for a mesh that is there already

What these are made of
----------------------
networks               the modules of steps 2 to 6 above, and their parts: transformer, attention, sparse convolution
sampling               from noise to latents: Euler steps of a rectified flow, guidance, several pictures of one object
sample                 one seed on its way through the stages, and the networks it uses
change                 a part of an asset sampled anew, while the rest stays
vary                   relatives of an asset: its latents noised again, and sampled from there
configs                configurations from JSON

How it is put together and run
------------------------------
pipeline               the stages in their order, a method each
texturing              a new material for a mesh that is there already
request, result        what a run is asked for, and what it gives
checkpoint             the published files: finding, checking and reading them
device                 networks on and off the device, and what that is fastest with
sizes, costs           what fits, and how long it takes: arithmetic without torch
precision, numerics    which numbers a device computes in; no TF32, no 16-bit sums
mask                   finding the subject in a picture without transparency

In a checkout, aliases of what is in `devtools/pipeline/`:
check                  compares with numbers computed by the reference
make_small             makes a small model with random weights, to try everything out

Importing this package loads nothing heavy; its modules import torch.
"""
