"""Whatever the user has, to upright pixels of RGBA, 8 bits in sRGB.

sources    what was given (a path, bytes, a web address, a data URI, Base64) to a file's bytes
held       ... a picture of Pillow, an array, an open file
web        ... a picture behind a web address
folder     ... the pictures of a folder

formats    what a file is that cannot be used
decoding   the bytes to upright pixels
png        ... what Pillow does not read of a PNG
colour     ... colours of every model, depth and profile
profiles   ... profiles of colours that are told in other ways
"""
