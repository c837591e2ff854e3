package mpi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A scenario is what each rank of a job does. The tests start jobs of the test's
// own program, in which the environment variable names the scenario.
const scenarioVariable = "CONTRASTIVE_MPI_SCENARIO"

var scenarios = map[string]func(ctx context.Context, w *World) error{
	"collectives": collectives,
	"losses":      losses,
	"queue":       queue,
	"functions":   functions,
	"short":       shortMessage,
	"long":        longMessage,
	"short parts": shortParts,
	"long parts":  longParts,
	"misuse":      misuse,
	"closing":     closing,
	"late":        late,
	"stuck":       stuck,
	"stopped":     stopped,
	"killed":      killed,
	"orphaned":    orphaned,
	"storm":       storm,
}

func init() {
	for _, d := range differences {
		scenarios[d.name] = d.play
	}
}

func TestMain(m *testing.M) {
	name := os.Getenv(scenarioVariable)
	if name == "" {
		os.Exit(m.Run())
	}
	if err := play(name); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func play(name string) error {
	w, err := Init()
	if err != nil {
		return err
	}
	if want := os.Getenv("CONTRASTIVE_MPI_RANKS"); want != strconv.Itoa(w.Size()) {
		return fmt.Errorf("%d ranks, want %s", w.Size(), want)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := scenarios[name](ctx, w); err != nil {
		fmt.Fprintf(os.Stderr, "rank %d of %d: %s: %v\n", w.Rank(), w.Size(), name, err)
		w.Abort(3)
	}
	where := ""
	if os.Getenv("CONTRASTIVE_MPI_SHOW_HOST") != "" {
		if host, err := os.Hostname(); err == nil {
			where = " on " + host
		}
	}
	fmt.Printf("rank %d%s is done\n", w.Rank(), where)
	return w.Close()
}

// job runs a scenario on a number of ranks and returns what it prints.
func job(t *testing.T, ranks int, scenario string) (string, error) {
	t.Helper()
	launcher, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("needs mpirun, of Open MPI or MPICH")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	args := []string{"-np", strconv.Itoa(ranks)}
	version, err := exec.Command(launcher, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	openMPI := strings.Contains(string(version), "Open MPI")
	if openMPI {
		args = append(args, "--oversubscribe", "--allow-run-as-root")
	}
	if scenario == "orphaned" {
		if !openMPI {
			t.Skip("only Open MPI lets the others live")
		}
		args = append(args, "--enable-recovery")
	}
	cmd := exec.CommandContext(ctx, launcher, append(args, program)...)
	cmd.Env = append(os.Environ(), scenarioVariable+"="+scenario, "CONTRASTIVE_MPI_RANKS="+strconv.Itoa(ranks), meetingVariable+"="+t.TempDir())
	endTogether(cmd)
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("%s on %d ranks hangs: %s", scenario, ranks, out)
	}
	return string(out), err
}

// endTogether makes the end of cmd's context that of all processes of its group.
func endTogether(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
}

func TestJobs(t *testing.T) {
	for _, scenario := range []string{"collectives", "losses", "queue", "functions", "storm"} {
		for _, ranks := range []int{1, 2, 3, 4, 7} {
			if testing.Short() && ranks > 3 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", scenario, ranks), func(t *testing.T) {
				out, err := job(t, ranks, scenario)
				if n := strings.Count(out, "is done\n"); err != nil || n != ranks {
					t.Errorf("%v, %d ranks are done: %s", err, n, out)
				}
			})
		}
	}
}

// TestFailures checks that each rank whose call fails says so, and that the job
// ends, with an exit code that is not 0.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		scenario string
		parts    []string
	}{
		{"short", []string{"2 elements shorter than dst", errBroken.Error()}},
		{"long", []string{"truncated", errBroken.Error()}},
		{"short parts", []string{"3 elements shorter than dst", errBroken.Error()}},
		{"long parts", []string{"truncated", errBroken.Error()}},
		{"closing", []string{"rank 0 closes", "rank 1 closes", "rank 2 closes"}},
		{"misuse", []string{"for counts [1 1 1]", errBroken.Error()}},
		{"stuck", []string{"rank 0 gave up: contrastive: Sharded: rank 0 of 3: mpi: rank 0 of 3: Shift: context deadline exceeded", "rank 2 gave up"}},
		{"stopped", []string{"rank 0 gave up: contrastive: Sharded: rank 0 of 3: mpi: rank 0 of 3: Shift: context deadline exceeded", "rank 2 gave up"}},
		{"killed", []string{"rank 0 has begun", "rank 2 has begun"}},
		{"orphaned", []string{"rank 0 gave up", "rank 2 gave up"}},
	} {
		t.Run(c.scenario, func(t *testing.T) {
			out, err := job(t, 3, c.scenario)
			var exit *exec.ExitError
			careless := c.scenario == "orphaned" // the launcher, whose exit code then means nothing
			if !careless && !errors.As(err, &exit) || strings.Contains(out, "is done") {
				t.Errorf("%v: %s", err, out)
			}
			for _, part := range c.parts {
				if !strings.Contains(out, part) {
					t.Errorf("the output has no %q: %s", part, out)
				}
			}
		})
	}
}

