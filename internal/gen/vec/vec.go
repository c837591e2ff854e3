// Package vec holds the kernels that are the same on every architecture but for the
// instructions: vector kernels, and those of blocks of similarities. Each is written
// once over a small vocabulary, [Asm], which an architecture implements for its levels.
package vec

// What stands for registers and memory is the architecture's own.
type (
	Vector  any // a vector register
	Operand any // a Vector, the vector in memory at a Pointer, or a constant
	Pointer any // a general register, and a distance from what it points to
	Count   any // a general register
	Mask    any // those lanes of a vector in which a comparison holds
	Part    any // those lanes of a vector that hold elements of a slice
)

// Asm is the vocabulary. It writes one function at a time.
//
// Arithmetic is that of float32, but for [Asm.Float64]. Operands are in the order of
// the Go assembler, the destination last: Sub(y, x, d) sets d = x − y.
type Asm interface {
	// Begin starts a function, to whose name it adds the level's. End returns lane 0
	// of each result.
	Begin(name, signature, doc string)
	End(results ...Vector)
	Comment(format string, args ...any)

	// Slice loads the base of a slice parameter and Len its length; Pointer, Int and
	// Broadcast, which fills all lanes, load other parameters.
	Slice(name string) Pointer
	Len(name string) Count
	Pointer(name string) Pointer
	Int(name string) Count
	Broadcast(name string) Vector

	// Const returns a vector of x, in memory or in a register that is not to be written
	// to, and Splat one in a register.
	Const(x float32) Operand
	Const64(x float64) Operand // of float64
	Splat(x float64) Vector

	Vec() Vector
	Zeroed(n int) []Vector

	Move(x Operand, d Vector)
	Store(x Vector, p Pointer)

	// If an operand is NaN, Min and Max return the first, x.
	Add(y, x Operand, d Vector)
	Sub(y, x Operand, d Vector)
	Mul(y, x Operand, d Vector)
	Div(y, x Operand, d Vector)
	Min(x, y Operand, d Vector)
	Max(x, y Operand, d Vector)
	Sqrt(x Operand, d Vector)
	FMA(y, x Operand, d Vector)  // d += x·y, rounded once
	FNMA(y, x Operand, d Vector) // d −= x·y, rounded once

	// NegAbs sets d = −|x|, and IfNegative sets the lanes of d to those of y in which x
	// is negative.
	NegAbs(x, d Vector)
	IfNegative(x, y, d Vector)

	// Greater returns the lanes in which x > y, and Select sets those of d to those of y.
	Greater(x Vector, y Operand) Mask
	Select(m Mask, y Operand, d Vector)

	// Horner returns the polynomial of x with coefficients c, constant term first.
	Horner(x Vector, c []float32) Vector

	// Floor returns ⌊y⌋, of which only TimesPower knows the form, and y − ⌊y⌋.
	// TimesPower sets p, from 1 up to 2, to p·2^n, which is 0 for n < −126 unless the
	// level rounds it to a subnormal number.
	Floor(y Vector) (n any, r Vector)
	TimesPower(n any, p Vector)

	// Round rounds to integers, ties to even. TimesPowers sets p to p·2^n for integers
	// from −152 to 130, and rounds once what is subnormal. It clobbers n.
	Round(n Vector)
	TimesPowers(n, p Vector)

	// Split returns n and m, of float64, for which x is m·2^n and m from √½ up to √2. It takes
	// positive normal numbers. AddExponent sets p to p·2^n for the integer n in the lower
	// bits of t, which it clobbers, where both are normal.
	Split(x Vector) (n, m Vector)
	AddExponent(t, p Vector)

	// Those that combine lanes return the result in lane 0, and clobber x. Sum does so
	// in a balanced tree, so that the error grows with the logarithm of the number of
	// lanes: Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., §4.2.
	Sum(x []Vector) Vector
	Least(x Vector) Vector
	Greatest(x Vector) Vector

	// Loop runs body over n elements of sources, unroll vectors at a time, then one,
	// then what is left. It gets the lanes that hold elements, zeros being in the
	// others, a vector of each source, which it may clobber, and a number below 4 that
	// differs between successive vectors, to choose one of 4 accumulators by. What it
	// returns is stored in dst, if that is not nil; dst may be the last source.
	Loop(n Count, unroll int, sources []Pointer, dst Pointer, body func(i int, p Part, v []Vector) Vector)

	// Fill sets the lanes of d that are not in p to x.
	Fill(p Part, x float32, d Vector)

	// Float64 returns an Asm whose arithmetic is that of float64. Its Loop widens the
	// elements of sources, and rounds them again for dst; the one without lanes for
	// elements gets a zero there. Its unroll counts vectors of float64, of which it may
	// take twice as many.
	Float64() Asm

	// Widen returns the vector of float32 at p, as two of float64. Halves returns vectors of
	// float32 whose lanes are those two whose sum is nearest to lane 0 of x. Both are for
	// Float64.
	Widen(p Pointer) [2]Vector
	Halves(x Vector) (high, low Vector)

	// EachRow runs body in a loop over the rows of a block, of two vectors each, or of
	// matrices.
	EachRow(r Rows, body func())

	// Fork returns a pointer of its own to where p points, for a Loop to advance.
	Fork(p Pointer) Pointer

	// At returns the place of vector i from p.
	At(p Pointer, i int) Pointer

	// LoadRow and StoreRow are of two vectors. LoadCols is LoadRow of what does not
	// change in a loop: in registers where there are enough.
	LoadRow(p Pointer) [2]Vector
	StoreRow(x [2]Vector, p Pointer)
	LoadCols(p Pointer) [2]Operand

	// LoadElement fills all lanes with the row's element at p, and StoreElement stores
	// lane 0 there.
	LoadElement(p Pointer) Vector
	StoreElement(x Vector, p Pointer)

	// FillLanes sets all lanes of x to lane 0.
	FillLanes(x Vector)

	// Running returns a sum in memory at p.
	Running(p Pointer) RunningSum
}

// Rows are the rows of a block, unless it is nil, and the pointers that advance with them.
type Rows struct {
	Block    Pointer
	N        Count
	Vectors  []Pointer // one vector a row
	Elements []Pointer // one element a row
	Blocks   []Pointer // further blocks
	Strided  []Strided
}

// A Strided pointer advances by as many float32 values as a parameter says.
type Strided struct {
	Pointer Pointer
	By      string
}

// A RunningSum adds to a sum in memory either a row or products: after they are added
// up, where an instruction can take an operand from there, and before where none can.
type RunningSum interface {
	AddRow(x [2]Vector)
	AddProduct(y, x Vector)
	Store()
}
