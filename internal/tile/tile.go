// Package tile holds what the generated kernels and package kernel agree on about the
// operands of matrix products.
package tile

// A Shape is the size of the register tile of the matrix products of a level: Rows
// broadcast values by Cols lanes.
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
	RowStep    int // products compute a multiple of RowStep rows; it divides Rows, BlockRows and Cols
	Lanes      int // accumulators for each row in the kernels that work on blocks
	Depth      int // greatest depth at which a column panel stays in the first-level cache
}

// With two vectors a row, Rows is as many as leave registers for the operands: sums take
// 24 of 32 with AVX-512 and NEON, 12 of 16 with AVX2. Left operands in blocks take more
// of NEON, where each row fills its own: 16 sums still cover the latency of the
// multipliers of every core so far (4 cycles, 4 a cycle). A column panel of Depth takes
// 16 KiB.
var (
	NEON   = Shape{Rows: 12, Cols: 8, BlockRows: 8, RowStep: 4, Lanes: 4, Depth: 512}
	AVX2   = Shape{Rows: 6, Cols: 16, BlockRows: 6, RowStep: 2, Lanes: 8, Depth: 256}
	AVX512 = Shape{Rows: 12, Cols: 32, BlockRows: 12, RowStep: 4, Lanes: 16, Depth: 128}
)

// Heights are the numbers of rows of the tiles up to rows, the tallest first.
func (s Shape) Heights(rows int) []int {
	var h []int
	for ; rows > 0; rows -= s.RowStep {
		h = append(h, rows)
	}
	return h
}

// MaxPieces is the number of bfloat16 values, of 8 bits each, that hold a float32.
const MaxPieces = 3

// Products are the pieces of the two operands that are multiplied, by the number of
// pieces. Those that are left out are less than 3·2⁻⁸ⁿ of the product, for n pieces. One
// of the two operands stays the same from each to the next.
var Products = [MaxPieces + 1][][2]int{
	1: {{0, 0}},
	2: {{1, 0}, {0, 0}, {0, 1}},
	3: {{2, 0}, {0, 0}, {0, 2}, {0, 1}, {1, 1}, {1, 0}},
}
