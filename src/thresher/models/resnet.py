"""ResNet-18 for small images.

Source: He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016. Deviation: the
stem is one 3×3 convolution of stride 1 without pooling, as is usual for images of 32×32, where the
original stem would leave maps of 8×8 before the first block.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["ResNet18"]


class ResNet18(nn.Module):
    """Residual network with 8 blocks of two convolutions and a stem for small images.

    Args:
        channels: Channels of an image.
        classes: Number of classes k, >= 1.
    Shapes:
        (B, C, H, W) float32; returns logits (B, k) float32. 11.17 million parameters for 3 channels
        and 10 classes.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(_convolution(channels, 64), nn.BatchNorm2d(64), nn.ReLU())
        self.stages = nn.Sequential(
            *_stage(64, 64, stride=1),
            *_stage(64, 128, stride=2),
            *_stage(128, 256, stride=2),
            *_stage(256, 512, stride=2),
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, k)."""
        logits: Tensor = self.head(self.pool(self.stages(self.stem(images))))
        return logits


class _Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut; their sum passes a ReLU."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _convolution(channels, width, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            _convolution(width, width),
            nn.BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            projection = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(width))

    def forward(self, maps: Tensor) -> Tensor:
        summed: Tensor = self.residual(maps) + self.shortcut(maps)
        return summed.relu()


def _stage(channels: int, width: int, stride: int) -> list[nn.Module]:
    return [_Block(channels, width, stride), _Block(width, width, 1)]


def _convolution(channels: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
