"""inpaintkit: train the image-inpainting networks of 2D-to-3D conversion."""

__version__ = "0.1.0"
