package main

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel calls f for consecutive parts of [0, n) of at most size elements, on
// all processors, and waits. Parts do not depend on the number of processors.
func parallel(n, size int, f func(lo, hi int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), (n+size-1)/size) {
		wg.Go(func() {
			for {
				hi := int(next.Add(int64(size)))
				lo := hi - size
				if lo >= n {
					return
				}
				f(lo, min(hi, n))
			}
		})
	}
	wg.Wait()
}
