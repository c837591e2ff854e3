.PHONY: help test generate ci bench examples avx-model neon-model

help:
	@echo 'make test        the tests of the root module; "go test -short ./..." takes less'
	@echo 'make generate    the assembly anew, from internal/gen'
	@echo 'make ci          everything that guards quality, in half an hour on two cores;'
	@echo '                 as root it installs the Debian packages that it needs'
	@echo 'make bench       speed, beside other ways to compute the same'
	@echo 'make examples    all examples but adapter, and the tables of glyphs, in forty minutes'
	@echo 'make avx-model   what the AVX2 and AVX-512 loops would reach, by the models of LLVM'
	@echo 'make neon-model  the same of NEON'

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

# Trains every example but adapter, which reads vectors that you have: the search model,
# the encoders of other frameworks, and all methods and sweeps of glyphs, whose tables and
# plots it writes to examples/glyphs/RESULTS.md and examples/glyphs/results.
examples:
	go run -C examples ./quickstart
	go run -C examples ./codesearch remove leading and trailing white space
	go run -C examples ./gonum
	go run -C examples ./moco
	go run -C examples ./recommender
	go run -C examples ./hardnegatives
	go run -C examples/gomlx .
	go run -C examples/gomlx ./siglip
	go run -C examples/spago .
	go run -C examples/chromem .
	go run -C examples ./glyphs -sweep all -seeds 3 -out glyphs

# What loops would reach on cores that are not at hand, by the models of LLVM: nothing is
# measured. Needs LLVM 17 or later and, for neon-model, binutils for aarch64.
avx-model:
	internal/gen/model amd64

neon-model:
	internal/gen/model arm64
