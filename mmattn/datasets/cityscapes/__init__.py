"""Cityscapes, street scenes, read as any segmentation data."""
