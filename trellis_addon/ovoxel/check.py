"""`python -m trellis_addon.ovoxel.check FOLDER`, from a checkout: see `devtools/geometry/check.py`."""

import sys

from devtools.geometry.check import main

if __name__ == "__main__":
    sys.exit(main())
