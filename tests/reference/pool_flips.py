"""Shows which pools of network/small change sides when the operands of its convolutions are rounded to
bfloat16, how near the order of additions in a card's mma brings others to that, and the cost of each.
This explains why the bound of tests/backendtest holds for that fixture in bf16 on every card.

PyTorch computes all of it in float64. The gradient of beta in the second block is the sum of
the gradients of the pools that are open (above 0), so a pool that changes sides moves it by
its own gradient. Costs are fractions of the norm of that gradient.
"""

import argparse

import torch
import torch.nn.functional as F

from cases import network
from cases.convblock import pools
from model import CRNN, to_input

# An mma instruction adds 16 products, four at a time, and may lose 6 units of 2^-23 of the
# largest number in each of these sums. (NVIDIA's manual asks for single precision, in any order and
# with any rounding; tests/emulator/README.md.)
PRODUCTS, LOSS = 16, 6 / 4 * 2.0 ** -23

NEAREST = 4  # pools to show


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="the directory of the data set")
    network.DATA = parser.parse_args().data

    net = network.without_dropout(network.initial("small").state_dict(), torch.float64).train()
    pixels, labels = (values[network.SMALL] for values in network.images("train"))
    x = to_input(pixels, torch.float64)

    exact, gradient, total = second_block(net, x, labels)
    round_operands(net)
    rounded, _, _ = second_block(net, x, labels)
    first, second = moves(net, x)

    cost = gradient.abs() / total.norm()
    terms = gradient[exact > 0].norm()
    print(f"layer 1: mma may round {int(first.sum())} of {first.numel()} activations to the next number")
    print(f"layer 2: {exact.numel()} pools; values before ReLU, of spread {exact.std():.2f}, err by "
          f"{(rounded - exact).square().mean().sqrt():.4f} in rms; "
          f"{int((exact.abs() < 0.02).sum())} lie within 0.02 of 0; "
          f"mma may move one by {second.median():.0e} in the median")
    print(f"gradient of beta: its norm is {total.norm() / terms:.2f} of the norm of its terms; a pool costs "
          f"{cost[exact > 0].square().mean().sqrt():.2f} in rms")
    changed = (exact > 0) != (rounded > 0)
    times = rounded.abs() / second
    nearest = torch.topk(times.flatten(), NEAREST, largest=False).indices
    print(f"changed sides by rounding: {int(changed.sum())}. Of all, those that mma moves most easily:")
    for at in zip(*torch.unravel_index(nearest, times.shape)):
        sample, channel, pool = (int(i) for i in at)
        print(f"  sample {sample}, channel {channel}, pool {pool}: {exact[at]:+.5f} exactly, {rounded[at]:+.5f} rounded"
              f"{' (changed sides)' if changed[at] else ''}, {times[at]:.0f} times what mma may move it; "
              f"costs {cost[at]:.3f}")


def second_block(net: CRNN, x: torch.Tensor, labels: torch.Tensor):
    """The largest value before ReLU of each pool of the second block [n,C,pools], the gradient of
    the pool if it is open, and the gradient of beta [C]."""
    held = {}
    hook = net.layer2[1].register_forward_hook(lambda _, __, out: held.update(u=out))
    y = net.layer2(net.layer1(x))
    hook.remove()
    y = y.detach().requires_grad_()
    out, _ = net.rnn(y.reshape(len(y), -1, net.input_size))
    F.cross_entropy(net.fc(out[:, -1]), labels.long()).backward()
    most = pools(held["u"]).amax(-1)
    gradient = y.grad.reshape(most.shape)
    return most, gradient, torch.where(most > 0, gradient, 0).sum((0, 2))


def round_operands(net: CRNN) -> None:
    """Makes both convolutions round their weights and their inputs to bfloat16."""
    for conv in (net.layer1[0], net.layer2[0]):
        conv.weight.data = bf16(conv.weight.data)
        conv.register_forward_pre_hook(lambda _, inputs: tuple(bf16(v) for v in inputs))


def bf16(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.float32).to(torch.bfloat16).to(torch.float64)


@torch.no_grad()
def moves(net: CRNN, x: torch.Tensor):
    """Which activations between the blocks [n,C,pools] mma may round to the next number, and by how
    much it may move the value of each pool of the second block. All errors are taken to have the
    sign that hurts; that they move mean and variance too is left out."""
    conv, norm = net.layer1[:2]
    y = net.layer1(x)
    z = conv(x)
    u, off = pools(norm(z)).amax(-1).reshape(y.shape), pools(lost(conv, x) * scale(norm, z)).amax(-1).reshape(y.shape)
    lower, upper = bf16((u - off).relu()), bf16((u + off).relu())
    conv, norm = net.layer2[:2]
    off = F.conv2d(upper - lower, conv.weight.abs(), padding=conv.padding) + lost(conv, bf16(y))
    return pools(lower != upper), pools(off * scale(norm, conv(y))).amax(-1)


def scale(norm: torch.nn.BatchNorm2d, z: torch.Tensor) -> torch.Tensor:
    """The factor of batch normalisation for each channel of z, [C,1,1]."""
    variance = z.var((0, 2, 3), correction=0)
    return (norm.weight.abs() / (variance + norm.eps).sqrt())[:, None, None]


def lost(conv: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """The largest error of each sum of a convolution in mma, [n,C,H,W]."""
    patches = F.unfold(bf16(x), conv.kernel_size, padding=conv.padding)  # [n,k,H*W]
    products = conv.weight.flatten(1)[:, :, None] * patches[:, None]  # [n,C,k,H*W]
    largest = torch.maximum(products.abs().amax(2), products.cumsum(2).abs().amax(2))
    k = -(-products.shape[2] // PRODUCTS) * PRODUCTS
    return (LOSS * k * largest).reshape(len(x), -1, *x.shape[2:])


if __name__ == "__main__":
    main()
