"""From the scene to files that other programs take as they are.

exporting   the call: what is asked for, and all of it or nothing
writers     a writer for each kind of file, with the switches of each program
pictures    the pictures of materials as PNG files beside it
chains      levels of detail and convex parts among what is exported
stand_ins   meshes in place of what exporters pass over
losses      what a kind of file cannot hold
selection   what an exporter takes: what is selected and seen
godot       what makes levels of detail of a file such for Godot
"""
