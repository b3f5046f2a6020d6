"""Compile every kernel of the finishing; the first argument is the folder that holds `trellis_addon`."""

import sys
import warnings
from importlib import import_module

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    sys.path.append(sys.argv[1])
    import_module("warp").config.quiet = True
    import_module("trellis_addon.geometry.finish.warm_up").warm_up()
