//go:build amd64 && !purego

package isa

// mayUseTiles is true where amxemu executes what the processor does not know.
const mayUseTiles = true
