"""What the machine under us is and has, and how it is kept at work.

memory          how much main memory it has
disk            telling a full disk from all else
places          what kind of place a folder is: synchronised, on a network, open to others
backups         leaving out of a Mac's backups what can be downloaded again
awake           keeping it from sleep at work, and a clock that does not count sleep
parallel        several things at the same time: as they get ready, or on all cores
device_faults   what the errors of a device mean, whatever class they come in
"""
