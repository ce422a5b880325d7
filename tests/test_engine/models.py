"""Models of the tests of this folder."""
import torch
from mmengine.model import BaseModel


class Constant(BaseModel):
    """A model whose loss is always 0."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode):
        raise NotImplementedError

    def train_step(self, data, optim_wrapper):
        optim_wrapper.update_params(self.layer(data).sum() * 0)
        return {}
