"""What the preferences show and do about this machine.

local_setup   the local backend: what is known of it, and what its buttons do
local_work    the one piece of work on it that goes on at a time
storage       how much the jobs' folder holds
"""
