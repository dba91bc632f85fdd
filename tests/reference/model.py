"""The network of the recipe in plain PyTorch: two convolution blocks, an RNN that reads
their output as a sequence, a linear layer on its last time step."""

import torch
from torch import nn


def conv_block(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    """[n,inputs,H,W] to [n,outputs,H/2,W/2], without a last odd row or column."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=1, padding=(kernel - 1) // 2),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class CRNN(nn.Module):
    """Images [n,image_channels,H,W] in [0, 1] to logits [n,classes]. The defaults are the recipe's,
    for images of 28x28."""

    def __init__(self, channels=(32, 64), kernel=5, input_size=56, hidden_size=128,
                 num_layers=5, classes=10, dropout=0.4, image_channels=1):
        super().__init__()
        self.input_size = input_size
        self.layer1 = conv_block(image_channels, channels[0], kernel)
        self.layer2 = conv_block(channels[0], channels[1], kernel)
        # With a single layer, PyTorch warns that dropout has no effect.
        self.rnn = nn.RNN(input_size, hidden_size, num_layers, batch_first=True,
                          dropout=dropout if num_layers > 1 else 0.0)
        self.fc = nn.Linear(hidden_size, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer2(self.layer1(x))
        x = x.reshape(len(x), -1, self.input_size)
        out, _ = self.rnn(x)
        return self.fc(out[:, -1])


def for_data(images: torch.Tensor, classes: int, **sizes) -> CRNN:
    """A network for bytes [n,H,W] or [n,C,H,W]. Its input size is the divisor of the features that is
    nearest to their square root: 56 for the recipe's images."""
    channels = sizes.get("channels", (32, 64))
    features = channels[1] * (images.shape[-2] // 4) * (images.shape[-1] // 4)
    divisors = [d for d in range(1, features + 1) if features % d == 0]
    return CRNN(input_size=min(divisors, key=lambda d: abs(d - features ** 0.5)), classes=classes,
                image_channels=images.shape[1] if images.dim() == 4 else 1, **sizes)


def from_state_dict(state: dict[str, torch.Tensor]) -> CRNN:
    """A network with these weights, and their sizes, in eval mode."""
    first, second = state["layer1.0.weight"], state["layer2.0.weight"]
    net = CRNN(
        channels=(first.shape[0], second.shape[0]),
        kernel=first.shape[2],
        input_size=state["rnn.weight_ih_l0"].shape[1],
        hidden_size=state["rnn.weight_hh_l0"].shape[1],
        num_layers=sum(key.startswith("rnn.weight_ih_l") for key in state),
        classes=state["fc.weight"].shape[0],
        image_channels=first.shape[1],
    )
    net.load_state_dict(state, strict=True)
    return net.eval()


def to_input(images: torch.Tensor, dtype=torch.float32) -> torch.Tensor:
    """Bytes [n,H,W] or [n,C,H,W] to the network's input [n,C,H,W] in [0, 1]."""
    if images.dim() == 3:
        images = images.unsqueeze(1)
    return images.to(dtype) / 255
