"""BCCD, blood cells, read as any VOC-style data."""
