from mmattn.datasets.counting import batches, files
from mmattn.datasets.guides import Countable, Guide

FOLDER = 'cifar-10-batches-py'
SUMS = {
    'data_batch_1': 'c99cafc152244af753f735de768cd75f',
    'data_batch_2': 'd4bba439e000b95fd0a9bffe97cbabec',
    'data_batch_3': '54ebc095f3ab1f0389bbae665268c751',
    'data_batch_4': '634d18415352ddfa80567beed471001a',
    'data_batch_5': '482c414d41f54cd18b22e5b47cb7c3cb',
}
TEST_SUMS = {'test_batch': '40351d587109b95175f43aff81a1287e'}

GUIDE = Guide(
    title='CIFAR-10 (python version)',
    source='https://www.cs.toronto.edu/~kriz/cifar.html',
    size='0.2 GB',
    root='data/cifar10',
    tree=(f'{FOLDER}/data_batch_1 ... data_batch_5, test_batch, batches.meta',),
    contents=(
        Countable('training images', 50_000, batches(FOLDER, SUMS, 10_000)),
        Countable('test images', 10_000, batches(FOLDER, TEST_SUMS, 10_000)),
        Countable('batches.meta', 1, files(f'{FOLDER}/batches.meta')),
    ),
    readers=('CIFAR10',),
)
