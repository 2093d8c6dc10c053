"""microsoft/Swin-Transformer: Swin-T, S, B and L (arXiv:2103.14030)."""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='microsoft/Swin-Transformer',
    mark=r'^layers\.0\.blocks\.0\.attn\.qkv\.',
    example='layers.0.blocks.0.attn.qkv.weight',
)
