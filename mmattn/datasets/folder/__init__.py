"""Images of your own to classify, a folder a class; read as ImageNet is."""
