package kernel

import "unsafe"

// MulCols stores alpha times the product of two operands that need not be packed, plus
// beta times what c holds, in c:
//
//	c[r·cRow + j] = alpha·Σ a[r/Rows·aTile + t·aStep + r%Rows] · b[t·bStep + j] + beta·c[r·cRow + j]
//
// over t < depth, for r < rows, rounded up to a multiple of RowStep, and j < Cols. If
// beta is 0, c is not read. Every element is summed in order, in float32, which has an error
// of at most depth·u·Σ|a·b|, u = 2⁻²⁴, times alpha, and one rounding more for alpha, unless it
// is 1, and for beta, unless it is 0.
func (k *Kernels) MulCols(c []float32, cRow int, a []float32, aTile, aStep int, b []float32, bStep, rows, depth int, alpha, beta float32) {
	b = b[:(depth-1)*bStep+k.Cols]
	tiles := rows / k.Rows
	whole := tiles * k.Rows
	if tiles > 0 {
		c, a := c[:(whole-1)*cRow+k.Cols], a[:(tiles-1)*aTile+(depth-1)*aStep+k.Rows]
		k.mulPanel[len(k.mulPanel)-1](&c[0], cRow, &a[0], aTile, aStep, &b[0], bStep, tiles, depth, alpha, beta)
	}
	if rows > whole {
		steps := (rows - whole + k.RowStep - 1) / k.RowStep
		height := steps * k.RowStep
		c, a := c[whole*cRow:][:(height-1)*cRow+k.Cols], a[tiles*aTile:][:(depth-1)*aStep+height]
		k.mulPanel[steps-1](&c[0], cRow, &a[0], aTile, aStep, &b[0], bStep, 1, depth, alpha, beta)
	}
}

// MulRows is MulCols for left operands by rows:
//
//	c[r·cRow + j] = alpha·Σ a[r·aRow + t] · b[t·bStep + j] + beta·c[r·cRow + j]
func (k *Kernels) MulRows(c []float32, cRow int, a []float32, aRow int, b []float32, bStep, rows, depth int, alpha, beta float32) {
	b = b[:(depth-1)*bStep+k.Cols]
	for r := 0; r < rows; r += k.BlockRows {
		steps := (min(k.BlockRows, rows-r) + k.RowStep - 1) / k.RowStep
		last := steps*k.RowStep - 1
		c, a := c[r*cRow:][:last*cRow+k.Cols], a[r*aRow:][:last*aRow+depth]
		k.mulRows[steps-1](&c[0], cRow, &a[0], aRow, &b[0], bStep, depth, alpha, beta)
	}
}

// MulBlocks is MulCols for left operands in blocks, of which it takes the first depth
// elements, a multiple of BlockStep, of each row, with an alpha of 1 and a beta of 0 or 1:
//
//	c[r·cRow + j] (+)= Σ a[n·aBlock + r·Cols + t] · b[n·bBlock + t·Cols + j]
//
// over n < blocks and t < depth.
func (k *Kernels) MulBlocks(c []float32, cRow int, a []float32, aBlock int, b []float32, bBlock int, rows, blocks, depth int, add bool) {
	b = b[:(blocks-1)*bBlock+depth*k.Cols]
	tiles := rows / k.BlockRows
	if rest := rows - tiles*k.BlockRows; rest > 0 && rest < leastRows && tiles > 0 {
		tiles--
	}
	most := tiles
	if tiles*blocks*depth > maxCallSteps {
		most = max(1, maxCallSteps/(blocks*depth))
	}
	for r := 0; r < rows; {
		n, steps, height := 1, len(k.mulBlocks), k.BlockRows
		if tiles > 0 {
			n = min(tiles, most)
			height *= n
		} else {
			left := rows - r
			if left > k.BlockRows { // by a little
				left /= 2
			}
			steps = (left + k.RowStep - 1) / k.RowStep
			height = steps * k.RowStep
		}
		c, a := c[r*cRow:][:(height-1)*cRow+k.Cols], a[r*k.Cols:][:(blocks-1)*aBlock+(height-1)*k.Cols+depth]
		if n > 1 {
			k.mulTall(&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, n, add)
		} else {
			k.mulBlocks[steps-1](&c[0], cRow, &a[0], aBlock, &b[0], bBlock, blocks, depth, add)
		}
		tiles -= n
		r += height
	}
}

// leastRows is the height of a tile below which it waits for its own sums: for 8 vectors of
// them there are always additions under way. Two tiles of like height take less time than one
// and what is left, if that is less.
const leastRows = 4

