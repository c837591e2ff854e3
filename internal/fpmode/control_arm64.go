//go:build !purego

package fpmode

// A word is FPCR.
type word = uint64

const (
	modeBits word = 1<<64 - 1
	standard word = 0
)

func getControl() word
func setControl(word)

// Foreign returns modes other than the standard one, by name, for tests.
func Foreign() map[string]Mode {
	return map[string]Mode{
		"flush":  {1 << 24}, // FZ
		"upward": {1 << 22},
	}
}
