"""What every floor above stands on; nothing here knows anything of pictures, tasks or Blender.

version         the version of this package
errors          every error that is raised on purpose, as one small tree
messages        sentences as templates with their values, so that they can be said in another language
progress        progress and cancelling, handed in to whatever takes long
given           what scripts hand in: numbers of NumPy as Python's, and paths
event           something that happens, told to all who asked to hear of it
configuration   what this machine says of how the library is to run; the only reader of the environment
folders         where this package lies, and where it keeps things on the user's machine
addresses       addresses as people write them, of the web and of files
files           renaming and deleting, also where another program holds a file for a moment
output          files where somebody asked for them: tried before the work, written whole or not
database        SQLite files that several versions share: their numbers, and the steps between them
sizes           numbers of bytes in words
keys            where the API key is found; it is never written down by us
doors           where a running Blender says how assistants reach it
locks           locks between processes, which the system lets go of however their holder ends
processes       other programs: found, started without a console window, waited for, ended
stopping        the signals that ask a program to end, all answered as Ctrl-C is
streams         standard output and error that take whatever is said
machine         what the machine under us is and has, and how it is kept at work
"""
