import bpy

settings = bpy.context.scene.trellis2.settings
for name in set(settings.bl_rna.properties.keys()) - {"rna_type", "name"}:
    settings.property_unset(name)
settings.resolution = "1024"
settings.texture_size = "2048"
