package contrastive_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/internal/losstest"
)

// savedQueue returns the queue that the test saves and the child saves in turns:
// about half a MiB of keys that all depend on which.
func savedQueue(t testing.TB, which uint64) *contrastive.Queue {
	return losstest.NewQueue(t, 1000, losstest.Normal(rand.New(rand.NewPCG(61, which)), 1000, 128))
}

// childFile names, in the environment of a child process, the file to save to.
const childFile = "CONTRASTIVE_TEST_SAVE"

// TestSaveChild is the child of TestSaveKilled.
func TestSaveChild(t *testing.T) {
	path := os.Getenv(childFile)
	if path == "" {
		t.Skip("is run by TestSaveKilled")
	}
	queues := [...]*contrastive.Queue{savedQueue(t, 0), savedQueue(t, 1)}
	for i := 0; ; i++ {
		if err := queues[i%2].Save(path); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			fmt.Println("saved")
		}
	}
}

// TestSaveKilled kills a process that saves without a pause, at random moments.
// What it leaves must be one of its queues, whole.
func TestSaveKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes, which emulators cannot")
	}
	program, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "queue")
	want := [...]*contrastive.Queue{savedQueue(t, 0), savedQueue(t, 1)}
	leftovers := 0
	for range 40 {
		child := exec.Command(program, "-test.run=^TestSaveChild$", "-test.timeout=1m")
		child.Env = append(os.Environ(), childFile+"="+path)
		output, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Skip(err)
		}
		ready := make([]byte, len("saved"))
		if _, err := io.ReadFull(output, ready); err != nil || string(ready) != "saved" {
			t.Fatalf("the child says %q, %v", ready, err)
		}
		time.Sleep(rand.N(5 * time.Millisecond))
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		child.Wait() // reports the kill
		got, err := contrastive.LoadQueue(path)
		if err != nil {
			t.Fatal(err)
		}
		if !losstest.SameBits(got.Keys(), want[0].Keys()) && !losstest.SameBits(got.Keys(), want[1].Keys()) {
			t.Fatal("the file is neither queue")
		}
		// What an interrupted call leaves must not disturb the next child.
		names, err := filepath.Glob(path + ".*.tmp")
		if err != nil {
			t.Fatal(err)
		}
		leftovers = len(names)
	}
	if leftovers == 0 {
		t.Error("no call of Save was interrupted")
	}
}

// TestSaveFull saves where files must not grow beyond 8 blocks.
func TestSaveFull(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes, which emulators cannot")
	}
	program, err := os.Executable()
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "queue")
	old, _ := written(t, 4, 4, false)
	if err := old.Save(path); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sh", "-c", "ulimit -f 8 && exec \"$0\" -test.run='^TestSaveChild$'", program)
	child.Env = append(os.Environ(), childFile+"="+path)
	output, err := child.CombinedOutput()
	if err == nil || !strings.Contains(string(output), "TestSaveChild") {
		t.Skip(err) // no shell, or no such limit
	}
	if !strings.Contains(string(output), "Queue.Save: write") {
		t.Errorf("the child says %q", output)
	}
	if got, err := contrastive.LoadQueue(path); err != nil || !losstest.SameBits(got.Keys(), old.Keys()) {
		t.Errorf("the file has changed: %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("Save leaves %v, %v", entries, err)
	}
}

func TestSave(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "queue")
	q, _ := written(t, 4, 5, true)
	for range 2 { // a new file, and one to replace
		if err := q.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	got, err := contrastive.LoadQueue(path)
	if err != nil || !losstest.SameBits(got.Keys(), q.Keys()) {
		t.Fatalf("%v, %v", got, err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("Save leaves %v, %v", entries, err)
	}

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damaged := range map[string][]byte{"short": data[:len(data)-1], "empty": nil, "long": append(data[:len(data):len(data)], 0)} {
		damagedPath := filepath.Join(dir, name)
		if err := os.WriteFile(damagedPath, damaged, 0o666); err != nil {
			t.Fatal(err)
		}
		if q, err := contrastive.LoadQueue(damagedPath); !errors.Is(err, contrastive.ErrCorrupt) || q != nil || !strings.Contains(err.Error(), damagedPath) || !called(err, "LoadQueue") {
			t.Errorf("%s: %v, %v", name, q, err)
		}
	}
	if _, err := contrastive.LoadQueue(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) || !called(err, "LoadQueue") {
		t.Errorf("a file that is not there: %v", err)
	}
	if err := q.Save(filepath.Join(dir, "none", "queue")); !errors.Is(err, fs.ErrNotExist) || !called(err, "Queue.Save") {
		t.Errorf("a directory that is not there: %v", err)
	}

	// A file keeps its permissions, and a symbolic link leads to it as before.
	if runtime.GOOS != "windows" {
		link := filepath.Join(dir, "link")
		if err := errors.Join(os.Chmod(path, 0o600), os.Symlink("queue", link)); err != nil {
			t.Fatal(err)
		}
		other, _ := written(t, 4, 2, false)
		if err := other.Save(link); err != nil {
			t.Fatal(err)
		}
		if got, err := contrastive.LoadQueue(path); err != nil || !losstest.SameBits(got.Keys(), other.Keys()) {
			t.Errorf("Save to a link: %v", err)
		}
		if to, err := os.Readlink(link); err != nil || to != "queue" {
			t.Errorf("the link leads to %q, %v", to, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file is %v, %v", info.Mode(), err)
		}
	}

	// A directory in the place of the file cannot be replaced.
	taken := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(taken, "full"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := q.Save(taken); err == nil {
		t.Errorf("Save to a directory on %s: no error", runtime.GOOS)
	}
	if names, err := filepath.Glob(filepath.Join(dir, "*.tmp")); err != nil || len(names) > 0 {
		t.Errorf("a failed Save leaves %v, %v", names, err)
	}
}
