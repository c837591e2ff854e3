//go:build amd64 && !purego

package isa

// hasTiles is true where amxemu executes what the processor does not know.
const hasTiles = true

func requestTiles() error { return nil }
