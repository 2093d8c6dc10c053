"""VisDrone-DET, seen from drones, with regions in which nothing counts."""
