package simd_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/contrastive-go/contrastive/internal/isa/isatest"
	"github.com/contrastive-go/contrastive/simd"
)

// FuzzNormalize spreads the elements over the whole range of float32, subnormal
// numbers included.
func FuzzNormalize(f *testing.F) {
	f.Add(uint64(1), uint16(100))
	f.Add(uint64(2), uint16(1))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		x := spread(rand.New(rand.NewPCG(seed, 0)), n, 120)
		for i := range x {
			x[i] *= 0x1p-20
		}
		norm := 0.0
		for _, v := range x {
			norm += float64(v) * float64(v)
		}
		norm = math.Sqrt(norm)
		isatest.Each(t, func(t *testing.T) {
			dst := append([]float32{}, x...)
			near(t, "Normalize", len(x), float64(simd.Normalize(dst, dst)), norm, u*norm+0x1p-150)
			for i, v := range dst {
				near(t, "Normalize", len(x), float64(v), float64(x[i])/max(norm, 0x1p-149), 2*u)
			}
		})
	})
}

// A fence is a slice within a longer one, to see what is written beside it.
type fence struct {
	all, in []float32
}

const post = 0x1.abcdefp-3

func fenced(in []float32, offset int) fence {
	f := fence{all: make([]float32, len(in)+64)}
	for i := range f.all {
		f.all[i] = post
	}
	f.in = f.all[offset : offset+len(in)]
	copy(f.in, in)
	return f
}

func (f fence) check(t *testing.T, what string, offset int) {
	t.Helper()
	for i, v := range f.all {
		if (i < offset || i >= offset+len(f.in)) && v != post {
			t.Fatalf("%s of %d elements writes element %d", what, len(f.in), i-offset)
		}
	}
}

// agree fails t unless got is within bound of want, or NaN or infinite as it is.
// Where terms are too large for float32, of which size is the sum of magnitudes,
// the order in which they are added decides what overflows.
func agree(t *testing.T, what string, n int, got, want, bound, size float64) {
	t.Helper()
	switch {
	case size >= math.MaxFloat32/2:
	case want != want:
		if got == got {
			t.Fatalf("%s of %d elements is %v, want NaN", what, n, got)
		}
	default:
		near(t, what, n, got, want, bound)
	}
}

// beyond returns v for [agree] if its rounding to float32 may be infinite, and 0
// otherwise.
func beyond(v float64) float64 {
	if size := finite(v); size > math.MaxFloat32*(1-4*u) {
		return size
	}
	return 0
}

// finite returns |v|, or 0 if that is infinite or NaN.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) { // v−v may be fused with the product that v is
		return 0
	}
	return math.Abs(v)
}

// FuzzVector compares every vector kernel of every level, the portable ones among
// them, with the same in float64, on any values at any offset from a cache line.
// Bounds are those of the tests of the kernels, and half of the least positive
// float32 for each product that may underflow.
func FuzzVector(f *testing.F) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for i, values := range [][]float32{nil, {nan}, {inf}, {inf, -inf}, {0, 0x1p-149, -0x1p-140}, {math.MaxFloat32}, {0}} {
		var edits []byte
		for k, v := range values {
			edits = append(edits, edit(uint16(11*k+i), v)...)
		}
		f.Add(uint64(i), uint16(60*i+i), uint8(i), uint8(3*i), float32(0.75), float32(1.5), edits)
		f.Add(uint64(i), uint16(1500+i), uint8(7*i), uint8(2), float32(-20), float32(-3), edits)
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint16, offset, bits uint8, a, b float32, edits []byte) {
		n %= 3000
		r := rand.New(rand.NewPCG(seed, 1))
		x, y := spread(r, n, float64(bits%40)), spread(r, n, float64(bits%40))
		half := len(edits) / 12 * 6
		poke(x, edits[:half])
		poke(y, edits[half:])
		isatest.Each(t, func(t *testing.T) {
			c := vectorCase{x, y, float64(a), float64(b), int(offset % 17)}
			c.products(t)
			c.updates(t)
			c.exponentials(t)
			c.activations(t)
			c.sums(t)
		})
	})
}

// A vectorCase is the arguments of one run of FuzzVector.
type vectorCase struct {
	x, y   []float32
	a, b   float64
	offset int
}

// fences returns x and y at the offset, and y less far from it.
func (c vectorCase) fences() (x, y fence) {
	return fenced(c.x, c.offset), fenced(c.y, c.offset/2)
}

