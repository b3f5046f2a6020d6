"""How long the service lives: for whom, why it has ended, and whether it is started again.

presence      what a worker and the programs that share it leave for each other
exit_causes   why one has ended, in words for the artist
restarts      when one that has ended is started again, and when it is given up
"""
