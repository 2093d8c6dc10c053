"""The study's classifier: the report's Res2Net-29 on a tenth of CIFAR-10, 500 images a class."""

_base_ = ['../cifar10_seres2net29.py']
model = dict(backbone=dict(_delete_=True, type='mmattn.Res2NetCIFAR', depth=29))
epochs = 4
iterations = epochs * 39  # of 128 images
train_cfg = dict(max_epochs=epochs, val_interval=epochs)
param_scheduler = dict(by_epoch=False, milestones=[iterations // 2, iterations * 3 // 4])
compile = False  # takes longer than it saves
# Images lie in order of their classes, 5,000 of each for training and 1,000 for the test.
train_dataloader = dict(
    dataset=dict(indices=[label * 5000 + i for label in range(10) for i in range(500)])
)
val_dataloader = dict(
    dataset=dict(indices=[label * 1000 + i for label in range(10) for i in range(200)])
)
test_dataloader = val_dataloader
