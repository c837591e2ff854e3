package vec

import "math"

// MatrixRows writes the kernels of many rows of a matrix.
func MatrixRows(a Asm) {
	dots(a)
	squares(a)
	spreadRows(a)
	sumLanes(a)
	greatestLanes(a)
	addRows(a)
	projectRows(a)
}

func dots(a Asm) {
	a.Begin("Dots", "func(dst *float64, x *float32, xRow int, y *float32, yRow, rows, dim int)",
		"sets dst[r] = Σ x[r·xRow + i]·y[r·yRow + i] over i < dim, computed in float64.")
	a = a.Float64()
	dst, x, y, rows := a.Pointer("dst"), a.Pointer("x"), a.Pointer("y"), a.Int("rows")
	a.EachRow(Rows{N: rows, Elements: []Pointer{dst}, Strided: []Strided{{x, "xRow"}, {y, "yRow"}}}, func() {
		a.StoreElement(dotRow(a, x, y), dst)
	})
	a.End()
}

// dotRow returns the dot product of two rows of dim elements, as DotFloat64 computes it.
func dotRow(a Asm, x, y Pointer) Vector {
	acc := a.Zeroed(unroll)
	a.Comment("acc[i mod %d] += x·y", unroll)
	a.Loop(a.Int("dim"), unroll, []Pointer{a.Fork(x), a.Fork(y)}, nil, func(i int, _ Part, v []Vector) Vector {
		a.FMA(v[0], v[1], acc[i])
		return nil
	})
	return a.Sum(acc)
}

func squares(a Asm) {
	a.Begin("Squares", "func(dst *float64, x *float32, xRow, rows, dim int)", "is Dots of rows with themselves.")
	a = a.Float64()
	dst, x, rows := a.Pointer("dst"), a.Pointer("x"), a.Int("rows")
	a.EachRow(Rows{N: rows, Elements: []Pointer{dst}, Strided: []Strided{{x, "xRow"}}}, func() {
		acc := a.Zeroed(unroll)
		a.Comment("acc[i mod %d] += x²", unroll)
		a.Loop(a.Int("dim"), unroll, []Pointer{a.Fork(x)}, nil, func(i int, _ Part, v []Vector) Vector {
			a.FMA(v[0], v[0], acc[i])
			return nil
		})
		a.StoreElement(a.Sum(acc), dst)
	})
	a.End()
}

func spreadRows(a Asm) {
	a.Begin("SpreadRows", "func(dst *float32, step int, src *float32, srcRow int, f *float64, rows, runs int)",
		"lays out rows in runs of two vectors, step apart, those of one place side by side: element i of row r is f[r]·src[r·srcRow + i]. Of f[r], which is at least 2⁻¹⁰⁰, 48 bits count.")
	wide := a.Float64()
	dst, src, f, rows := a.Pointer("dst"), a.Pointer("src"), a.Pointer("f"), a.Int("rows")
	wide.EachRow(Rows{Block: dst, N: rows, Elements: []Pointer{f}, Strided: []Strided{{src, "srcRow"}}}, func() {
		high, low := wide.Halves(wide.LoadElement(f))
		from, to := a.Fork(src), a.Fork(dst)
		a.Comment("dst = high·src + low·src")
		a.EachRow(Rows{Block: from, N: a.Int("runs"), Strided: []Strided{{to, "step"}}}, func() {
			x := a.LoadRow(from)
			var y [2]Vector
			for i := range x {
				y[i] = a.Vec()
				a.Mul(low, x[i], y[i])
				a.FMA(high, x[i], y[i])
			}
			a.StoreRow(y, to)
		})
	})
	a.End()
}

func sumLanes(a Asm) {
	a.Begin("SumLanes", "func(dst *float64, src *float32, step, rows int)", "adds the sum of the lanes of a vector at src[r·step] to dst[r], computed in float64.")
	a = a.Float64()
	dst, src, rows := a.Pointer("dst"), a.Pointer("src"), a.Int("rows")
	was := a.Fork(dst)
	a.EachRow(Rows{N: rows, Elements: []Pointer{dst, was}, Strided: []Strided{{src, "step"}}}, func() {
		lanes := a.Widen(src)
		sum := a.Sum(lanes[:])
		a.Add(a.LoadElement(was), sum, sum)
		a.StoreElement(sum, dst)
	})
	a.End()
}

