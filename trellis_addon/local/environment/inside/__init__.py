"""Small programs that another Python runs: each by its path, alone, and with nothing of this package around it.

Files and not pieces of code in the arguments, which virus scanners take for an attack.

probe             what a Python is; runs in any that is found
trial             what was installed: imported, and something computed with it
finishing_trial   what was installed for finishing alone
beside            runs another program with more folders to import from
compilation       every kernel of the finishing, compiled into the environment's own cache
"""
