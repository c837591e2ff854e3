//go:build !(linux && amd64) || purego

package isa

// hasTiles is false: other systems are never asked.
const hasTiles = false

func requestTiles() error { return nil }
