import bpy

settings = bpy.context.scene.trellis2.settings
for name in set(settings.bl_rna.properties.keys()) - {"rna_type", "name"}:
    settings.property_unset(name)
settings.resolution = "1536"
settings.decimation_target = 500000
settings.remesh = True
settings.texture_size = "4096"
settings.sparse_structure_steps = 30
settings.sparse_structure_guidance_strength = 8
settings.sparse_structure_guidance_rescale = 0.7
settings.sparse_structure_rescale_t = 3
settings.shape_slat_steps = 28
settings.shape_slat_guidance_strength = 7.5
settings.shape_slat_guidance_rescale = 0.7
settings.shape_slat_rescale_t = 3
settings.tex_slat_steps = 32
settings.tex_slat_guidance_strength = 8.5
settings.tex_slat_guidance_rescale = 0.6
settings.tex_slat_rescale_t = 3
