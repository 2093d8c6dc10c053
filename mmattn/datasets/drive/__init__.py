"""DRIVE and its like, vessels of the retina: segmentation data, with a fundus in demos."""
