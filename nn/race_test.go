//go:build race

package nn

// raceDetector reports whether the race detector runs, under which sync.Pool drops some
// of what it is given.
const raceDetector = true
