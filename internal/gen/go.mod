module github.com/contrastive-go/contrastive/internal/gen

go 1.25.0

require (
	github.com/mmcloughlin/avo v0.6.0
	golang.org/x/arch v0.20.0
)

require (
	github.com/klauspost/cpuid/v2 v2.3.0 // indirect
	golang.org/x/sys v0.35.0 // indirect
)

require (
	github.com/contrastive-go/contrastive v0.0.0
	golang.org/x/mod v0.27.0 // indirect
	golang.org/x/sync v0.16.0 // indirect
	golang.org/x/tools v0.36.0 // indirect
)

replace github.com/contrastive-go/contrastive => ../..
