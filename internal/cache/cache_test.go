package cache

import "testing"

func TestWithin(t *testing.T) {
	for _, c := range []struct{ size, want int }{
		{-1, 256 << 10}, {0, 256 << 10}, {512 << 10, 512 << 10}, {1 << 30, 4 << 20},
	} {
		if got := within(c.size, 256<<10, 4<<20); got != c.want {
			t.Errorf("within(%d) = %d, want %d", c.size, got, c.want)
		}
	}
}
