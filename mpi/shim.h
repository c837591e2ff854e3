// What the Go side needs of MPI. Handles are macros or pointers, depending on the
// library, and stay in C.

#include <mpi.h>
#include <stdint.h>

// A transfer is non-blocking operations that end together, or with the first that
// fails. All they need is part of it.
typedef struct shim_transfer {
	struct shim_transfer *next; // of those under way
	int n;
	MPI_Request *requests;
	int *due;    // elements that an operation receives; negative for others
	int *counts; // and displacements, of shim_all_gather

	uint64_t said[4], heard[4]; // of shim_agree

	int ended, error;
	int missing; // elements, of a message that is too short
	int differs; // whether the ranks do not agree
} shim_transfer;

int shim_init(int *level);
int shim_finalize(void);
void shim_abort(int code);
int shim_rank(void);
int shim_size(void);

shim_transfer *shim_new(int room);
void shim_free(shim_transfer *t);

// shim_agree compares a call and an argument with those of all ranks. Its messages
// are apart from those of the other operations.
int shim_agree(shim_transfer *t, uint64_t call, uint64_t argument);
int shim_receive(shim_transfer *t, float *dst, int n, int from);
int shim_send(shim_transfer *t, const float *src, int n, int to);
int shim_all_gather(shim_transfer *t, float *dst, const float *src, const int *counts);
int shim_broadcast(shim_transfer *t, float *data, int n, int root);

// shim_begin adds t to the transfers under way, once it has its operations.
void shim_begin(shim_transfer *t);

// shim_serve moves the transfers under way on until one has ended, which it takes
// from them, or until somebody has called. It returns how many have ended.
int shim_serve(void);

// shim_call adds n to the number of those who call. Any thread may do so.
void shim_call(int n);
