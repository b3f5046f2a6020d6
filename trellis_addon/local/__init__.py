"""The local GPU backend on this machine: a folder that the user chooses, what is installed there,
and how it goes again.

Everything the backend ever writes lies in that folder (`runtime.layout`).

machine       what this machine has
environment   the PyTorch that fits it: planned, installed, removed
estimate      how long a task will take, and how much memory
runs          what past runs took
doctor        a report for a support thread
"""
