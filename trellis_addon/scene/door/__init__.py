"""A door for assistants into the open scene, for as long as the preferences allow it.

open     listening on this machine alone, and doing one call after the other on the main thread
tools    what may be done through it: a list that ends, and no Python
"""
