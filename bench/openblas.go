//go:build openblas

package bench

// #cgo LDFLAGS: -lopenblas
import "C"

import (
	"gonum.org/v1/gonum/blas/blas32"
	"gonum.org/v1/netlib/blas/netlib"
)

func init() {
	sgemm = netlib.Implementation{}
	Peers = append(Peers, Peer{"openblas", func(q, k, dq, dk blas32.General, tau float64) float64 {
		blas32.Use(netlib.Implementation{})
		defer blas32.Use(gonumBLAS)
		return products(q, k, dq, dk, tau)
	}})
}
