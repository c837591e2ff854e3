package simd

// RaceEnabled reports whether the race detector is on; its hooks allocate.
const RaceEnabled = raceEnabled

// Exp2Generic and ExpGeneric are the portable exponentials.
var (
	Exp2Generic = exp2Generic
	ExpGeneric  = expGeneric
)
