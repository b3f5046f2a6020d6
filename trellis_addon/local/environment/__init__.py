"""The environment with PyTorch: chosen, planned, installed, removed.

builds          which of PyTorch's builds fits a machine, and why
python          a Python that it can be made with
lock            which wheels it is made of (`wheels.json`)
finishing       the smaller set for finishing alone, without PyTorch, in a Python that is there already
fetching        the wheels of a plan, found and fetched
plan            what an installation would do, and what stands in its way
pip_settings    where this machine gets its packages from
default_index   the package index that nobody has named: pip's own
index           where wheels lie
virtual         making the environment, and filling it
inside          what other Pythons run: looking, trying, compiling
install         all of it, and going on with what was broken off
remove          taking it away: everything of ours, and nothing else
"""
