"""ADE20K, and other segmentation data: images, and png files with a class at every pixel."""
