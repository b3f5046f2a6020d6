"""`python -m trellis_addon.pipeline.check FOLDER`, from a checkout: see `devtools/pipeline/check.py`."""

import sys

from devtools.pipeline.check import main

if __name__ == "__main__":
    sys.exit(main())
