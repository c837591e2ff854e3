package fpmode_test

import (
	"math"
	"testing"

	"github.com/contrastive-go/contrastive/internal/fpmode"
	"github.com/contrastive-go/contrastive/internal/fpmode/fpmodetest"
)

var subnormal, one, halfStep float32 = 0x1p-140, 1, 0x1p-24

// standard reports whether the thread flushes nothing and rounds to nearest.
func standard() bool {
	half := math.Float32bits(subnormal * 0.5)
	return half == math.Float32bits(0x1p-141) && one+halfStep == 1 && -one-halfStep == -1
}

func TestEnter(t *testing.T) {
	fpmodetest.Each(t, func(t *testing.T) {
		if t.Name() != "TestEnter/trap" && standard() {
			t.Fatal("the mode of the test is the standard one")
		}
		outer := fpmode.Enter()
		inner := fpmode.Enter()
		inside := standard()
		inner.Leave()
		between := standard()
		outer.Leave()
		if !inside || !between {
			t.Errorf("standard mode is %t inside a nested pair and %t after it, want true", inside, between)
		}
	})
}

func TestAllocs(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { fpmode.Enter().Leave() }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkEnterLeave(b *testing.B) {
	for b.Loop() {
		fpmode.Enter().Leave()
	}
}
