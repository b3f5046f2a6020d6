"""What Blender, as people have set it up, asks of everything that is done to a scene.

guards      what stands in the way of reading or changing an object: modes, linked data
units       metres, and units of Blender
saying      what Blender says when it could not do something
colour      colour spaces by what they are for, in any configuration
overrides   where operators may run in another context
"""
