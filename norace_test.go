//go:build !race

package contrastive_test

const raceEnabled = false
