"""The tests' short classifier, with checkpoints often."""

_base_ = ['../../../tests/test_engine/test_survival/exact_resume_configs/classifier.py']
randomness = dict(seed=3)
survival = dict(save_every='2it')
default_hooks = dict(checkpoint=dict(max_keep_ckpts=2))
custom_hooks = [dict(type='EMAHook', momentum=0.1), dict(type='mmattn.ChaosHook', pause=0.02)]
