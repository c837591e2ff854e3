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
	k.mulBlocks = []mulBlocks{mulBlocksGeneric}
	k.transpose = transposeGeneric
	k.spreadRows = spreadRuns[[genericRows]float32]
	k.spreadCols = spreadRuns[[genericCols]float32]
	return k
}()

func mulPanelGeneric(c *float32, cRow int, a, b *float32, depth int, add bool) {
	var s genericTile
	left, right := unsafe.Slice(a, depth*genericRows), unsafe.Slice(b, depth*genericCols)
	for len(right) >= genericCols && len(left) >= genericRows {
		s.add(left[0], left[1], right)
		left, right = left[genericRows:], right[genericCols:]
	}
	s.store(c, cRow, add)
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
	s.store(c, cRow, add)
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

func (s *genericTile) store(c *float32, cRow int, add bool) {
	rows := unsafe.Slice(c, cRow+genericCols)
	c0, c1 := rows[:genericCols:genericCols], rows[cRow:cRow+genericCols]
	if add {
		s.s00, s.s01, s.s02, s.s03 = c0[0]+s.s00, c0[1]+s.s01, c0[2]+s.s02, c0[3]+s.s03
		s.s10, s.s11, s.s12, s.s13 = c1[0]+s.s10, c1[1]+s.s11, c1[2]+s.s12, c1[3]+s.s13
	}
	c0[0], c0[1], c0[2], c0[3] = s.s00, s.s01, s.s02, s.s03
	c1[0], c1[1], c1[2], c1[3] = s.s10, s.s11, s.s12, s.s13
}
