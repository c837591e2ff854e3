#!/usr/bin/env python3
"""A training step of a linear adapter of queries in eager PyTorch, as benchmark lines.

It is that of BenchmarkEpoch of package adapter: 100,000 pairs of 768 elements, 1,024 a
batch, CLIP with a learned temperature, AdamW.

    adapter.py THREADS [SECONDS]"""
import os
import statistics
import sys
import time

THREADS = int(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 5
# Debian's torch multiplies by OpenBLAS, which does not hear of torch.set_num_threads.
os.environ["OPENBLAS_NUM_THREADS"] = str(THREADS)

try:
    import torch
except ImportError:
    sys.exit("adapter.py: python3 has no torch (Debian: python3-torch); PyTorch is left out")

PAIRS, DIM, BATCH = 100_000, 768, 1024
normalize = torch.nn.functional.normalize
cross_entropy = torch.nn.functional.cross_entropy


def main():
    print(f"torch: {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    queries = torch.rand(PAIRS, DIM) + torch.rand(PAIRS, DIM) - 1
    documents = queries + torch.rand(PAIRS, DIM) - 0.5
    linear = torch.nn.Linear(DIM, DIM)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    scale = torch.nn.Parameter(torch.tensor(1 / 0.07).log())
    optimizer = torch.optim.AdamW(
        [{"params": [linear.weight]}, {"params": [linear.bias, scale], "weight_decay": 0}], lr=1e-3, weight_decay=0.01)
    own, order = torch.arange(BATCH), torch.randperm(PAIRS)

    def step(i):
        batch = order[i * BATCH % (PAIRS - BATCH):][:BATCH]
        x = normalize(queries[batch])
        y = normalize(x + linear(x))
        logits = y @ normalize(documents[batch]).T * scale.exp()
        loss = (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 8 or time.perf_counter() < end:
        start = time.perf_counter()
        step(len(times))
        times.append(time.perf_counter() - start)
    times = times[3:]  # the first ones allocate
    print(f"BenchmarkTorchAdapter/workers={THREADS} {len(times)} {statistics.median(times) * 1e9:.0f} ns/op", flush=True)


main()
