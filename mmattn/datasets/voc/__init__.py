"""Pascal VOC, and data of one's own laid out like it."""
