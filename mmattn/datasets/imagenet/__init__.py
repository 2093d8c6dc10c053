"""ImageNet, and data of one's own for classification: a folder a class, or a list of labels."""