// maxCallSteps bounds the depths of the tiles of a call, during which the garbage collector
// cannot stop the goroutine: a step takes some 12 cycles at most.
const maxCallSteps = 1 << 13

// BlockStep divides Cols at every level.
const BlockStep = 4

// Transpose stores Cols×Cols elements of src, transposed, in dst:
//
//	dst[j·dstRow + i] = src[i·srcRow + j]
func (k *Kernels) Transpose(dst []float32, dstRow int, src []float32, srcRow int) {
	dst, src = dst[:(k.Cols-1)*dstRow+k.Cols], src[:(k.Cols-1)*srcRow+k.Cols]
	k.transpose(&dst[0], dstRow, &src[0], srcRow)
}

// Interleave lays out rows of n elements as row panels, one after the other:
//
//	dst[r/Rows·n·Rows + t·Rows + r%Rows] = src[r·srcRow + t]
//
// Slots of the last panel that have no row, and what follows it, are arbitrary.
func (k *Kernels) Interleave(dst, src []float32, srcRow, rows, n int) {
	past := max(0, k.Lanes-k.Rows) // what the kernel writes past the end
	for r := 0; r < rows; r += k.Rows {
		panel, src := dst[r*n:], src[r*srcRow:]
		done := 0
		if rows-r >= k.Rows {
			groups := min(n, (len(panel)-past)/k.Rows) / k.Lanes
			if groups > 0 {
				_ = src[(k.Rows-1)*srcRow+groups*k.Lanes-1]
				k.interleave(&panel[0], &src[0], srcRow, groups)
				done = groups * k.Lanes
			}
		}
		for i := range min(k.Rows, rows-r) {
			for t, v := range src[i*srcRow:][done:n] {
				panel[(done+t)*k.Rows+i] = v
			}
		}
	}
}

// PackRows is Interleave for rows that lie side by side:
//
//	dst[r/Rows·n·Rows + t·Rows + r%Rows] = src[t·srcRow + r]
func (k *Kernels) PackRows(dst, src []float32, srcRow, rows, n int) {
	packRunsOf(k.packRows, k.Rows, dst, src, srcRow, rows, n)
}

// PackCols is PackRows for column panels, of Cols vectors.
func (k *Kernels) PackCols(dst, src []float32, srcRow, cols, n int) {
	packRunsOf(k.packCols, k.Cols, dst, src, srcRow, cols, n)
}

// panelsAtOnce is how many panels take their parts of each row of src in turn: more than
// a cache line has room for, so that every line is read once. Rows may be a power of two
// apart, and the lines of different rows drive each other out of the cache.
const panelsAtOnce = 8

// packRunsOf packs n elements of vectors that lie side by side.
func packRunsOf(pack packRuns, run int, dst, src []float32, srcRow, vectors, n int) {
	whole := vectors - vectors%run
	for i := 0; n > 0 && i < whole; i += panelsAtOnce * run {
		panels := min(panelsAtOnce, (whole-i)/run)
		dst, src := dst[i*n:][:panels*run*n], src[i:][:(n-1)*srcRow+panels*run]
		pack(&dst[0], n*run, run-panels*n*run, &src[0], srcRow-panels*run, panels, n)
	}
	if rest := vectors - whole; rest > 0 {
		for t := range n {
			copy(dst[whole*n+t*run:][:rest], src[t*srcRow+whole:])
		}
	}
}

// GatherCols puts together a vector that lies among the others of a block: run i of its
// elements, Cols of them, is at src[i·step:]. Elements of dst beyond whole runs stay.
func (k *Kernels) GatherCols(dst, src []float32, step int) {
	if runs := len(dst) / k.Cols; runs > 0 {
		src = src[:(runs-1)*step+k.Cols]
		k.gatherCols(&dst[0], &src[0], step, runs)
	}
}

// A quad is what the compiler moves in one register. More at once, between places that
// may overlap, is a call, which takes longer than the loop over a run.
type quad [4]float32

// gatherRuns copies runs of the size of T, a multiple of that of a quad.
func gatherRuns[T any](dst, src *float32, step, runs int) {
	var run T
	for i := range runs {
		to, from := unsafe.Add(unsafe.Pointer(dst), uintptr(i)*unsafe.Sizeof(run)), unsafe.Add(unsafe.Pointer(src), 4*i*step)
		for at := uintptr(0); at < unsafe.Sizeof(run); at += unsafe.Sizeof(quad{}) {
			*(*quad)(unsafe.Add(to, at)) = *(*quad)(unsafe.Add(from, at))
		}
	}
}
