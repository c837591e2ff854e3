// Package isa chooses the instruction set that kernels use.
//
// The choice is made once, at start-up: the best level that the processor has, but for
// [AMX], unless the CONTRASTIVE_SIMD environment variable names another. Building with
// the purego tag leaves only [Generic].
package isa

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// A Level is a set of features that processors have together. A greater level
// of an architecture includes the lesser ones, except that AMX does not include
// AVX512BF16.
type Level uint8

const (
	Generic    Level = iota // portable Go
	NEON                    // arm64: Advanced SIMD, which every arm64 processor has
	AVX2                    // amd64: AVX2 and FMA
	AVX512                  // amd64: AVX-512 F, BW, DQ and VL
	AVX512BF16              // amd64: AVX512_BF16 where it is faster than FMA
	AMX                     // amd64: AMX-TILE and AMX-BF16, on request only
)

var names = [...]string{"generic", "neon", "avx2", "avx512", "avx512bf16", "amx"}

func (l Level) String() string { return names[l] }

// All lists the levels of all architectures.
func All() []Level {
	levels := make([]Level, len(names))
	for i := range levels {
		levels[i] = Level(i)
	}
	return levels
}

// Suffix is what the names of those functions of package asm end in that are for l.
func (l Level) Suffix() string { return strings.ToUpper(l.String()) }

// A gate is a level and the features that its kernels may use, besides those of
// the level that it is based on, by the names that avo gives them.
type gate struct {
	level, base Level
	features    map[string]bool // whether this processor has them
}

var available = detect(gates)

// Active is the level in use. It is written at start-up and by tests and
// comparisons, which do not run beside others; everything else only reads it.
var Active = choose(available, os.Getenv("CONTRASTIVE_SIMD"), permit, os.Stderr)

// detect lists the levels whose features and those of their bases are all there.
func detect(gates []gate) []Level {
	levels := []Level{Generic}
	for _, g := range gates {
		has := slices.Contains(levels, g.base)
		for _, feature := range g.features {
			has = has && feature
		}
		if has {
			levels = append(levels, g.level)
		}
	}
	return levels
}

// choose returns the level called name, or the default if name is empty. A level
// that cannot be used is reported on w, and does not fail the program.
func choose(available []Level, name string, permit func(Level) error, w io.Writer) Level {
	if name == "" {
		return byDefault(available)
	}
	l, err := request(available, name, permit)
	if err != nil {
		l = byDefault(available)
		fmt.Fprintf(w, "CONTRASTIVE_SIMD: %v; using %v\n", err, l)
	}
	return l
}

// byDefault returns the best of the available levels. AMX is not among them: that it
// is faster has not been measured, and the permission for it has side effects.
func byDefault(available []Level) Level {
	best := available[len(available)-1]
	if best == AMX {
		best = available[len(available)-2]
	}
	return best
}

// request returns the available level called name, once it is permitted.
func request(available []Level, name string, permit func(Level) error) (Level, error) {
	l, err := parse(available, name)
	if err != nil {
		return Generic, err
	}
	if err := permit(l); err != nil {
		return Generic, fmt.Errorf("level %q cannot be used: %w", name, err)
	}
	return l, nil
}

// permit asks the operating system for what it grants on request only.
func permit(l Level) error {
	if l == AMX {
		return requestTiles()
	}
	return nil
}

// parse returns the available level called name.
func parse(available []Level, name string) (Level, error) {
	i := slices.Index(names[:], name)
	if i < 0 {
		return Generic, fmt.Errorf("unknown level %q, must be one of %s", name, strings.Join(names[:], ", "))
	}
	if !slices.Contains(available, Level(i)) {
		return Generic, fmt.Errorf("level %q is not supported here, must be one of %v", name, available)
	}
	return Level(i), nil
}

// Available lists the levels that this processor can run, in the order of the constants.
// It takes [Set] to use one of them: the operating system may have to be asked.
func Available() []Level { return slices.Clone(available) }

// Set makes the level called name the active one. Where the operating system has to be
// asked for it, it asks.
func Set(name string) error {
	l, err := request(available, name, permit)
	if err == nil {
		Active = l
	}
	return err
}

// Grants reports whether kernels of level l may use the named feature.
func Grants(l Level, feature string) bool {
	for _, g := range gates {
		if g.level == l {
			_, ok := g.features[feature]
			return ok || Grants(g.base, feature)
		}
	}
	return false
}
