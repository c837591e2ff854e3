#!/usr/bin/env python3
"""InfoNCE in PyTorch, as benchmark lines: eager, and tuned by hand."""
import json
import statistics
import sys
import time

try:
    import torch
except ImportError:
    sys.exit("pytorch.py: python3 has no torch (Debian: python3-torch); PyTorch is left out")

SIZES = [(32, 128), (256, 128), (1024, 128), (4096, 128), (4096, 512), (4096, 768)]
TAU = 0.07


def eager(q, k):
    """What one writes: normalise, mm, cross_entropy, backward."""
    q.grad = k.grad = None
    logits = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(k).T / TAU
    torch.nn.functional.cross_entropy(logits, torch.arange(len(q))).backward()


def tuned(q, k):
    """The fastest tensor code: three products, softmax in place, no autograd."""
    with torch.no_grad():
        s = torch.mm(q, k.T).mul_(1 / TAU)
        torch.softmax(s, 1, out=s)
        s.diagonal().sub_(1)
        s.mul_(1 / (TAU * len(q)))
        torch.mm(s, k)
        torch.mm(s.T, q)


def check(name):
    """Compares eager with the results that the Go test wrote."""
    with open(name) as f:
        want = json.load(f)
    q, k = (torch.tensor(want[x]).reshape(want["n"], want["d"]).requires_grad_() for x in ("query", "key"))
    logits = torch.nn.functional.normalize(q) @ torch.nn.functional.normalize(k).T / want["tau"]
    loss = torch.nn.functional.cross_entropy(logits, torch.arange(len(q)))
    eager(q, k)
    for what, got, expected in (("loss", loss, want["loss"]), ("query", q.grad, want["query_grad"]), ("key", k.grad, want["key_grad"])):
        expected = torch.tensor(expected).reshape(got.shape)
        # Both compute in float32: cosines within 2^-22, logits within 2^-18.
        if (got - expected).abs().max() > 2**-14 * expected.abs().max():
            sys.exit(f"pytorch.py: {what} differs")


def main():
    check(sys.argv[1])
    for workers in (1, 2):
        torch.set_num_threads(workers)
        for n, d in SIZES:
            torch.manual_seed(0)
            q, k = (torch.randn(n, d, requires_grad=True) for _ in range(2))
            for name, f in (("torch", eager), ("torch-tuned", tuned)):
                f(q, k)
                times, end = [], time.perf_counter() + 1
                while len(times) < 5 or time.perf_counter() < end:
                    start = time.perf_counter()
                    f(q, k)
                    times.append(time.perf_counter() - start)
                print(f"BenchmarkTorch/loss=infonce/n={n}/k={n}/d={d}/pass=grad/isa={name}/workers={workers}"
                      f" {len(times)} {statistics.median(times) * 1e9:.0f} ns/op", flush=True)


main()
