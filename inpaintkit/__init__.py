"""inpaintkit: train the image-inpainting networks of 2D-to-3D conversion."""

import sys

__version__ = "0.1.0"

if sys.platform == "win32":
    raise ImportError("inpaintkit runs on Linux and macOS, not on Windows itself; use it in WSL 2, which is a Linux")
