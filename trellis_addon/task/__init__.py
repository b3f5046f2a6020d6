"""What is asked for: one task of the protocol, and what came of it.

settings   every field of the task, defined once; panel, command line, documents and checks are made of it
task       the task as data, and its results
former     the same in what other versions have written
views      several pictures of one object: where they were taken from
height     how tall an asset may be made
region     a part of an asset that is to be changed
presets    settings under a name, as Blender's own presets (`examples.json` has the published ones)
"""
