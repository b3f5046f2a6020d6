"""What the preferences show and do about this machine.

local_setup       the local backend: what is known of it, and what its buttons do
finishing_setup   the packages that Remesh and Rebake needs
local_work        the one piece of work on them that goes on at a time
storage           how much the jobs' folder holds
"""