func greatestLanes(a Asm) {
	a.Begin("GreatestLanes", "func(dst, src *float32, rows int)", "sets dst[r] to the greatest lane of vector r of src.")
	dst, src, rows := a.Pointer("dst"), a.Pointer("src"), a.Int("rows")
	a.EachRow(Rows{N: rows, Vectors: []Pointer{src}, Elements: []Pointer{dst}}, func() {
		v := a.Vec()
		a.Move(src, v)
		a.StoreElement(a.Greatest(v), dst)
	})
	a.End()
}

func addRows(a Asm) {
	a.Begin("AddRows", "func(dst *float32, dstRow int, src *float32, srcRow int, f *float32, rows, dim int)",
		"sets dst[r·dstRow + i] += f[r]·src[r·srcRow + i] over i < dim.")
	dst, src, f, rows := a.Pointer("dst"), a.Pointer("src"), a.Pointer("f"), a.Int("rows")
	a.EachRow(Rows{N: rows, Elements: []Pointer{f}, Strided: []Strided{{dst, "dstRow"}, {src, "srcRow"}}}, func() {
		factor, to := a.LoadElement(f), a.Fork(dst)
		a.Comment("dst += f·src")
		a.Loop(a.Int("dim"), unroll, []Pointer{a.Fork(src), to}, to, func(_ int, _ Part, v []Vector) Vector {
			a.FMA(factor, v[0], v[1])
			return v[1]
		})
	})
	a.End()
}

func projectRows(a Asm) {
	a.Begin("ProjectRows", "func(dst *float32, dstRow int, grad *float32, gradRow int, x *float32, xRow int, unit, f *float32, rows, dim int)",
		"sets row r of dst to (g − (g·y)y)·f[r], for row g of grad and y = unit[r]·x, saturated.")
	dst, g, x := a.Pointer("dst"), a.Pointer("grad"), a.Pointer("x")
	unit, f, rows := a.Pointer("unit"), a.Pointer("f"), a.Int("rows")
	a.EachRow(Rows{N: rows, Elements: []Pointer{unit, f}, Strided: []Strided{{dst, "dstRow"}, {g, "gradRow"}, {x, "xRow"}}}, func() {
		scale := a.LoadElement(unit)
		acc := a.Zeroed(unroll)
		a.Comment("acc[i mod %d] += g·y", unroll)
		a.Loop(a.Int("dim"), unroll, []Pointer{a.Fork(g), a.Fork(x)}, nil, func(i int, _ Part, v []Vector) Vector {
			a.Mul(scale, v[1], v[1])
			a.FMA(v[0], v[1], acc[i])
			return nil
		})
		along := a.Sum(acc)
		a.FillLanes(along)
		projectLoop(a, a.Int("dim"), a.Fork(g), a.Fork(x), a.Fork(dst), scale, along, a.LoadElement(f), float32Limits(a))
	})
	a.End()
}

// float32Limits returns the least and the greatest float32.
func float32Limits(a Asm) [2]Vector {
	greatest, least := a.Splat(math.MaxFloat32), a.Splat(-math.MaxFloat32)
	return [2]Vector{least, greatest}
}

// projectLoop sets dst = (g − along·scale·x)·f, within the limits. A scale that is nil is 1.
func projectLoop(a Asm, n Count, g, x, dst Pointer, scale, along, f Vector, limits [2]Vector) {
	a.Comment("dst = max(min((g − along·x)·f, greatest), −greatest)")
	a.Loop(n, 2, []Pointer{g, x}, dst, func(_ int, _ Part, v []Vector) Vector {
		if scale != nil {
			a.Mul(scale, v[1], v[1])
		}
		a.FNMA(along, v[1], v[0])
		a.Mul(f, v[0], v[0])
		a.Min(v[0], limits[1], v[0])
		a.Max(v[0], limits[0], v[0])
		return v[0]
	})
}
