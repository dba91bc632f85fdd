"""Trains the recipe in PyTorch, once per seed, and tests the model of the epoch with the best
validation accuracy."""

import argparse
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, StepLR

import idx
from model import CRNN, for_data, to_input

BATCH = 50
VALIDATION = 0.1  # share of the training file


def main() -> None:
    parser = argparse.ArgumentParser(prog="train", description=__doc__)
    parser.add_argument("--seeds", default="1", help="such as 1,2,3")
    parser.add_argument("--data", metavar="DIR", help="directory of the data set")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--lr", type=float, default=0.0005)
    parser.add_argument("--lr-schedule", choices=("step", "cosine", "none"), default="step")
    parser.add_argument("--dropout", type=float, default=0.4)
    args = parser.parse_args()
    try:
        seeds = [int(seed) for seed in args.seeds.split(",")]
    except ValueError:
        parser.error(f"--seeds {args.seeds}: expected whole numbers with commas between, such as 1,2,3")

    torch.set_num_threads(args.threads)
    directory = idx.find(args.data)
    train, test = idx.load(directory, "train"), idx.load(directory, "test")
    accuracies = []
    for seed in seeds:
        start = time.monotonic()
        accuracies.append(run(seed, train, test, args))
        print(f"seed {seed}: {time.monotonic() - start:.0f} seconds", file=sys.stderr)
    if len(seeds) > 1:
        print(f"{len(seeds)} seeds: mean {statistics.mean(accuracies):.2f}%, "
              f"standard deviation {statistics.stdev(accuracies):.2f}", file=sys.stderr)


def run(seed: int, train, test, args) -> float:
    """Trains with one seed; returns the test accuracy in percent."""
    torch.manual_seed(seed)
    order = torch.randperm(len(train[0]))
    validation_size = int(VALIDATION * len(order))
    validation_part, train_part = order[:validation_size], order[validation_size:]
    validation = train[0][validation_part], train[1][validation_part]

    classes = 1 + max(int(labels.max()) for _, labels in (train, test))
    net = for_data(train[0], classes, dropout=args.dropout)
    adam = torch.optim.Adam(net.parameters(), lr=args.lr)
    schedule = {
        "step": lambda: StepLR(adam, step_size=3, gamma=0.5),
        "cosine": lambda: CosineAnnealingLR(adam, T_max=args.epochs),
        "none": lambda: LambdaLR(adam, lambda epoch: 1.0),
    }[args.lr_schedule]()

    best_accuracy, best = -1.0, {}
    for epoch in range(args.epochs):
        train_loss, train_accuracy = train_epoch(net, adam, train, train_part)
        schedule.step()
        loss, accuracy = evaluate(net, *validation)
        print(f"Epoch {epoch + 1}/{args.epochs}\tTrain Loss: {train_loss:.3f}\tTrain Acc: {train_accuracy:.3f}%"
              f"\tVal Loss: {loss:.3f}\tVal Acc: {accuracy:.3f}%", flush=True)
        if accuracy > best_accuracy:
            best_accuracy = accuracy
            best = {name: value.clone() for name, value in net.state_dict().items()}
    net.load_state_dict(best)
    _, accuracy = evaluate(net, *test)
    print(f"Test Accuracy of RNN model on the {len(test[0])} test images: {accuracy:.2f}%", flush=True)
    return accuracy


def train_epoch(net: CRNN, adam: torch.optim.Optimizer, train, part: torch.Tensor) -> tuple[float, float]:
    """One pass over the images of part in random order; returns mean loss and accuracy (percent)."""
    net.train()
    images, labels = train
    loss_sum, hits = 0.0, 0
    for batch in part[torch.randperm(len(part))].split(BATCH):
        target = labels[batch].long()
        logits = net(to_input(images[batch]))
        loss = F.cross_entropy(logits, target)
        adam.zero_grad()
        loss.backward()
        adam.step()
        loss_sum += loss.item() * len(batch)
        hits += (logits.argmax(1) == target).sum().item()
    return loss_sum / len(part), 100 * hits / len(part)


@torch.no_grad()
def logits_of(net: CRNN, images: torch.Tensor) -> torch.Tensor:
    """The logits of images in eval mode."""
    net.eval()
    return torch.cat([net(to_input(batch)) for batch in images.split(500)])


def evaluate(net: CRNN, images: torch.Tensor, labels: torch.Tensor) -> tuple[float, float]:
    """Mean loss and accuracy (percent) in eval mode."""
    logits, target = logits_of(net, images), labels.long()
    return F.cross_entropy(logits, target).item(), 100 * (logits.argmax(1) == target).sum().item() / len(target)


if __name__ == "__main__":
    main()
