//go:build linux && amd64

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// An operation is one of the instructions of AMX-TILE and AMX-BF16.
type operation string

const (
	ldtilecfg   operation = "LDTILECFG"
	tilerelease operation = "TILERELEASE"
	tilezero    operation = "TILEZERO"
	tileloadd   operation = "TILELOADD"
	tilestored  operation = "TILESTORED"
	tdpbf16ps   operation = "TDPBF16PS"
)

// An instruction is one with the values of its operands.
type instruction struct {
	name            operation
	length          int    // bytes
	tile            int    // destination, or what is stored
	first, second   int    // sources
	address, stride uint64 // of memory
}

// maxLength is the length of the longest instruction that decode knows.
const maxLength = 10

// decode returns the AMX instruction that code begins with, given the general
// registers. All are VEX-encoded, with three bytes, of opcode map 0F38.
func decode(code []byte, registers *[16]uint64) (instruction, bool) {
	if len(code) < maxLength || code[0] != 0xc4 || code[1]&0x1f != 2 || code[2]&0x84 != 0 {
		return instruction{}, false // another prefix or map, W = 1, or L = 1
	}
	// R, X, B and vvvv are inverted.
	r, x, b := ^code[1]>>7&1, ^code[1]>>6&1, ^code[1]>>5&1
	vvvv, prefix, opcode, modrm := ^code[2]>>3&15, code[2]&3, code[3], code[4]
	mod, reg, rm := modrm>>6, modrm>>3&7|r<<3, modrm&7
	if reg > 7 {
		return instruction{}, false
	}
	i := instruction{length: 5, tile: int(reg), first: int(rm), second: int(vvvv)}
	switch register := mod == 3; {
	case opcode == 0x49 && prefix == 0 && modrm == 0xc0 && vvvv == 0:
		i.name = tilerelease
		return i, true
	case opcode == 0x49 && prefix == 0 && !register && reg == 0 && vvvv == 0:
		i.name = ldtilecfg
	case opcode == 0x49 && prefix == 3 && register && rm == 0 && vvvv == 0:
		i.name = tilezero
		return i, true
	case opcode == 0x4b && prefix == 3 && !register && rm == 4 && vvvv == 0:
		i.name = tileloadd
	case opcode == 0x4b && prefix == 2 && !register && rm == 4 && vvvv == 0:
		i.name = tilestored
	case opcode == 0x5c && prefix == 2 && register && vvvv < 8:
		i.name = tdpbf16ps
		return i, true
	default:
		return instruction{}, false
	}

	base, at := rm|b<<3, 5
	if rm == 4 { // a SIB byte
		sib := code[at]
		at++
		base = sib&7 | b<<3
		if index := sib>>3&7 | x<<3; index != 4 {
			i.stride = registers[index] << (sib >> 6)
		}
	}
	switch {
	case mod == 0 && base&7 == 5:
		return instruction{}, false // no base, or relative to the program counter
	case mod == 1:
		i.address = uint64(int8(code[at]))
		at++
	case mod == 2:
		i.address = uint64(int32(binary.LittleEndian.Uint32(code[at:])))
		at += 4
	}
	i.address += registers[base]
	i.length = at
	if i.name == ldtilecfg { // the index is part of the address
		i.address += i.stride
	}
	return i, true
}

// errFault is an access to memory that is not there.
var errFault = errors.New("memory fault")

// A memory is that of the program.
type memory interface {
	read(rows [][]byte, address, stride uint64) error
	write(rows [][]byte, address, stride uint64) error
}

// tiles are the tile registers, and their configuration.
type tiles struct {
	configured bool
	rows       [8]int
	width      [8]int // bytes of a row
	data       [8][16][64]byte
}

// execute executes an instruction. An error is one that the hardware would raise.
func (t *tiles) execute(i instruction, m memory) error {
	switch i.name {
	case ldtilecfg:
		var config [64]byte
		if err := m.read([][]byte{config[:]}, i.address, 0); err != nil {
			return err
		}
		return t.configure(config)
	case tilerelease:
		*t = tiles{}
		return nil
	case tdpbf16ps:
		return t.multiply(i.tile, i.first, i.second)
	}
	if err := t.check(i.tile); err != nil {
		return err
	}
	rows := make([][]byte, t.rows[i.tile])
	for r := range rows {
		rows[r] = t.data[i.tile][r][:t.width[i.tile]]
	}
	if i.name == tilestored {
		return m.write(rows, i.address, i.stride)
	}
	t.data[i.tile] = [16][64]byte{}
	if i.name == tilezero {
		return nil
	}
	return m.read(rows, i.address, i.stride)
}

func (t *tiles) configure(config [64]byte) error {
	*t = tiles{configured: true}
	if config[0] != 1 || config[1] != 0 {
		return fmt.Errorf("palette %d, start row %d", config[0], config[1])
	}
	for k := range 16 {
		width, rows := int(binary.LittleEndian.Uint16(config[16+2*k:])), int(config[48+k])
		if k >= 8 && (width != 0 || rows != 0) || width > 64 || rows > 16 || (width == 0) != (rows == 0) {
			return fmt.Errorf("tile %d has %d rows of %d bytes", k, rows, width)
		}
		if k < 8 {
			t.width[k], t.rows[k] = width, rows
		}
	}
	return nil
}

func (t *tiles) check(tile int) error {
	if !t.configured || t.rows[tile] == 0 {
		return fmt.Errorf("tile %d is not configured", tile)
	}
	return nil
}

// multiply adds to each element of dst the products of pairs of bfloat16 values of
// a row of a and a column of b. Those of the lower and of the upper halves are added
// up apart, in float32 with rounding to nearest. Subnormal numbers count as zero;
// of sums, this is done once, at the end.
func (t *tiles) multiply(dst, a, b int) error {
	for _, k := range [...]int{dst, a, b} {
		if err := t.check(k); err != nil {
			return err
		}
	}
	if dst == a || dst == b || a == b {
		return fmt.Errorf("tiles %d, %d and %d are not three", dst, a, b)
	}
	depth, cols := t.width[a]/4, t.width[b]/4
	if t.rows[dst] != t.rows[a] || t.width[dst] != t.width[b] || t.rows[b] != depth {
		return fmt.Errorf("%d×%d += %d×%d · %d×%d words", t.rows[dst], t.width[dst]/4, t.rows[a], depth, t.rows[b], cols)
	}
	var right [2][16][16]float32
	for k := range depth {
		for n := range cols {
			right[0][k][n], right[1][k][n] = halves(t.data[b][k][4*n:])
		}
	}
	for m := range t.rows[dst] {
		var sums [2][16]float32
		for k := range depth {
			lo, hi := halves(t.data[a][m][4*k:])
			for n, v := range right[0][k] {
				sums[0][n] += lo * v
			}
			for n, v := range right[1][k] {
				sums[1][n] += hi * v
			}
		}
		for n := range cols {
			word := t.data[dst][m][4*n:]
			sum := flush(sums[0][n] + sums[1][n])
			sum += flush(math.Float32frombits(binary.LittleEndian.Uint32(word)))
			binary.LittleEndian.PutUint32(word, math.Float32bits(flush(sum)))
		}
	}
	return nil
}

// halves returns the bfloat16 values in the halves of a word.
func halves(b []byte) (lo, hi float32) {
	w := binary.LittleEndian.Uint32(b)
	return flush(math.Float32frombits(w << 16)), flush(math.Float32frombits(w &^ 0xffff))
}

// flush returns v, or 0 if it is subnormal.
func flush(v float32) float32 {
	if math.Float32bits(v)&0x7f800000 == 0 {
		return 0
	}
	return v
}
