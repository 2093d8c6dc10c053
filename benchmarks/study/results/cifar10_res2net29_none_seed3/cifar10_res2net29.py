_base_ = ['../../cifar10_res2net29.py']
randomness = dict(seed=3)
