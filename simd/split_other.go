//go:build purego || !amd64

package simd

func splitPays(int) bool { return false }

func splitRows(dst []uint32, piece int, src []float32, srcRow, rows, pieces int) {
	splitRowsGeneric(dst, piece, src, srcRow, rows, pieces)
}

func splitCols(dst []uint32, src []float32, srcRow, pieces int) {
	splitColsGeneric(dst, src, srcRow, pieces)
}

func mulSplit(c []float32, cRow int, a []uint32, aBlock, aPiece int, b []uint32, bBlock, rows, blocks, pieces int, add bool) {
	mulSplitGeneric(c, cRow, a, aBlock, aPiece, b, bBlock, rows, blocks, pieces, add)
}
