#!/usr/bin/env python3
"""Losses with gradients in PyTorch, as benchmark lines: eager, and tuned by hand.

It reads the results that the Go test wrote from standard input, and compares first.

    pytorch.py THREADS [SECONDS]"""
import json
import os
import statistics
import sys
import time

THREADS = int(sys.argv[1])
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 1
# Debian's torch multiplies by OpenBLAS, which does not hear of torch.set_num_threads.
os.environ["OPENBLAS_NUM_THREADS"] = str(THREADS)

try:
    import torch
except ImportError:
    sys.exit("pytorch.py: python3 has no torch (Debian: python3-torch); PyTorch is left out")

SIZES = [(32, 128), (100, 64), (256, 128), (512, 768), (1024, 128), (1024, 768), (2048, 384), (4096, 128), (4096, 512), (4096, 768)]
QUEUE = (256, 65536, 128)
TAU = 0.07
normalize = torch.nn.functional.normalize
cross_entropy = torch.nn.functional.cross_entropy


# What one writes: normalise, mm, cross_entropy, backward.


def infonce(q, k):
    logits = normalize(q) @ normalize(k).T / TAU
    return cross_entropy(logits, torch.arange(len(q)))


def clip(q, k):
    logits, own = normalize(q) @ normalize(k).T / TAU, torch.arange(len(q))
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def ntxent(q, k):
    z, n = torch.cat([normalize(q), normalize(k)]), len(q)
    logits = (z @ z.T / TAU).masked_fill(torch.eye(2 * n, dtype=torch.bool), -torch.inf)
    return cross_entropy(logits, torch.arange(2 * n).roll(n))


def moco(q, k, queue):
    q, k = normalize(q), normalize(k)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / TAU
    return cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))


def eager(loss):
    def step(*inputs):
        for x in inputs[:2]:
            x.grad = None
        loss(*inputs).backward()

    return step


# The fastest tensor code: products, softmax in place, no autograd, rows taken as normalised.


def tuned_infonce(q, k):
    s = torch.mm(q, k.T).mul_(1 / TAU)
    torch.softmax(s, 1, out=s)
    s.diagonal().sub_(1)
    s.mul_(1 / (TAU * len(q)))
    return torch.mm(s, k), torch.mm(s.T, q)


def tuned_clip(q, k):
    s = torch.mm(q, k.T).mul_(1 / TAU)
    by_key = torch.softmax(s, 0)
    torch.softmax(s, 1, out=s)
    s.add_(by_key)
    s.diagonal().sub_(2)
    s.mul_(1 / (2 * TAU * len(q)))
    return torch.mm(s, k), torch.mm(s.T, q)


def tuned_ntxent(q, k):
    z, n = torch.cat([q, k]), len(q)
    s = torch.mm(z, z.T).mul_(1 / TAU)
    s.fill_diagonal_(-torch.inf)
    torch.softmax(s, 1, out=s)
    s.diagonal(n).sub_(1)
    s.diagonal(-n).sub_(1)
    s = s.add(s.T).mul_(1 / (2 * TAU * n))
    g = torch.mm(s, z)
    return g[:n], g[n:]


def tuned_moco(q, k, queue):
    s = torch.mm(q, queue.T).mul_(1 / TAU)
    own = (q * k).sum(1, keepdim=True).mul_(1 / TAU)
    total = torch.logaddexp(torch.logsumexp(s, 1, keepdim=True), own)
    s.sub_(total).exp_()
    own.sub_(total).exp_().sub_(1)
    return torch.mm(s, queue).addcmul_(own, k).mul_(1 / (TAU * len(q)))


def check():
    """Compares eager with what Go computed, and tuned with eager where rows are of length 1."""
    want = json.load(sys.stdin)
    q, k = (torch.tensor(want[x]).reshape(want["n"], want["d"]).requires_grad_() for x in ("query", "key"))
    loss = infonce(q, k)
    loss.backward()
    same("loss", loss, torch.tensor(want["loss"]))
    same("query", q.grad, torch.tensor(want["query_grad"]).reshape(q.shape))
    same("key", k.grad, torch.tensor(want["key_grad"]).reshape(k.shape))
    with torch.no_grad():
        q, k, queue = (normalize(torch.randn(n, 16)) for n in (24, 24, 100))
    for name, loss, tuned, more in (("infonce", infonce, tuned_infonce, ()), ("clip", clip, tuned_clip, ()),
                                    ("ntxent", ntxent, tuned_ntxent, ()), ("moco", moco, tuned_moco, (queue,))):
        x, y = q.clone().requires_grad_(), k.clone().requires_grad_()
        loss(x, y, *more).backward()
        got = tuned(q, k, *more)
        for grad, unit, expected in zip(got if isinstance(got, tuple) else (got,), (q, k), (x.grad, y.grad)):
            same(name, grad - (grad * unit).sum(1, keepdim=True) * unit, expected)  # through the normalisation


def same(what, got, expected):
    # Both compute in float32: cosines within 2^-22, logits within 2^-18.
    if (got - expected).abs().max() > 2**-14 * expected.abs().max():
        sys.exit(f"pytorch.py: {what} differs")


def measure(loss, isa, n, k, d, f, *inputs):
    f(*inputs)
    times, end = [], time.perf_counter() + SECONDS
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        f(*inputs)
        times.append(time.perf_counter() - start)
    print(f"BenchmarkTorch/loss={loss}/n={n}/k={k}/d={d}/pass=grad/isa={isa}/workers={THREADS}"
          f" {len(times)} {statistics.median(times) * 1e9:.0f} ns/op", flush=True)


def main():
    check()
    print(f"torch: {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}")
    torch.set_num_threads(THREADS)
    for n, d in SIZES:
        torch.manual_seed(0)
        for name, loss, tuned, pairs in (("infonce", infonce, tuned_infonce, n), ("clip", clip, tuned_clip, n),
                                         ("ntxent", ntxent, tuned_ntxent, n // 2)):  # as many anchors
            q, k = (normalize(torch.randn(pairs, d)).requires_grad_() for _ in range(2))
            measure(name, "torch", n, n, d, eager(loss), q, k)
            with torch.no_grad():
                measure(name, "torch-tuned", n, n, d, tuned, q, k)
    n, keys, d = QUEUE
    q, k, queue = (normalize(torch.randn(rows, d)) for rows in (n, n, keys))
    with torch.no_grad():
        measure("moco", "torch-tuned", n, keys, d, tuned_moco, q, k, queue)
    measure("moco", "torch", n, keys, d, eager(moco), q.requires_grad_(), k, queue)


main()
