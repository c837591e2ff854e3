.PHONY: test generate ci bench

test:
	go test ./...

generate:
	go generate ./...

ci:
	bash .ci/run

# Side by side in one run: this package on every level, plain Go, gonum, vek, and,
# where they are installed, OpenBLAS and PyTorch. Takes about ten minutes.
bench:
	bench/run
