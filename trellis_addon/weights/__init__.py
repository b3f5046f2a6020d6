"""The weights of TRELLIS.2 on this machine: where they come from, what is there, fetching and removing.

published   the published files: where, how large, their hashes, what each is for
licences    under whose terms they come, and which the user has accepted
place       where they lie on this machine
manifest    the list of files that lies beside them
state       what is there of them, group by group
source      a hub, a mirror of it, or a folder to take them from
hub         the hub's address, the user's token, and what its own tools have already
fetching    fetching, checking and removing
eight_bits  whether weights are held in 8 bits, and the files of ours that they are converted into
"""
