// What the Go side needs of MPI. Handles are macros or pointers, depending on the
// library, and stay in C.

#include <mpi.h>

// A transfer is non-blocking operations that end together. Of those that receive,
// it knows how many elements are due.
typedef struct {
	int n, room;
	MPI_Request *requests;
	MPI_Status *statuses;
	int *due; // -1 for those that do not receive
} shim_transfer;

int shim_init(int *level);
int shim_finalize(void);
void shim_abort(int code);
int shim_rank(void);
int shim_size(void);

shim_transfer *shim_new(int room);
void shim_free(shim_transfer *t);
int shim_receive(shim_transfer *t, float *dst, int n, int from);
int shim_send(shim_transfer *t, const float *src, int n, int to);
int shim_all_gather(shim_transfer *t, float *dst, const float *src, const int *counts, const int *displacements);
int shim_broadcast(shim_transfer *t, float *data, int n, int root);
int shim_test(shim_transfer *t, int *done, int *short_by);
