module github.com/contrastive-go/contrastive

go 1.25.0

require (
	github.com/klauspost/cpuid/v2 v2.3.0
	golang.org/x/sys v0.35.0
)