// TestDifferences has rank 1 of three make another call than the others: all must get
// errors, long before their contexts end.
func TestDifferences(t *testing.T) {
	for _, d := range differences {
		t.Run(d.name, func(t *testing.T) {
			out, err := job(t, 3, d.name)
			if err == nil || strings.Contains(out, "is done") || strings.Contains(out, context.DeadlineExceeded.Error()) {
				t.Errorf("%v: %s", err, out)
			}
			for r := range 3 {
				want := fmt.Sprintf("rank %d gets: mpi: rank %d of 3: %s", r, r, d.others)
				if r == 1 {
					want = fmt.Sprintf("rank %d gets: mpi: rank %d of 3: %s", r, r, d.one)
				}
				if !strings.Contains(out, want) {
					t.Errorf("the output has no %q: %s", want, out)
				}
			}
		})
	}
}

// TestLate has a message arrive after its Wait has failed.
func TestLate(t *testing.T) {
	out, err := job(t, 3, "late")
	if n := strings.Count(out, "is right\n"); err == nil || n != 3 {
		t.Errorf("%v: %s", err, out)
	}
}

// TestCounts has counts that do not go with dst and src, of a rank that is in no job.
func TestCounts(t *testing.T) {
	w := &World{rank: 2, size: 3}
	for _, c := range []struct {
		dst, src int
		counts   []int
		good     bool
	}{
		{6, 3, []int{1, 2, 3}, true},
		{0, 0, []int{0, 0, 0}, true},
		{5, 3, []int{1, 2, 3}, false},
		{7, 3, []int{1, 2, 3}, false},
		{6, 2, []int{1, 2, 3}, false},
		{3, 3, []int{0, 0, 3, 0}, false},
		{3, 3, []int{0, 3}, false},
		{3, 2, []int{-1, 2, 2}, false},
		{0, 2, []int{math.MaxInt, math.MaxInt, 2}, false}, // their sum is 0
	} {
		if err := w.checkCounts(make([]float32, c.dst), make([]float32, c.src), c.counts); (err == nil) != c.good {
			t.Errorf("dst of %d and src of %d elements for %v: %v", c.dst, c.src, c.counts, err)
		}
	}
}

// TestHosts runs a job on two hosts: network namespaces with a name and shared
// memory of their own, joined by a virtual cable.
func TestHosts(t *testing.T) {
	if os.Getenv("CONTRASTIVE_MPI_HOSTS") == "" {
		t.Skip("makes network namespaces as root; needs iproute2, Open MPI and CONTRASTIVE_MPI_HOSTS=1")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("testdata/hosts")
	if err != nil {
		t.Fatal(err)
	}
	for _, scenario := range []string{"collectives", "losses"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := exec.CommandContext(ctx, script, "4", program)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), scenarioVariable+"="+scenario, "CONTRASTIVE_MPI_RANKS=4", "CONTRASTIVE_MPI_SHOW_HOST=1")
		endTogether(cmd)
		out, err := cmd.CombinedOutput()
		for r, host := range []string{"contrastive1", "contrastive1", "contrastive2", "contrastive2"} {
			if want := fmt.Sprintf("rank %d on %s is done\n", r, host); err != nil || !strings.Contains(string(out), want) {
				t.Fatalf("%s: %v, no %q: %s", scenario, err, want, out)
			}
		}
	}
}

// TestLauncher checks that a program under the launcher of another library, which
// would be many worlds of one rank, notices.
func TestLauncher(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), scenarioVariable+"=collectives", "CONTRASTIVE_MPI_RANKS=1", "PMI_SIZE=4")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "the launcher started 4 ranks (PMI_SIZE)") {
		t.Errorf("%v: %s", err, out)
	}
}
