#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "shim.h"

static MPI_Comm comm, agreements;
static shim_transfer *under_way;
static atomic_int callers;

enum { tag = 1 };

// Values of due.
enum { sends = -1, agrees = -2 };

int shim_init(int *level) {
	int e = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, level);
	if (e == MPI_SUCCESS) e = MPI_Comm_dup(MPI_COMM_WORLD, &comm);
	if (e == MPI_SUCCESS) e = MPI_Comm_dup(MPI_COMM_WORLD, &agreements);
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(agreements, MPI_ERRORS_RETURN);
	// Errors of calls that name no communicator are those of one of these.
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
	return e;
}

int shim_finalize(void) {
	int e = MPI_Comm_free(&comm);
	if (e == MPI_SUCCESS) e = MPI_Comm_free(&agreements);
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

static void *allocate(size_t size) {
	void *p = calloc(1, size);
	if (!p) abort(); // as Go does
	return p;
}

shim_transfer *shim_new(int room) {
	shim_transfer *t = allocate(sizeof *t);
	t->requests = allocate(room * sizeof *t->requests);
	t->due = allocate(room * sizeof *t->due);
	return t;
}

void shim_free(shim_transfer *t) {
	free(t->requests);
	free(t->due);
	free(t->counts);
	free(t);
}

static int add(shim_transfer *t, int e, int due) {
	if (e == MPI_SUCCESS) t->due[t->n++] = due;
	return e;
}

// The greatest of a value and of its complement tell whether all have the same.
int shim_agree(shim_transfer *t, uint64_t call, uint64_t argument) {
	t->said[0] = call;
	t->said[1] = ~call;
	t->said[2] = argument;
	t->said[3] = ~argument;
	return add(t, MPI_Iallreduce(t->said, t->heard, 4, MPI_UINT64_T, MPI_MAX, agreements, &t->requests[t->n]), agrees);
}

int shim_receive(shim_transfer *t, float *dst, int n, int from) {
	return add(t, MPI_Irecv(dst, n, MPI_FLOAT, from, tag, comm, &t->requests[t->n]), n);
}

int shim_send(shim_transfer *t, const float *src, int n, int to) {
	return add(t, MPI_Isend(src, n, MPI_FLOAT, to, tag, comm, &t->requests[t->n]), sends);
}

int shim_all_gather(shim_transfer *t, float *dst, const float *src, const int *counts) {
	int size = shim_size();
	int *displacements = allocate(2 * size * sizeof *displacements), *own = displacements + size;
	t->counts = displacements;
	memcpy(own, counts, size * sizeof *own);
	for (int r = 1; r < size; r++) displacements[r] = displacements[r - 1] + own[r - 1];
	return add(t, MPI_Iallgatherv(src, own[shim_rank()], MPI_FLOAT, dst, own, displacements, MPI_FLOAT, comm, &t->requests[t->n]), sends);
}

int shim_broadcast(shim_transfer *t, float *data, int n, int root) {
	return add(t, MPI_Ibcast(data, n, MPI_FLOAT, root, comm, &t->requests[t->n]), sends);
}

// finish learns from the status of operation i. MPI itself finds only messages that
// are too long.
static int finish(shim_transfer *t, int i, const MPI_Status *status) {
	if (t->due[i] == agrees) t->differs = memcmp(t->said, t->heard, sizeof t->said) != 0;
	if (t->due[i] < 0) return MPI_SUCCESS;
	int got = 0;
	int e = MPI_Get_count(status, MPI_FLOAT, &got);
	t->missing = t->due[i] - got;
	return e;
}

// test looks whether t has ended. What failed ends it at once: the other operations
// may never end.
static void test(shim_transfer *t) {
	int open = 0;
	for (int i = 0; i < t->n; i++) {
		if (t->requests[i] == MPI_REQUEST_NULL) continue;
		int done = 0;
		MPI_Status status;
		int e = MPI_Test(&t->requests[i], &done, &status);
		if (e == MPI_SUCCESS && done) e = finish(t, i, &status);
		if (e != MPI_SUCCESS || t->differs || t->missing) {
			t->error = e;
			t->ended = 1;
			return;
		}
		open += !done;
	}
	t->ended = !open;
}

void shim_begin(shim_transfer *t) {
	t->next = under_way;
	under_way = t;
}

void shim_call(int n) { atomic_fetch_add(&callers, n); }

// rest lets other threads run: the first times at once again, then for pauses that
// grow to about 100 µs.
static void rest(int times) {
	enum { eager = 32, doublings = 7 };
	if (times < eager) {
		sched_yield();
		return;
	}
	times -= eager;
	struct timespec pause = {0, 1000l << (times < doublings ? times : doublings)};
	nanosleep(&pause, NULL);
}

int shim_serve(void) {
	for (int times = 0;; times++) {
		int ended = 0;
		for (shim_transfer **at = &under_way; *at;) {
			test(*at);
			if ((*at)->ended) {
				*at = (*at)->next;
				ended++;
			} else {
				at = &(*at)->next;
			}
		}
		if (ended || atomic_load(&callers)) return ended;
		rest(times);
	}
}
