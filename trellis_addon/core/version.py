"""The version, of blender_manifest.toml: written by tools/set_version.py."""

VERSION = "0.1.0"
