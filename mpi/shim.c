#include <stdlib.h>
#include "shim.h"

static MPI_Comm comm;

enum { tag = 1 };

int shim_init(int *level) {
	int e = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, level);
	if (e == MPI_SUCCESS) e = MPI_Comm_dup(MPI_COMM_WORLD, &comm);
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
	return e;
}

int shim_finalize(void) {
	int e = MPI_Comm_free(&comm);
	return e == MPI_SUCCESS ? MPI_Finalize() : e;
}

void shim_abort(int code) { MPI_Abort(comm, code); }

int shim_rank(void) {
	int r = -1;
	MPI_Comm_rank(comm, &r);
	return r;
}

int shim_size(void) {
	int n = -1;
	MPI_Comm_size(comm, &n);
	return n;
}

shim_transfer *shim_new(int room) {
	shim_transfer *t = malloc(sizeof *t);
	t->n = 0;
	t->room = room;
	t->requests = malloc(room * sizeof *t->requests);
	t->statuses = malloc(room * sizeof *t->statuses);
	t->due = malloc(room * sizeof *t->due);
	return t;
}

void shim_free(shim_transfer *t) {
	free(t->requests);
	free(t->statuses);
	free(t->due);
	free(t);
}

static int add(shim_transfer *t, int e, int due) {
	if (e == MPI_SUCCESS) t->due[t->n++] = due;
	return e;
}

int shim_receive(shim_transfer *t, float *dst, int n, int from) {
	return add(t, MPI_Irecv(dst, n, MPI_FLOAT, from, tag, comm, &t->requests[t->n]), n);
}

int shim_send(shim_transfer *t, const float *src, int n, int to) {
	return add(t, MPI_Isend(src, n, MPI_FLOAT, to, tag, comm, &t->requests[t->n]), -1);
}

int shim_all_gather(shim_transfer *t, float *dst, const float *src, const int *counts, const int *displacements) {
	return add(t, MPI_Iallgatherv(src, counts[shim_rank()], MPI_FLOAT, dst, counts, displacements, MPI_FLOAT, comm, &t->requests[t->n]), -1);
}

int shim_broadcast(shim_transfer *t, float *data, int n, int root) {
	return add(t, MPI_Ibcast(data, n, MPI_FLOAT, root, comm, &t->requests[t->n]), -1);
}

// shim_test also tells, once done, how many elements did not come. MPI itself finds
// only messages that are too long.
int shim_test(shim_transfer *t, int *done, int *short_by) {
	*short_by = 0;
	int e = MPI_Testall(t->n, t->requests, done, t->statuses);
	if (e == MPI_ERR_IN_STATUS)
		for (int i = 0; i < t->n; i++)
			if (t->statuses[i].MPI_ERROR != MPI_SUCCESS && t->statuses[i].MPI_ERROR != MPI_ERR_PENDING) return t->statuses[i].MPI_ERROR;
	if (e != MPI_SUCCESS || !*done) return e;
	for (int i = 0; i < t->n; i++) {
		int got = 0;
		if (t->due[i] < 0) continue;
		if ((e = MPI_Get_count(&t->statuses[i], MPI_FLOAT, &got)) != MPI_SUCCESS) return e;
		*short_by += t->due[i] - got;
	}
	return MPI_SUCCESS;
}
