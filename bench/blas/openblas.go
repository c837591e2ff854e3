//go:build openblas

package main

/*
#cgo LDFLAGS: -lopenblas
#include <cblas.h>
*/
import "C"

import "fmt"

func init() {
	peers = append(peers, peer{"OpenBLAS", sgemm(openBLAS)})
	fmt.Printf("%s, kernels for %s\n", C.GoString(C.openblas_get_config()), C.GoString(C.openblas_get_corename()))
}

func openBLAS(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	if threads := C.int(*threads); C.openblas_get_num_threads() != threads {
		C.openblas_set_num_threads(threads)
	}
	op := func(trans bool) C.enum_CBLAS_TRANSPOSE {
		if trans {
			return C.CblasTrans
		}
		return C.CblasNoTrans
	}
	C.cblas_sgemm(C.CblasRowMajor, op(transA), op(transB), C.int(m), C.int(n), C.int(k),
		C.float(alpha), (*C.float)(&a[0]), C.int(lda), (*C.float)(&b[0]), C.int(ldb), C.float(beta), (*C.float)(&c[0]), C.int(ldc))
}
