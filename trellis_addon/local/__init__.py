"""The local GPU backend on this machine: a folder that the user chooses, what is installed there,
and how it goes again.

Everything the backend ever writes lies in that folder (`layout`). `hardware` and `builds` say which PyTorch fits the
machine, `install` and `remove` put it there and take it away.
"""
