package main

import (
	"github.com/contrastive-go/contrastive/internal/gen/amd64"
	"github.com/contrastive-go/contrastive/internal/gen/vec"
	"github.com/contrastive-go/contrastive/internal/isa"
	"github.com/contrastive-go/contrastive/internal/tile"
)

// A level is one of package isa that has assembly: its functions, in files by part,
// end in its name.
type level struct {
	isa.Level
	goarch string
	shape  tile.Shape
	parts  []part
}

// A part is what a level has in one file. The level uses the rest of the one that it
// is based on.
type part struct {
	file  string
	write func(k kernels)
}

// kernels are what an architecture writes, in the vocabulary of package vec and on its
// own.
type kernels interface {
	vec.Asm
	Tiles() // products of float32 values, and transposition
}

var (
	vectors = part{"vector", func(k kernels) { vec.Vectors(k) }}
	blocks  = part{"block", func(k kernels) { vec.Blocks(k) }}
	rows    = part{"row", func(k kernels) { vec.MatrixRows(k) }}
	maths   = part{"function", func(k kernels) { vec.Functions(k) }}
	tiles   = part{"tile", kernels.Tiles}
	splits  = part{"split", func(k kernels) { k.(amd64.Asm).Splits() }}
	pairs   = part{"split", func(k kernels) { k.(amd64.Asm).PairProducts() }}
	amx     = part{"split", func(k kernels) { k.(amd64.Asm).TileProducts() }}
)

var levels = []level{
	{isa.NEON, "arm64", tile.NEON, []part{vectors, rows, maths, blocks, tiles}},
	{isa.AVX2, "amd64", tile.AVX2, []part{vectors, rows, maths, blocks, tiles}},
	{isa.AVX512, "amd64", tile.AVX512, []part{vectors, rows, maths, blocks, tiles, splits}},
	{isa.AVX512BF16, "amd64", tile.AVX512, []part{pairs}},
	{isa.AMX, "amd64", tile.AVX512, []part{amx}},
}
