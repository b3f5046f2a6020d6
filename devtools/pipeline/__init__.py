"""The networks against numbers computed by the reference.

check        `python -m devtools.pipeline.check FOLDER`
golden       what is computed for each of the reference's files
peak         how much memory a computation takes, without a device that has it
make_small   a small model with random weights in the layout of the published one
"""
