_base_ = ['../../cifar10_seres2net29.py']
randomness = dict(seed=2)
