_base_ = ['../../bccd.py']
randomness = dict(seed=3)
