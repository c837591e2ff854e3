//go:build amd64 && !linux && !purego

package isa

// mayUseTiles is false: other systems are never asked.
const mayUseTiles = false
