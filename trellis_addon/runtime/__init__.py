"""Processes of ours on this machine, and the folder that the local backend lives in.

layout             what lies where in that folder, and what it says about itself
code               the library's own code in the folder, by version
running            which processes run from the folder
child              another Python process that finds this package
entry              where such a process begins
device_variables   how PyTorch is to use the device, where it asks the environment
"""
