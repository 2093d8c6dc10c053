"""Res2Net/Res2Net-PretrainedModels: Res2Net-50 to 152 and their v1b (arXiv:1904.01169)."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='Res2Net/Res2Net-PretrainedModels',
    mark=r'^layer\d\.\d+\.convs\.0\.weight$',
    example='layer1.0.convs.0.weight',
    commonness=2,
)
