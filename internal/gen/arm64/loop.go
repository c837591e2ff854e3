package arm64

import (
	"fmt"

	"github.com/contrastive-go/contrastive/internal/gen/vec"
)

func (a Asm) Loop(n vec.Count, unroll int, sources []vec.Pointer, dst vec.Pointer, body func(i int, p vec.Part, v []vec.Vector) vec.Vector) {
	if a.double {
		a.Kernel.asm().Loop(n, min(unroll, 2), sources, dst, a.widened(len(sources), dst != nil, body))
		return
	}
	left, number := n.(R), a.again("loop")
	step := func(i, used int) {
		v := make([]vec.Vector, len(sources))
		for j, p := range sources {
			r := a.Kernel.Vec()
			a.loadPart(used, p.(place).p, r, dst != p)
			v[j] = r
		}
		if r := body(i, used, v); dst != nil {
			a.storePart(used, r.(V), dst.(place).p)
		}
	}
	for _, loop := range []struct {
		label, next string
		vectors     int
	}{{"block", "vector", unroll}, {"vector", "tail", 1}} {
		if loop.label == "block" && unroll == 1 {
			continue
		}
		a.Label(loop.label + number)
		a.CMP(loop.vectors*a.Lanes, left)
		a.BLO(loop.next + number)
		for i := range loop.vectors {
			step(i, a.Lanes)
		}
		a.SUB(loop.vectors*a.Lanes, left)
		a.B(loop.label + number)
	}
	a.Label("tail" + number)
	for i, used := range []int{2, 1} {
		next := fmt.Sprintf("below%d%s", used, number)
		a.TBZ(used/2, left, next)
		step(i+1, used)
		a.Label(next)
	}
}

func (k Kernel) asm() Asm { return Asm{Kernel: k} }

// widened returns a body for float32 that runs one for float64 on both halves of the
// vectors.
func (a Asm) widened(sources int, store bool, body func(i int, p vec.Part, v []vec.Vector) vec.Vector) func(i int, p vec.Part, v []vec.Vector) vec.Vector {
	return func(i int, p vec.Part, v []vec.Vector) vec.Vector {
		out := a.Kernel.Vec()
		for half := range (p.(int) + 1) / 2 {
			wide := make([]vec.Vector, sources)
			for j := range v {
				w := a.Kernel.Vec()
				a.Unary([]op{fcvtl, fcvtl2}[half], v[j].(V), w)
				wide[j] = w
			}
			if r := body(2*i%4+half, nil, wide); store {
				a.Unary([]op{fcvtn, fcvtn2}[half], r.(V), out)
			}
		}
		return out
	}
}

// loadPart loads the first lanes of a vector, and zeros into the others.
func (k Kernel) loadPart(used int, p R, v V, advance bool) {
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
	k.op(mnemonic, address, dst)
}

// storePart stores the first lanes of a vector and advances p.
func (k Kernel) storePart(used int, v V, p R) {
	address := fmt.Sprintf("%d(%v)", 4*used, p)
	switch used {
	case 4:
		k.op("VST1.P", "["+v.as(s4)+"]", address)
	case 2:
		k.op("FMOVD.P", v.F(), address)
	case 1:
		k.op("FMOVS.P", v.F(), address)
	}
}

func (a Asm) Fill(p vec.Part, x float32, d vec.Vector) {
	if used := p.(int); used < a.Lanes {
		other := a.register(a.Const(x))
		a.MoveLane("D", 1, other, d.(V))
		if used < 2 {
			a.MoveLane("S", 1, other, d.(V))
		}
	}
}
