from mmattn.datasets.counting import batches, files
from mmattn.datasets.guides import Countable, Guide

FOLDER = 'cifar-100-python'
SUMS = {'train': '16019d7e3df5f24257cddd939b257f8d'}
TEST_SUMS = {'test': 'f0ef6b0ae62326f3e7ffdfab6717acfc'}

GUIDE = Guide(
    title='CIFAR-100 (python version)',
    source='https://www.cs.toronto.edu/~kriz/cifar.html',
    size='0.2 GB',
    root='data/cifar100',
    tree=(f'{FOLDER}/train, test, meta',),
    contents=(
        Countable('training images', 50_000, batches(FOLDER, SUMS, 50_000)),
        Countable('test images', 10_000, batches(FOLDER, TEST_SUMS, 10_000)),
        Countable('meta', 1, files(f'{FOLDER}/meta')),
    ),
    readers=('CIFAR100',),
)
