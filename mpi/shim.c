#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "shim.h"

static MPI_Comm comm;
static shim_transfer *under_way;
static atomic_int callers;

enum { tag = 1 };

int shim_init(int *level) {
	int e = MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, level);
	if (e == MPI_SUCCESS) e = MPI_Comm_dup(MPI_COMM_WORLD, &comm);
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN);
	// Errors of calls that name no communicator are those of one of these.
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
	if (e == MPI_SUCCESS) e = MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
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

static void *allocate(size_t size) {
	void *p = calloc(1, size);
	if (!p) abort(); // as Go does
	return p;
}

shim_transfer *shim_new(int room) {
	shim_transfer *t = allocate(sizeof *t);
	t->requests = allocate(room * sizeof *t->requests);
	t->statuses = allocate(room * sizeof *t->statuses);
	t->due = allocate(room * sizeof *t->due);
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

// test looks whether t has ended, and how many elements did not come. MPI itself
// finds only messages that are too long.
static void test(shim_transfer *t) {
	int e = MPI_Testall(t->n, t->requests, &t->ended, t->statuses);
	if (e == MPI_ERR_IN_STATUS)
		for (int i = 0; i < t->n; i++) {
			int of = t->statuses[i].MPI_ERROR;
			if (of != MPI_SUCCESS && of != MPI_ERR_PENDING) e = of;
		}
	for (int i = 0; e == MPI_SUCCESS && t->ended && i < t->n; i++) {
		int got = 0;
		if (t->due[i] < 0) continue;
		e = MPI_Get_count(&t->statuses[i], MPI_FLOAT, &got);
		t->missing += t->due[i] - got;
	}
	t->error = e;
	if (e != MPI_SUCCESS) t->ended = 1;
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
