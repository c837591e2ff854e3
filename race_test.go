//go:build race

package contrastive_test

// raceEnabled reports whether the race detector is on. It allocates, and makes
// sync.Pool drop what it holds.
const raceEnabled = true
