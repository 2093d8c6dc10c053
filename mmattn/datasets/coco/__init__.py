"""COCO, and data of one's own in its json format."""
