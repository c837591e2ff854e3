//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// bytesOf is a memory that begins at address 4096.
type bytesOf []byte

const origin = 4096

func (m bytesOf) access(rows [][]byte, address, stride uint64, move func(memory, row []byte)) error {
	for i, row := range rows {
		at := address - origin + uint64(i)*stride
		if at > uint64(len(m)) || at+uint64(len(row)) > uint64(len(m)) {
			return errFault
		}
		move(m[at:], row)
	}
	return nil
}

func (m bytesOf) read(rows [][]byte, address, stride uint64) error {
	return m.access(rows, address, stride, func(m, row []byte) { copy(row, m) })
}

func (m bytesOf) write(rows [][]byte, address, stride uint64) error {
	return m.access(rows, address, stride, func(m, row []byte) { copy(m, row) })
}

// config returns a configuration of all tiles with the same shape.
func config(rows, width int) []byte {
	c := make([]byte, 64)
	c[0] = 1
	for t := range 8 {
		c[16+2*t], c[48+t] = byte(width), byte(rows)
	}
	return c
}

// TestMultiply compares a product with that in float64.
func TestMultiply(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	m := bytesOf(config(16, 64))
	const a, b, c, stride = 64, 64 + 16*72, 64 + 2*16*72, 72
	m = append(m, make([]byte, 3*16*stride)...)
	for i := 64; i < c; i += 2 {
		binary.LittleEndian.PutUint16(m[i:], uint16(math.Float32bits(float32(r.NormFloat64()))>>16))
	}
	for i := c; i < len(m); i += 4 {
		binary.LittleEndian.PutUint32(m[i:], math.Float32bits(float32(r.NormFloat64())))
	}
	before := slices.Clone(m)
	var state tiles
	for _, i := range []instruction{
		{name: ldtilecfg, address: origin},
		{name: tileloadd, tile: 1, address: origin + a, stride: stride},
		{name: tileloadd, tile: 2, address: origin + b, stride: stride},
		{name: tileloadd, tile: 3, address: origin + c, stride: stride},
		{name: tdpbf16ps, tile: 3, first: 1, second: 2},
		{name: tilestored, tile: 3, address: origin + c, stride: stride},
		{name: tilerelease},
	} {
		if err := state.execute(i, m); err != nil {
			t.Fatalf("%s: %v", i.name, err)
		}
	}
	bf16 := func(at int) float64 {
		return float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(before[at:])) << 16))
	}
	f32 := func(m bytesOf, at int) float64 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(m[at:])))
	}
	for i := range 16 {
		for j := range 16 {
			at := c + i*stride + 4*j
			want := f32(before, at)
			size := math.Abs(want)
			for k := range 16 {
				for half := range 2 {
					p := bf16(a+i*stride+4*k+2*half) * bf16(b+k*stride+4*j+2*half)
					want, size = want+p, size+math.Abs(p)
				}
			}
			if got := f32(m, at); math.Abs(got-want) > 18*0x1p-24*size {
				t.Errorf("element %d, %d is %v, want %v", i, j, got, want)
			}
		}
	}
	if !slices.Equal(m[:c], before[:c]) {
		t.Error("the operands were written to")
	}
}

// TestRefuses tests that what the hardware refuses is refused.
func TestRefuses(t *testing.T) {
	m := bytesOf(config(16, 64))
	load := instruction{name: ldtilecfg, address: origin}
	for name, is := range map[string][]instruction{
		"no configuration":       {{name: tilezero}},
		"after a release":        {load, {name: tilerelease}, {name: tilezero}},
		"equal tiles":            {load, {name: tdpbf16ps, tile: 1, first: 1, second: 2}},
		"memory that is missing": {load, {name: tileloadd, address: origin + 1, stride: 64}},
	} {
		var state tiles
		var err error
		for _, i := range is {
			err = state.execute(i, m)
		}
		if err == nil {
			t.Errorf("%s is not refused", name)
		}
		if errors.Is(err, errFault) != (name == "memory that is missing") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(c []byte){
		"palette":    func(c []byte) { c[0] = 2 },
		"start row":  func(c []byte) { c[1] = 1 },
		"ninth tile": func(c []byte) { c[16+2*8], c[48+8] = 64, 16 },
		"17 rows":    func(c []byte) { c[48] = 17 },
		"no rows":    func(c []byte) { c[48] = 0 },
		"65 bytes":   func(c []byte) { c[16] = 65 },
	} {
		c := bytesOf(config(16, 64))
		change(c)
		var state tiles
		if state.execute(load, c) == nil {
			t.Errorf("a configuration with another %s is not refused", name)
		}
	}
}

// TestDecode decodes instructions that binutils assembled, and others that it must
// not take for AMX.
func TestDecode(t *testing.T) {
	var registers [16]uint64
	for i := range registers {
		registers[i] = uint64(i) << 32
	}
	for _, c := range []struct {
		code []byte
		want instruction
	}{
		{[]byte{0xc4, 0xe2, 0x78, 0x49, 0xc0}, instruction{name: tilerelease, length: 5}},
		{[]byte{0xc4, 0xe2, 0x78, 0x49, 0x00}, instruction{name: ldtilecfg, length: 5, address: registers[0]}},
		{[]byte{0xc4, 0xc2, 0x78, 0x49, 0x45, 0x40}, instruction{name: ldtilecfg, length: 6, first: 13, address: registers[13] + 64}},
		{[]byte{0xc4, 0xe2, 0x7b, 0x49, 0xd8}, instruction{name: tilezero, length: 5, tile: 3}},
		{[]byte{0xc4, 0x82, 0x7b, 0x4b, 0x3c, 0x19}, instruction{name: tileloadd, length: 6, tile: 7, first: 4, address: registers[9], stride: registers[11]}},
		{[]byte{0xc4, 0xa2, 0x7b, 0x4b, 0xa4, 0x5e, 0, 4, 0, 0}, instruction{name: tileloadd, length: 10, tile: 4, first: 4, address: registers[6] + 0x400, stride: 2 * registers[11]}},
		{[]byte{0xc4, 0xa2, 0x7a, 0x4b, 0x4c, 0x22, 0xf0}, instruction{name: tilestored, length: 7, tile: 1, first: 4, address: registers[2] - 16, stride: registers[12]}},
		{[]byte{0xc4, 0xe2, 0x42, 0x5c, 0xdd}, instruction{name: tdpbf16ps, length: 5, tile: 3, first: 5, second: 7}},
	} {
		got, ok := decode(append(c.code, make([]byte, maxLength)...), &registers)
		got.second, got.first = got.second&15, got.first&15
		if c.want.name != tdpbf16ps { // which alone have sources
			got.first, got.second, c.want.first = 0, 0, 0
		}
		if !ok || got != c.want {
			t.Errorf("% x is %+v, %v, want %+v", c.code, got, ok, c.want)
		}
	}
	for _, code := range [][]byte{
		{0x0f, 0x0b},                               // UD2
		{0xc4, 0xe2, 0xfb, 0x49, 0xc0},             // W = 1
		{0xc4, 0xe2, 0x7f, 0x49, 0xc0},             // L = 1
		{0xc4, 0xe3, 0x7b, 0x49, 0xc0},             // another map
		{0xc4, 0xe2, 0x72, 0x4b, 0x04, 0x18, 0, 0}, // vvvv
		{0xc4, 0xe2, 0x43, 0x5c, 0xdd},             // TDPFP16PS
	} {
		if i, ok := decode(append(code, make([]byte, 4)...), &registers); ok {
			t.Errorf("% x is %+v", code, i)
		}
	}
}
