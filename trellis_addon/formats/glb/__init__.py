"""GLB files: reading, checking and writing them."""