func (c vectorCase) products(t *testing.T) {
	fx, fy := c.fences()
	x, y, n := fx.in, fy.in, len(c.x)
	var dot, size, xx, yy float64
	for i := range x {
		p := float64(x[i]) * float64(y[i])
		dot += p
		size += finite(p)
		xx += float64(x[i]) * float64(x[i])
		yy += float64(y[i]) * float64(y[i])
	}
	agree(t, "Dot", n, float64(simd.Dot(x, y)), dot, (float64(n/16)+24)*u*size+float64(n)*0x1p-149, size)
	agree(t, "DotFloat64", n, simd.DotFloat64(x, y), dot, 2*(float64(n)+1)*0x1p-53*size, 0)
	norm := math.Sqrt(xx)
	if norm < math.MaxFloat32 || norm-norm != 0 {
		agree(t, "Norm", n, float64(simd.Norm(x)), norm, u*norm+0x1p-150, 0)
	}
	if product := math.Sqrt(xx) * math.Sqrt(yy); product > 0 && !math.IsInf(product, 1) {
		cos := dot / math.Sqrt(xx) / math.Sqrt(yy)
		agree(t, "Cosine", n, float64(simd.Cosine(x, y)), cos, u*math.Abs(cos)+4*(float64(n)+2)*0x1p-53, 0)
	}
}

func (c vectorCase) updates(t *testing.T) {
	fx, fy := c.fences()
	x, y, n := fx.in, fy.in, len(c.x)
	simd.Axpy(float32(c.a), x, y)
	for i, v := range y {
		p, before := c.a*float64(x[i]), float64(c.y[i])
		agree(t, "Axpy", n, float64(v), before+p, 2*u*(math.Abs(p)+math.Abs(before))+0x1p-149, beyond(before+p))
	}
	fy.check(t, "Axpy", c.offset/2)

	fx, fy = c.fences()
	x, y = fx.in, fy.in
	simd.Lerp(y, x, float32(c.a))
	for i, v := range y {
		d, s := float64(c.y[i]), float64(x[i])
		size := (finite(d)+finite(s))*max(1, finite(c.a)) + finite(d)
		want := d + c.a*(s-d)
		agree(t, "Lerp", n, float64(v), want, 3*u*size+0x1p-147*max(1, finite(c.a)), beyond(want))
	}
	fy.check(t, "Lerp", c.offset/2)

	fx, fy = c.fences()
	x, y = fx.in, fy.in
	simd.ScaleTo(y, x, c.a)
	for i, v := range y {
		if want := float32(float64(x[i]) * c.a); v != want && (v == v || want == want) {
			t.Fatalf("ScaleTo: element %d of %d is %v, want %v", i, n, v, want)
		}
	}
	fy.check(t, "ScaleTo", c.offset/2)

	fx, fy = c.fences()
	x = fx.in
	dst := fenced(make([]float32, n), c.offset)
	simd.Project(dst.in, fy.in, x, c.b, c.a)
	for i, v := range dst.in {
		g, along := float64(fy.in[i]), c.b*float64(x[i])
		if (g-along)*c.a-(g-along)*c.a != 0 {
			continue // infinities are not finite gradients
		}
		want := max(-math.MaxFloat32, min(math.MaxFloat32, (g-along)*c.a))
		bound := u*math.Abs(want) + 0x1p-51*(math.Abs(g)+math.Abs(along))*math.Abs(c.a) + 0x1p-149
		agree(t, "Project", n, float64(v), want, bound, 0)
	}
	dst.check(t, "Project", c.offset)
	if !same(x, c.x) || !same(fy.in, c.y) {
		t.Fatalf("a source of %d elements is overwritten", n)
	}
}

