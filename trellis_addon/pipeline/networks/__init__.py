"""The networks of TRELLIS.2, each a file that reads like the paper; what they compute is told in `pipeline`.

network             what all networks share: a configuration read from JSON, and which weights are in 16 bits
attention           self- and cross-attention, RMS norm of queries and keys, 3D rotary positions
fused               norms, rotation and gates as one operation each
fused_kernels       ... by Warp
fp8                 matrix products of 8-bit floating numbers
transformer         the diffusion transformer of all flow models: timestep, modulated blocks, ends
structure_flow      noise on a coarse dense grid becomes the latent of where the object is
structure_decoder   ... and that becomes occupied voxels
latent_flow         noise on voxels becomes the latent of a shape, or of a material
sparse              voxels, their neighbours, finer and coarser grids
sparse_conv         3x3x3 convolution on them
vae_blocks          ConvNeXt blocks, and steps to a finer or coarser grid
vae_decoder         latents to voxels 16 times finer
vae_encoder         the way back, for a mesh that is there already
dinov3              features of a picture
"""
