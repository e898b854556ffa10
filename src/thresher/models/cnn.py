"""Small convolutional network: for images when minutes on two cores must do."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from thresher.models.batch_norm import BatchNorm2d

__all__ = ["SmallCnn"]


class SmallCnn(nn.Module):
    """Four blocks of 3×3 convolution, batch norm and ReLU, 2×2 max-pooling between them.

    The maps are averaged over the picture, then a linear layer follows. Pooling stops before a
    side falls below 2: an 8×8 image is pooled twice, a 32×32 image three times, and images of any
    size down to 1×1 pass.

    Args:
        shape: Channels, height and width of an image.
        classes: Number of classes k, >= 1.
        widths: Channels of the blocks.
    Shapes:
        (B, C, H, W) float32; returns logits (B, k) float32.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        widths: Sequence[int] = (32, 64, 128, 256),
    ) -> None:
        super().__init__()
        channels, *sides = shape
        layers: list[nn.Module] = []
        for width in widths:
            if layers and min(sides) >= 4:
                layers.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
            # The batch norm that follows has its own shift.
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
            layers += [BatchNorm2d(width), nn.ReLU(inplace=True)]
            channels = width
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, k)."""
        logits: Tensor = self.head(self.body(images))
        return logits