func (c vectorCase) exponentials(t *testing.T) {
	fx, _ := c.fences()
	x, n := fx.in, len(c.x)
	dst := fenced(make([]float32, n), c.offset/2)
	sum := float64(simd.ExpSum(dst.in, x, float32(c.a), float32(c.b)))
	dst.check(t, "ExpSum", c.offset/2)
	total, bound, precise := 0.0, 0.0, true
	top, size := math.Inf(-1), 0.0
	for i, v := range x {
		p := c.a * float64(v)
		top, size = math.Max(top, p), math.Max(size, math.Abs(p))
		// The rounding of the product, of the difference, and of the exponential.
		err := (2*finite(p) + math.Abs(c.b) + 4) * u
		e := math.Exp(p - c.b)
		if err > 0.1 || finite(p) > math.MaxFloat32/2 || e > 0x1p127 && e < 0x1p129 {
			precise = false // or near overflow
			continue
		}
		if e >= 0x1p129 {
			e = math.Inf(1)
		}
		b := e*math.Expm1(err) + 0x1p-126 // or flushed to 0
		agree(t, "ExpSum", n, float64(dst.in[i]), e, b, 0)
		total, bound = total+e, bound+b
	}
	if precise {
		bound += (float64(min(n, 1024)/8) + 12) * u * total
		agree(t, "the sum of ExpSum", n, sum, total, bound, finite(total))
		agree(t, "ExpSum without dst", n, float64(simd.ExpSum(nil, x, float32(c.a), float32(c.b))), total, bound, finite(total))
	}
	if top-top == 0 && size < math.MaxFloat32/2 {
		lse := 0.0
		for _, v := range x {
			lse += math.Exp(c.a*float64(v) - top)
		}
		lse = top + math.Log(lse)
		near(t, "LogSumExp", n, float64(simd.LogSumExp(x, float32(c.a))), lse, logSumExpBound(n, size, lse)+0x1p-126)
	} else if top != top {
		agree(t, "LogSumExp", n, float64(simd.LogSumExp(x, float32(c.a))), top, 0, 0)
	}
}

func (c vectorCase) activations(t *testing.T) {
	fx, fg := c.fences()
	x, grad, n := fx.in, fg.in, len(c.x)
	y, dx := fenced(make([]float32, n), c.offset/2), fenced(make([]float32, n), c.offset)
	simd.GELU(y.in, x)
	simd.GELUGrad(dx.in, grad, x)
	for i, v := range x {
		x, g := float64(v), float64(grad[i])
		if math.IsInf(x, 0) {
			continue // a limit
		}
		// Beyond ±12 the results are those at ±∞.
		a, sigma, slope := geluParts(max(-12, min(x, 12)))
		size := (8*math.Abs(a) + 8) * u * math.Abs(x*sigma)
		if x < -12 {
			size = 0 // x·σ is 0
			sigma = 0
		}
		agree(t, "GELU", n, float64(y.in[i]), x*sigma, max(size, 0x1p-120), 0)
		if math.IsInf(g, 0) {
			continue // times a slope that may be 0
		}
		term := max(-12, min(x, 12)) * sigma * (1 - sigma) * slope
		want := g * (sigma + term)
		bound := max((24*math.Abs(a)+34)*u*math.Abs(g)*(sigma+math.Abs(term)), 0x1p-120*math.Abs(g)) + 0x1p-148
		agree(t, "GELUGrad", n, float64(dx.in[i]), want, bound, beyond(want))
	}
	y.check(t, "GELU", c.offset/2)
	dx.check(t, "GELUGrad", c.offset)
	if !same(x, c.x) || !same(grad, c.y) {
		t.Fatalf("a source of %d elements is overwritten", n)
	}
}

func (c vectorCase) sums(t *testing.T) {
	fx, fy := c.fences()
	x, y, n := fx.in, fy.in, len(c.x)
	simd.AddSquare(y, x)
	for i, v := range y {
		d, square := float64(c.y[i]), float64(x[i])*float64(x[i])
		if math.IsInf(d+square, 0) {
			continue // infinities are no sums of squares
		}
		want := max(-math.MaxFloat32, min(d+square, math.MaxFloat32))
		agree(t, "AddSquare", n, float64(v), want, 2*u*(math.Abs(d)+square)+0x1p-148, 0)
	}
	fy.check(t, "AddSquare", c.offset/2)

	rows := 1 + c.offset%7
	stride := n / rows
	cols := stride - min(stride, c.offset%3)
	a := make([]float32, rows)
	for i := range a {
		a[i] = float32([...]float64{c.a, c.b, -c.a}[i%3])
	}
	to := fenced(c.y[:cols], c.offset)
	simd.AxpyRows(a, x[:rows*stride], stride, to.in)
	for j, v := range to.in {
		want := float64(c.y[j])
		size := finite(want)
		for i, f := range a {
			p := float64(f) * float64(x[i*stride+j])
			want += p
			size += finite(p)
		}
		agree(t, "AxpyRows", cols, float64(v), want, float64(rows+1)*(u*size+0x1p-149), size)
	}
	to.check(t, "AxpyRows", c.offset)
	if !same(x, c.x) {
		t.Fatalf("a source of %d elements is overwritten", n)
	}
}
