module github.com/contrastive-go/contrastive/examples/spago

go 1.25.0

require (
	github.com/contrastive-go/contrastive v0.0.0
	github.com/nlpodyssey/spago v1.1.0
)

require (
	github.com/google/flatbuffers v23.5.26+incompatible // indirect
	github.com/klauspost/cpuid/v2 v2.3.0 // indirect
	golang.org/x/sys v0.35.0 // indirect
)

replace github.com/contrastive-go/contrastive => ../..
