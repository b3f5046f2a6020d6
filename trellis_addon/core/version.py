"""The version, as `blender_manifest.toml` and `pyproject.toml` state it (a test holds the three together)."""

VERSION = "0.1.0"
