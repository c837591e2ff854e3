//go:build !(amd64 || arm64 || 386.sse2) || purego

package fpmode

// A Mode is that of a thread before Enter.
type Mode struct{}

// Enter does nothing here.
func Enter() Mode { return Mode{} }

// Leave does nothing here.
func (Mode) Leave() {}

// Foreign returns modes other than the standard one, by name, for tests.
func Foreign() map[string]Mode { return nil }
