package simd

// The kernels in this file and in panel.go serve package engine, which documents
// how they fit together. They may change without notice.

// A Shape is the size of the register tile of the matrix products in use: Rows
// broadcast values by Cols lanes. Every level has its own.
//
// The operands of a product are packed so that it reads them in sequence:
//
//   - A row panel holds Rows vectors side by side, element t of vector r at
//     t·Rows + r.
//   - A column panel holds Cols of them, element t of vector j at t·Cols + j.
//   - A block holds Cols elements of any number of rows, element t of row r at
//     r·Cols + t.
type Shape struct {
	Rows, Cols int
	BlockRows  int // rows of the register tile for left operands in blocks
	RowStep    int // products compute a multiple of RowStep rows; it divides Rows and BlockRows
	Lanes      int // accumulators for each row in the panel kernels
	Depth      int // greatest depth at which a column panel stays in the first-level cache
}

// TileShape returns the shape in use.
func TileShape() Shape { return tileShape() }

// MulPanels stores the product of row panels and a column panel in a block, or
// adds it to what the block holds:
//
//	c[r·cRow + j] (+)= Σ a[r/Rows·aTile + t·Rows + r%Rows] · b[t·Cols + j]
//
// over t < depth, for r < rows, rounded up to a multiple of RowStep, and j < Cols.
// Every element is summed in order, in float32, which has an error of at most
// depth·u·Σ|a·b|, u = 2⁻²⁴, and one rounding more if added.
func MulPanels(c []float32, cRow int, a []float32, aTile int, b []float32, rows, depth int, add bool) {
	s := tileShape()
	b = b[:depth*s.Cols]
	for r := 0; r < rows; r += s.Rows {
		height := min(s.Rows, (rows-r+s.RowStep-1)/s.RowStep*s.RowStep)
		mulPanel(height, c[r*cRow:(r+height-1)*cRow+s.Cols], cRow, a[r/s.Rows*aTile:][:depth*s.Rows], b, depth, add)
	}
}

// MulBlocks is MulPanels for left operands in blocks, of which it takes the first
// depth elements, a multiple of BlockStep, of each row:
//
//	c[r·cRow + j] (+)= Σ a[n·aBlock + r·Cols + t] · b[n·bBlock + t·Cols + j]
//
// over n < blocks and t < depth.
func MulBlocks(c []float32, cRow int, a []float32, aBlock int, b []float32, bBlock int, rows, blocks, depth int, add bool) {
	s := tileShape()
	b = b[:(blocks-1)*bBlock+depth*s.Cols]
	for r := 0; r < rows; r += s.BlockRows {
		height := min(s.BlockRows, (rows-r+s.RowStep-1)/s.RowStep*s.RowStep)
		mulBlocks(height, c[r*cRow:(r+height-1)*cRow+s.Cols], cRow, a[r*s.Cols:][:(blocks-1)*aBlock+(height-1)*s.Cols+depth], aBlock, b, bBlock, blocks, depth, add)
	}
}

// BlockStep divides Cols at every level.
const BlockStep = 4

// Transpose stores Cols×Cols elements of src, transposed, in dst:
//
//	dst[j·dstRow + i] = src[i·srcRow + j]
func Transpose(dst []float32, dstRow int, src []float32, srcRow int) {
	n := tileShape().Cols
	transpose(dst[:(n-1)*dstRow+n], dstRow, src[:(n-1)*srcRow+n], srcRow)
}

func transposeGeneric(dst []float32, dstRow int, src []float32, srcRow int) {
	for i := range genericCols {
		for j, v := range src[i*srcRow : i*srcRow+genericCols] {
			dst[j*dstRow+i] = v
		}
	}
}

const (
	genericRows = 2
	genericCols = 4
)

var genericShape = Shape{Rows: genericRows, Cols: genericCols, BlockRows: genericRows, RowStep: genericRows, Lanes: genericCols, Depth: 1024}

func mulPanelGeneric(c []float32, cRow int, a, b []float32, depth int, add bool) {
	var s tile
	for len(b) >= genericCols && len(a) >= genericRows {
		s.add(a[0], a[1], b)
		a, b = a[genericRows:], b[genericCols:]
	}
	s.store(c, cRow, add)
}

func mulBlocksGeneric(c []float32, cRow int, a []float32, aBlock int, b []float32, bBlock, blocks, depth int, add bool) {
	var s tile
	for n := range blocks {
		a, b := a[n*aBlock:][:genericCols+depth], b[n*bBlock:][:depth*genericCols]
		for t := range depth {
			s.add(a[t], a[genericCols+t], b[t*genericCols:])
		}
	}
	s.store(c, cRow, add)
}

// A tile is the sums of the generic kernels. Eight are as many as stay in the
// registers of every architecture.
type tile struct {
	s00, s01, s02, s03, s10, s11, s12, s13 float32
}

func (s *tile) add(x, y float32, b []float32) {
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

func (s *tile) store(c []float32, cRow int, add bool) {
	c0, c1 := c[:genericCols:genericCols], c[cRow:cRow+genericCols]
	if add {
		s.s00, s.s01, s.s02, s.s03 = c0[0]+s.s00, c0[1]+s.s01, c0[2]+s.s02, c0[3]+s.s03
		s.s10, s.s11, s.s12, s.s13 = c1[0]+s.s10, c1[1]+s.s11, c1[2]+s.s12, c1[3]+s.s13
	}
	c0[0], c0[1], c0[2], c0[3] = s.s00, s.s01, s.s02, s.s03
	c1[0], c1[1], c1[2], c1[3] = s.s10, s.s11, s.s12, s.s13
}
