package kernel

import "unsafe"

const (
	genericRows = 2
	genericCols = 4
)

// generic gives the same bits on every architecture. Its products are unrolled.
var generic = func() Kernels {
	k := Portable(Shape{Rows: genericRows, Cols: genericCols, BlockRows: genericRows, RowStep: genericRows, Lanes: genericCols, Depth: 1024}, 0)
	k.mulPanel = []mulPanel{mulPanelGeneric}
	k.mulRows = []mulRows{mulRowsGeneric}
	k.mulBlocks = []mulBlocks{mulBlocksGeneric}
	k.mulTall = tall(k.Shape, mulBlocksGeneric)
	k.transpose = transposeGeneric
	k.gatherCols = gatherRuns[[genericCols]float32]
	return k
}()

func mulPanelGeneric(c *float32, cRow int, a *float32, aTile, aStep int, b *float32, bStep, tiles, depth int, alpha, beta float32) {
	size := (depth-1)*aStep + genericRows
	to := unsafe.Slice(c, (tiles*genericRows-1)*cRow+genericCols)
	from, right := unsafe.Slice(a, (tiles-1)*aTile+size), unsafe.Slice(b, (depth-1)*bStep+genericCols)
	for i := range tiles {
		var s genericTile
		left := from[i*aTile:][:size]
		for t := range depth {
			x := left[t*aStep:][:genericRows]
			s.add(x[0], x[1], right[t*bStep:])
		}
		s.store(&to[i*genericRows*cRow], cRow, alpha, beta)
	}
}

func mulRowsGeneric(c *float32, cRow int, a *float32, aRow int, b *float32, bStep, depth int, alpha, beta float32) {
	var s genericTile
	left, right := unsafe.Slice(a, aRow+depth), unsafe.Slice(b, (depth-1)*bStep+genericCols)
	x, y := left[:depth], left[aRow:][:depth]
	for t := range depth {
		s.add(x[t], y[t], right[t*bStep:])
	}
	s.store(c, cRow, alpha, beta)
}

func mulBlocksGeneric(c *float32, cRow int, a *float32, aBlock int, b *float32, bBlock, blocks, depth int, add bool) {
	var s genericTile
	left := unsafe.Slice(a, (blocks-1)*aBlock+genericCols+depth)
	right := unsafe.Slice(b, (blocks-1)*bBlock+depth*genericCols)
	for n := range blocks {
		left, right := left[n*aBlock:][:genericCols+depth], right[n*bBlock:][:depth*genericCols]
		for t := range depth {
			s.add(left[t], left[genericCols+t], right[t*genericCols:])
		}
	}
	beta := float32(0)
	if add {
		beta = 1
	}
	s.store(c, cRow, 1, beta)
}

func transposeGeneric(dst *float32, dstRow int, src *float32, srcRow int) {
	to := unsafe.Slice(dst, (genericCols-1)*dstRow+genericCols)
	from := unsafe.Slice(src, (genericCols-1)*srcRow+genericCols)
	for i := range genericCols {
		for j, v := range from[i*srcRow:][:genericCols] {
			to[j*dstRow+i] = v
		}
	}
}

// A genericTile is the sums of the generic kernels. Eight are as many as stay in the
// registers of every architecture.
type genericTile struct {
	s00, s01, s02, s03, s10, s11, s12, s13 float32
}

func (s *genericTile) add(x, y float32, b []float32) {
	_ = b[3]
	s.s00 += float32(x * b[0])
	s.s01 += float32(x * b[1])
	s.s02 += float32(x * b[2])
	s.s03 += float32(x * b[3])
	s.s10 += float32(y * b[0])
	s.s11 += float32(y * b[1])
	s.s12 += float32(y * b[2])
	s.s13 += float32(y * b[3])
}

func (s *genericTile) store(c *float32, cRow int, alpha, beta float32) {
	rows := unsafe.Slice(c, cRow+genericCols)
	sums := [genericRows][genericCols]float32{{s.s00, s.s01, s.s02, s.s03}, {s.s10, s.s11, s.s12, s.s13}}
	for r := range sums {
		row := rows[r*cRow:][:genericCols]
		for j, v := range sums[r] {
			v = float32(v * alpha)
			if beta != 0 {
				v += float32(beta * row[j])
			}
			row[j] = v
		}
	}
}
