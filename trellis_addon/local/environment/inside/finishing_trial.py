"""Import what finishing needs, and have Warp begin."""

from importlib import import_module

if __name__ == "__main__":
    for package in ("array_api_compat", "numpy", "PIL.Image", "scipy.spatial"):
        import_module(package)
    warp = import_module("warp")
    warp.config.quiet = True
    warp.init()
