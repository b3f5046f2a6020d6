"""`python -m trellis_addon.pipeline.make_small FOLDER`, from a checkout: see `devtools/pipeline/make_small.py`."""

import sys

from devtools.pipeline.make_small import main

if __name__ == "__main__":
    sys.exit(main())
