package arm64

import "fmt"

const lanes = 4 // float32 values of a vector

// Loop emits a loop over n elements of sources: unroll vectors at a time, then
// one, then those that are left, two and one at a time. The body gets a vector of
// each source, which it may clobber, the number of lanes that hold elements, the
// others being zeros, and a number below 4 that differs between successive vectors
// of the unrolled loop and of the rest, to choose one of 4 accumulators by. What it
// returns, if dst is not nil, is stored there. The registers that it allocates are
// free after it.
func (a *Func) Loop(n R, unroll int, sources []R, dst *R, body func(i, used int, v []V) V) {
	step := func(i, used int) {
		a.Scope(func() {
			v := make([]V, len(sources))
			for j, p := range sources {
				v[j] = a.Vec()
				a.loadPart(used, p, v[j], dst == nil || *dst != p)
			}
			if r := body(i, used, v); dst != nil {
				a.storePart(used, r, *dst)
			}
		})
	}
	for _, loop := range []struct {
		label, next string
		vectors     int
	}{{"block", "vector", unroll}, {"vector", "tail", 1}} {
		if loop.label == "block" && unroll == 1 {
			continue
		}
		a.Label(loop.label)
		a.CMP(loop.vectors*lanes, n)
		a.BLO(loop.next)
		for i := range loop.vectors {
			step(i, lanes)
		}
		a.SUB(loop.vectors*lanes, n)
		a.B(loop.label)
	}
	a.Label("tail")
	for i, used := range []int{2, 1} {
		next := fmt.Sprintf("below%d", used)
		a.TBZ(used/2, n, next)
		step(i+1, used)
		a.Label(next)
	}
}

// Widened is Loop for a body in float64, whose vectors hold two elements. Unroll is
// at most 2.
func (a *Func) Widened(n R, unroll int, sources []R, dst *R, body func(i int, v []V) V) {
	a.Loop(n, unroll, sources, dst, func(i, used int, v []V) V {
		out := a.Vec()
		for half := range (used + 1) / 2 {
			a.Scope(func() {
				wide := make([]V, len(v))
				for j := range v {
					wide[j] = a.Vec()
					a.Unary([]op{fcvtl, fcvtl2}[half], v[j], wide[j])
				}
				if r := body(2*i%4+half, wide); dst != nil {
					a.Unary([]op{fcvtn, fcvtn2}[half], r, out)
				}
			})
		}
		return out
	})
}

// loadPart loads the first lanes of a vector, and zeros into the others.
func (a *Func) loadPart(used int, p R, v V, advance bool) {
	mnemonic, address := "FMOVS", fmt.Sprintf("(%v)", p)
	dst := v.F()
	switch used {
	case 4:
		mnemonic, dst = "VLD1", "["+v.as(s4)+"]"
	case 2:
		mnemonic = "FMOVD"
	}
	if advance {
		mnemonic, address = mnemonic+".P", fmt.Sprintf("%d%s", 4*used, address)
	}
	a.op(mnemonic, address, dst)
}

// storePart stores the first lanes of a vector and advances p.
func (a *Func) storePart(used int, v V, p R) {
	address := fmt.Sprintf("%d(%v)", 4*used, p)
	switch used {
	case 4:
		a.op("VST1.P", "["+v.as(s4)+"]", address)
	case 2:
		a.op("FMOVD.P", v.F(), address)
	case 1:
		a.op("FMOVS.P", v.F(), address)
	}
}

// Fill sets the lanes of v that are not used to those of other.
func (a *Func) Fill(used int, other, v V) {
	if used < 4 {
		a.MoveLane("D", 1, other, v)
	}
	if used < 2 {
		a.MoveLane("S", 1, other, v)
	}
}
