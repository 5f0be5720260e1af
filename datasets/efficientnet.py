"""EfficientNet-Lite0 up to its pooling: an image network whose weights come in a package, without any download.

Tan and Le (2019), https://arxiv.org/abs/1905.11946. The Lite variants have ReLU6 and no squeeze and excitation:
https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
"""

from functools import partial

from torch import Tensor, channels_last, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import Conv2dNormActivation

FEATURES = 1280
_STEM = 32
_STAGES = (  # blocks, kernel size, stride of the first block, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_CLASSIFIER = {"_fc.weight", "_fc.bias"}  # what files of weights have behind the pooling


class EfficientNetLite0(nn.Sequential):
    """Images (B, 3, H, W), values (x - 127) / 128 of 0 to 255, to features (B, 1280). Sides are multiples of 32."""

    def __init__(self) -> None:
        layers: list[nn.Module] = [_convolution(3, _STEM, 3, stride=2)]
        channels = _STEM
        for blocks, kernel_size, stride, expansion, width in _STAGES:
            for number in range(blocks):
                layers.append(_Block(channels, width, kernel_size, 1 if number else stride, expansion))
                channels = width
        super().__init__(*layers, _convolution(channels, FEATURES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over the weights of package efficientnet-lite-pytorch, which has the same layers in the same order.

        Raises RuntimeError for weights of other shapes, ValueError for more or fewer.
        """
        theirs = [weights for name, weights in state.items() if name not in _CLASSIFIER]
        self.load_state_dict(dict(zip(self.state_dict(), theirs, strict=True)), assign=True)

    def for_inference(self) -> "EfficientNetLite0":
        """This network with its normalisation made part of the convolutions: twice as fast, equal to 1e-5."""
        self.eval()
        for layers in list(self.modules()):
            if isinstance(layers, Conv2dNormActivation):
                layers[0] = fuse_conv_bn_eval(layers[0], layers.pop(1))
        return self.to(memory_format=channels_last)


def _convolution(
    inputs: int,
    outputs: int,
    kernel_size: int,
    *,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU6,
) -> nn.Sequential:
    """A convolution, normalised and activated. Its output has the size of its input, divided by `stride`.

    With a stride the padding is that of TensorFlow, one more below and to the right than above and to the left.
    """
    padding = kernel_size - stride if stride > 1 else 0
    before = padding // 2
    layers = Conv2dNormActivation(
        inputs,
        outputs,
        kernel_size,
        stride,
        padding=0 if stride > 1 else None,
        groups=groups,
        norm_layer=partial(nn.BatchNorm2d, eps=1e-3),
        activation_layer=activation,
    )
    return nn.Sequential(nn.ZeroPad2d((before, padding - before) * 2), layers)


class _Block(nn.Sequential):
    """Inverted residual: expanded, filtered channel by channel, projected; added to its input where both are alike."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, stride: int, expansion: int) -> None:
        inner = inputs * expansion
        widen = [_convolution(inputs, inner, 1)] if expansion > 1 else []
        filtered = _convolution(inner, inner, kernel_size, stride=stride, groups=inner)
        super().__init__(*widen, filtered, _convolution(inner, outputs, 1, activation=None))
        self.added = stride == 1 and inputs == outputs

    def forward(self, images: Tensor) -> Tensor:
        made: Tensor = super().forward(images)
        return images + made if self.added else made
