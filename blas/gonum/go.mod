module github.com/contrastive-go/contrastive/blas/gonum

go 1.25.0

require (
	github.com/contrastive-go/contrastive v0.0.0
	gonum.org/v1/gonum v0.17.0
)

require (
	github.com/klauspost/cpuid/v2 v2.3.0 // indirect
	golang.org/x/sys v0.35.0 // indirect
)

replace github.com/contrastive-go/contrastive => ../../
