"""ResNet-18, and its form with activations before the convolutions; both for images of any size.

The first layers depend on the image. Below 96 pixels a side they are one 3×3 convolution of stride
1, as is usual for images of 32×32, where the original ones would leave maps of 8×8 before the first
block. From 96 pixels on they are the original 7×7 convolution of stride 2 and 3×3 max-pooling of
stride 2, which leave maps of 3×3 or more before the average.

Sources: He, Zhang, Ren, Sun, Deep residual learning for image recognition, CVPR 2016; the same,
Identity mappings in deep residual networks, ECCV 2016. Deviation: the first layers for small
images.
"""

from __future__ import annotations

from torch import Tensor, nn

from thresher.models.batch_norm import BatchNorm2d

__all__ = ["PreActResNet18", "ResNet18"]

LARGE = 96  # pixels a side


class ResNet18(nn.Module):
    """Residual network with 8 blocks of two convolutions.

    Args:
        shape: Channels, height and width of an image; its shorter side chooses the first layers.
        classes: Number of classes k, >= 1.
    Shapes:
        (B, C, H, W) float32; returns logits (B, k) float32. 11.17 million parameters for 3 channels
        and 10 classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        convolution, pooling = _first_layers(shape)
        self.stem = nn.Sequential(convolution, BatchNorm2d(64), nn.ReLU(), pooling)
        self.stages = _stages(_Block)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(512, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits (B, k)."""
        logits: Tensor = self.head(self.pool(self.stages(self.stem(images))))
        return logits


class PreActResNet18(nn.Module):
    """ResNet-18 with batch norm and ReLU before each convolution, and a plain sum after the two.

    The usual network of the literature on wrong labels.

    Args:
        shape: Channels, height and width of an image; its shorter side chooses the first layers.
        classes: Number of classes k, >= 1.
    Shapes:
        (B, C, H, W) float32; returns logits (B, k) float32. 11.17 million parameters for 3 channels
        and 10 classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        # the first block normalises and activates what comes from here
        self.stem = nn.Sequential(*_first_layers(shape))
        self.stages = _stages(_PreActBlock)
        self.pool = nn.Sequential(
            BatchNorm2d(512), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
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
            BatchNorm2d(width),
            nn.ReLU(),
            _convolution(width, width),
            BatchNorm2d(width),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            projection = nn.Conv2d(channels, width, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, BatchNorm2d(width))

    def forward(self, maps: Tensor) -> Tensor:
        summed: Tensor = self.residual(maps) + self.shortcut(maps)
        return summed.relu()


class _PreActBlock(nn.Module):
    """Two activated 3×3 convolutions beside a shortcut; nothing touches their sum."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.activate = nn.Sequential(BatchNorm2d(channels), nn.ReLU())
        self.residual = nn.Sequential(
            _convolution(channels, width, stride),
            BatchNorm2d(width),
            nn.ReLU(),
            _convolution(width, width),
        )
        self.projection: nn.Module | None = None
        if stride != 1 or channels != width:
            self.projection = nn.Conv2d(channels, width, 1, stride=stride, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        activated = self.activate(maps)
        # where the width changes, both paths share the activation
        shortcut = maps if self.projection is None else self.projection(activated)
        summed: Tensor = self.residual(activated) + shortcut
        return summed


def _first_layers(shape: tuple[int, int, int]) -> tuple[nn.Conv2d, nn.Module]:
    """A convolution to 64 channels and what pools its maps."""
    channels, *sides = shape
    if min(sides) < LARGE:
        return _convolution(channels, 64), nn.Identity()
    convolution = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    return convolution, nn.MaxPool2d(3, stride=2, padding=1)


def _stages(block: type[_Block] | type[_PreActBlock]) -> nn.Sequential:
    """Four stages of two blocks; each but the first doubles the width and halves the sides."""
    blocks: list[nn.Module] = []
    channels = 64
    for width in (64, 128, 256, 512):
        stride = 1 if width == channels else 2
        blocks += [block(channels, width, stride), block(width, width, 1)]
        channels = width
    return nn.Sequential(*blocks)


def _convolution(channels: int, width: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
