//go:build (amd64 || 386.sse2) && !purego

package fpmode

// A word is MXCSR, whose low six bits note exceptions and are no part of the mode.
type word = uint32

const (
	modeBits word = 0xFFC0
	standard word = 0x1F80 // every exception masked
)

func getControl() word
func setControl(word)

// Foreign returns modes other than the standard one, by name, for tests.
func Foreign() map[string]Mode {
	return map[string]Mode{
		"flush":  {1<<15 | 1<<6}, // FTZ, DAZ
		"upward": {2 << 13},
		"trap":   {1 << 8}, // at subnormal operands
	}
}
