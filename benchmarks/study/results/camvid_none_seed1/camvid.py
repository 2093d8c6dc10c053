_base_ = ['../../camvid.py']
randomness = dict(seed=1)
