"""CIFAR-100, whose files are CIFAR-10's but for their names: read and written there."""
