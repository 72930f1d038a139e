"""What the peers share: they read sizes as JSON from standard input, and print the seconds of each repeat.

A peer is a script for an interpreter that has PyTorch, and knows nothing of JAX.
"""

import json
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def train(make_network: Callable, make_batch: Callable, loss: Callable):
    """Time training steps as they are, and compiled.

    Args:
        make_network: sizes → network.
        make_batch: sizes → tensors.
        loss: network, tensors → scalar.
    """
    sizes = json.load(sys.stdin)
    for way in sizes["ways"]:
        network = make_network(sizes).to(DEVICE)
        optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=DEVICE == "cuda")
        batch = [tensor.to(DEVICE) for tensor in make_batch(sizes)]
        loss_of = torch.compile(loss) if way == "compiled" else loss

        def step(network=network, optimizer=optimizer, batch=batch, loss_of=loss_of):
            optimizer.zero_grad()
            loss_of(network, *batch).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()

        report(way, step, sizes["repeats"], sizes["seconds"])


def report(way: str, call: Callable, repeats: int, seconds: float):
    """Print the seconds of the first call, and those of a call in each repeat of some seconds."""
    # What JAX does with products of float32 on a GPU, unless it is told otherwise.
    torch.set_float32_matmul_precision("high")
    torch.manual_seed(0)
    first = _timed(call, 1)
    calls = max(1, round(seconds / _timed(call, 1)))
    times = [_timed(call, calls) for _ in range(repeats)]
    print(json.dumps({"way": way, "first": first, "seconds": times}), flush=True)


def _timed(call, calls):
    start = time.perf_counter()
    for _ in range(calls):
        call()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls
