"""What every floor above stands on; nothing here knows anything of pictures, tasks or Blender.

version         the version of this package
errors          every error that is raised on purpose, as one small tree
messages        sentences as templates with their values, so that they can be said in another language
progress        progress and cancelling, handed in to whatever takes long
event           something that happens, told to all who asked to hear of it
configuration   what this machine says of how the library is to run; the only reader of the environment
folders         where this package lies, and where it keeps things on the user's machine
places          what kind of place a folder is: synchronised, on a network, open to others
backups         leaving out of a Mac's backups what can be downloaded again
addresses       addresses as people write them, of the web and of files
files           renaming and deleting, also where another program holds a file for a moment
output          files where somebody asked for them: tried before the work, written whole or not
database        SQLite files that several versions share: their numbers, and the steps between them
disk            telling a full disk from all else
sizes           numbers of bytes in words
memory          how much main memory this machine has
device_faults   what the errors of a device mean, whatever class they come in
keys            where the API key is found; it is never written down by us
doors           where a running Blender says how assistants reach it
locks           locks between processes, which the system lets go of however their holder ends
processes       other programs: found, started without a console window, waited for, ended
streams         standard output and error that take whatever is said
awake           keeping the machine from sleep at work, and a clock that does not count sleep
parallel        several things at the same time: as they get ready, or on all cores
"""
