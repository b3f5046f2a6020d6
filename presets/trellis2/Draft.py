import bpy

settings = bpy.context.scene.trellis2.settings
settings.property_unset("output_type")
settings.property_unset("output_format")
settings.property_unset("webhook_url")
settings.property_unset("delivery_method")
settings.property_unset("upload_endpoint")
settings.property_unset("ttl")
settings.property_unset("include_cost")
settings.property_unset("number_results")
settings.property_unset("seed")
settings.resolution = "512"
settings.decimation_target = 100000
settings.property_unset("remesh")
settings.texture_size = "1024"
settings.property_unset("sparse_structure_steps")
settings.property_unset("sparse_structure_guidance_strength")
settings.property_unset("sparse_structure_guidance_rescale")
settings.property_unset("sparse_structure_rescale_t")
settings.property_unset("shape_slat_steps")
settings.property_unset("shape_slat_guidance_strength")
settings.property_unset("shape_slat_guidance_rescale")
settings.property_unset("shape_slat_rescale_t")
settings.property_unset("tex_slat_steps")
settings.property_unset("tex_slat_guidance_strength")
settings.property_unset("tex_slat_guidance_rescale")
settings.property_unset("tex_slat_rescale_t")
