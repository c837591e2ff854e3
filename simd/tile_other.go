//go:build purego || (!amd64 && !arm64)

package simd

func tileShape() Shape { return genericShape }

func mulPanel(_ int, c []float32, cRow int, a, b []float32, depth int, add bool) {
	mulPanelGeneric(c, cRow, a, b, depth, add)
}

func mulBlocks(_ int, c []float32, cRow int, a []float32, aBlock int, b []float32, bBlock, blocks, depth int, add bool) {
	mulBlocksGeneric(c, cRow, a, aBlock, b, bBlock, blocks, depth, add)
}

func transpose(dst []float32, dstRow int, src []float32, srcRow int) {
	transposeGeneric(dst, dstRow, src, srcRow)
}
