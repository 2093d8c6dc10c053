"""Class activation maps of classifiers, detectors and segmenters, and whether they hit objects.

``methods`` compute a map, ``layers`` find where, ``targets`` what for; ``network`` runs a trained
model, ``run`` many over the same images; ``iou`` measures, ``pictures`` draws.
"""
