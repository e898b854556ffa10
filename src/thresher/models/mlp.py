"""Multilayer perceptron: for tables, embeddings and other feature vectors."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

__all__ = ["Mlp"]


class Mlp(nn.Module):
    """Fully connected network: inputs – 256 – 128 – classes, with ReLU between.

    Inputs of more than one dimension, such as images, are flattened.

    Args:
        inputs: Numbers per sample, >= 1.
        classes: Number of classes k, >= 1.
        hidden: Widths of the hidden layers.
    Shapes:
        (B, …) float32 with ``inputs`` numbers a sample; returns logits (B, k) float32.
    """

    def __init__(self, inputs: int, classes: int, hidden: Sequence[int] = (256, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(inputs, width), nn.ReLU()]
            inputs = width
        self.body = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(inputs, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, …) to logits (B, k)."""
        logits: Tensor = self.head(self.body(inputs))
        return logits
