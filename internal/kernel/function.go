package kernel

// A Group is numbers of some anchors.
type Group [64]float64

// groupStep is a multiple of the float64 values of a vector at every level.
const groupStep = 8

// Exp, Log and Log1p replace the first n numbers of a group. What they leave in the others
// is arbitrary. Errors are relative, in units of u = 2⁻⁵³.

// Exp replaces each x, from −708 up to 709, by e^x, within 4·u.
func (k *Kernels) Exp(x *Group, n int) { replace(k.exp, x, n) }

// Log replaces each x, which is positive and normal, by log x, within 6·u.
func (k *Kernels) Log(x *Group, n int) { replace(k.log, x, n) }

// Log1p replaces each x, from 0 up to 1, by log(1 + x), within 5·u.
func (k *Kernels) Log1p(x *Group, n int) { replace(k.log1p, x, n) }

// A function replaces n numbers, a multiple of groupStep.
type function = func(x *float64, n int)

func replace(f function, x *Group, n int) {
	if n > 0 {
		numbers := x[:(n+groupStep-1)/groupStep*groupStep]
		f(&numbers[0], len(numbers))
	}
}

// byVectors returns a function of a kernel for vectors of a level.
func byVectors(s Shape, f func(x *float64, vectors int)) function {
	return func(x *float64, n int) { f(x, n/(s.Lanes/2)) }
}
