#!/usr/bin/env python3
"""Exact search by faiss's IndexFlatIP, as benchmark lines.

It reads the results that the Go test wrote from standard input, and compares first."""
import json
import statistics
import sys
import time

try:
    import faiss
    import numpy
except ImportError:
    sys.exit("flatip.py: python3 has no faiss (Debian: python3-faiss); faiss is left out")

QUERIES, KEYS, DIM, NEAREST = 1000, 1_000_000, 128, 10


def unit(x):
    return x / numpy.linalg.norm(x, axis=1, keepdims=True)


def search(queries, keys, k):
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys)
    return index.search(queries, k)[1]


def check():
    want = json.load(sys.stdin)
    q, k = (unit(numpy.array(want[x], "float32").reshape(want["n"], want["d"])) for x in ("query", "key"))
    if search(q, k, len(want["top"][0])).tolist() != want["top"]:
        sys.exit("flatip.py: the nearest keys differ")


def main():
    check()
    print(f"faiss: {faiss.__version__}, {faiss.get_compile_options().strip()}")
    random = numpy.random.default_rng(0)
    queries, keys = (unit(random.standard_normal((n, DIM), "float32")) for n in (QUERIES, KEYS))
    index = faiss.IndexFlatIP(DIM)
    index.add(keys)
    for workers in (1, 2):
        faiss.omp_set_num_threads(workers)
        times = []
        for _ in range(3):
            start = time.perf_counter()
            index.search(queries, NEAREST)
            times.append(time.perf_counter() - start)
        print(f"BenchmarkFaiss/metric=topk/n={QUERIES}/k={KEYS}/d={DIM}/isa=faiss/workers={workers}"
              f" {len(times)} {statistics.median(times) * 1e9:.0f} ns/op", flush=True)


main()
