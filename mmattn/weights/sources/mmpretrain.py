"""mmpretrain's models: ResNet, SE-ResNet, MobileNetV2, RepVGG, Swin and Res2Net.

The backbones keep mmpretrain's names, and know those of mmdet and mmseg.
"""

from mmattn.weights.source import CheckpointSource

SOURCE = CheckpointSource(
    origin='mmpretrain (also the backbone of an mmdet or mmseg model)',
    mark=r'^backbone\.|\.se_layer\.|^stage_1\.0\.|^layer1\.0\.conv\.0\.conv|\.attn\.w_msa\.',
    example='backbone.layer1.0.conv1.weight',
    renames={r'(layer\d\.\d+)\.se_layer\.': r'\1.attn_outer.'},
    attention=('SE',),
    commonness=1,
)
