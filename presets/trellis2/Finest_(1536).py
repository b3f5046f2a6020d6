import bpy

settings = bpy.context.scene.trellis2.settings
for name in set(settings.bl_rna.properties.keys()) - {"rna_type", "name"}:
    settings.property_unset(name)
settings.resolution = "1536"
settings.decimation_target = 1000000
settings.texture_size = "4096"
