# So-ViT's symmetric variant: class token and iSQRT-COV of 49 channels of the other tokens.
_base_ = './deit-small_sot_modern.py'

model = dict(neck=dict(reduced_channels=49, heads=None), head=dict(in_channels=1225))
