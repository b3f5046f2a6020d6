"""Several machines behind one service, joined by Ray: each result is made by an engine's process on one of them.

Nothing here decides what is made, or when, or again: that is the service's, whose journal is the truth. Ray starts the
processes, carries the calls, and says who is gone.

joining   a cluster joined, or one started on this machine
node      what a machine says of itself, and why one does not fit
actor     the process on a machine: an engine, its jobs, and what they say
calls     calls to an actor, and why one is gone
engine    the same as an engine of this process: what is asked, sent there; what is made, fetched
members   the machines and the processes on them, as data
pool      keeping them: machines that join, leave, are drained or are lost
board     what services and people leave for each other in the cluster: how things stand, whom to drain
report    the same in words: the table, and the doctor's
"""
