"""A door for assistants: the library's functions as tools of the Model Context Protocol.

work     long calls in threads, with progress, cancelled with the call
tools    what an assistant can do
blender  what it can do in the open scene of a Blender that lets it in
reading  what it can look up: settings, presets, jobs with their provenance and picture
server   all of it over standard input and output, or over HTTP
"""
