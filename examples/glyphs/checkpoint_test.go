package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain lets tests start this program again, to kill it.
func TestMain(m *testing.M) {
	switch os.Getenv("GLYPHS_CHILD") {
	case "run":
		if err := run(context.Background(), strings.Fields(os.Getenv("GLYPHS_FLAGS")), nil, io.Discard, os.Stderr); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	case "save":
		saveForEver(os.Getenv("GLYPHS_FLAGS"))
	}
	os.Exit(m.Run())
}

// saveForEver writes checkpoints of growing steps whose state is the step
// throughout.
func saveForEver(path string) {
	for step := 1; ; step++ {
		if err := steadyCheckpoint(step).save(path); err != nil {
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
	}
}

func steadyCheckpoint(step int) *Checkpoint {
	return &Checkpoint{Step: step, State: [][]float32{slices.Repeat([]float32{float32(step)}, 300_000)}}
}

// child starts this program, and returns a function that kills it as it stands.
func child(t *testing.T, what, flags string) (kill func()) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), "GLYPHS_CHILD="+what, "GLYPHS_FLAGS="+flags)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		c.Process.Kill() // SIGKILL; an error says that it has ended
		if err := c.Wait(); err != nil && c.ProcessState.Exited() {
			t.Fatalf("the child failed: %v\n%s", err, stderr.String())
		}
	}
}

func waitFor(t *testing.T, path string) {
	t.Helper()
	for range 3000 {
		if _, err := os.Stat(path); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s has not appeared", path)
}

// TestKilledWhileSaving: the file is always a whole checkpoint, an old one or a
// new one.
func TestKilledWhileSaving(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run")
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for range 8 {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		kill := child(t, "save", path)
		waitFor(t, path)
		time.Sleep(time.Duration(rng.IntN(30_000)) * time.Microsecond)
		kill()
		c, err := loadCheckpoint(path)
		if err != nil {
			t.Fatal(err)
		}
		if want := steadyCheckpoint(c.Step); len(c.State) != 1 || !slices.Equal(c.State[0], want.State[0]) {
			t.Fatalf("the checkpoint of step %d has the state of another", c.Step)
		}
	}
}

// finished returns what a run that has ended is known by.
func finished(t *testing.T, path string) *Checkpoint {
	t.Helper()
	c, err := loadCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	if c.Step != c.Settings.Steps {
		t.Fatalf("the run ended at step %d of %d", c.Step, c.Settings.Steps)
	}
	return c
}

func compare(t *testing.T, got, want *Checkpoint) {
	t.Helper()
	if !slices.Equal(got.History, want.History) {
		t.Error("losses differ")
	}
	for i := range want.State {
		if !slices.Equal(got.State[i], want.State[i]) {
			t.Fatalf("tensor %d of %d differs", i, len(want.State))
		}
	}
	if !bytes.Equal(got.Queue, want.Queue) || got.Monitor != want.Monitor || got.Settings != want.Settings {
		t.Error("queues, monitors or settings differ")
	}
}

// TestKilledRun: a run killed at a random moment and resumed ends with the same
// bits as one that was not.
func TestKilledRun(t *testing.T) {
	dir := t.TempDir()
	flags := func(name string) string {
		return "-smoke -method moco -steps 120 -out " + dir + " -every 3 -checkpoint " + filepath.Join(dir, name)
	}
	runFlags := func(flags string) {
		t.Helper()
		if err := run(context.Background(), strings.Fields(flags), nil, io.Discard, io.Discard); err != nil {
			t.Fatal(err)
		}
	}
	runFlags(flags("whole"))

	path := filepath.Join(dir, "killed")
	kill := child(t, "run", flags("killed"))
	waitFor(t, path)
	time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
	kill()
	c, err := loadCheckpoint(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("killed after step %d", c.Step)
	runFlags("-resume -out " + dir + " -checkpoint " + path)
	compare(t, finished(t, path), finished(t, filepath.Join(dir, "whole")))
}

// TestResume does so in one process, for every method, with an exact moment.
func TestResume(t *testing.T) {
	for _, method := range methodNames() {
		t.Run(method, func(t *testing.T) {
			flags := []string{"-steps", "9", "-learn-temperature"}
			whole, stopped, resumed := smokeTrainer(t, method, flags...), smokeTrainer(t, method, flags...), smokeTrainer(t, method, flags...)
			dir := t.TempDir()
			whole.CheckpointPath, stopped.CheckpointPath, resumed.CheckpointPath = dir+"/whole", dir+"/run", dir+"/run"
			train(t, whole)

			for range 4 {
				if err := stopped.Step(nil); err != nil {
					t.Fatal(err)
				}
			}
			if err := stopped.save(); err != nil {
				t.Fatal(err)
			}
			c, err := loadCheckpoint(dir + "/run")
			if err != nil {
				t.Fatal(err)
			}
			if err := resumed.restore(c); err != nil {
				t.Fatal(err)
			}
			train(t, resumed)
			compare(t, finished(t, dir+"/run"), finished(t, dir+"/whole"))
		})
	}
}

func TestBadCheckpoints(t *testing.T) {
	dir := t.TempDir()
	r := smokeTrainer(t, "moco")
	r.CheckpointPath = dir + "/good"
	if err := r.save(); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(dir + "/good")
	if err != nil {
		t.Fatal(err)
	}
	write := func(data []byte) string {
		path := dir + "/bad"
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for n := range 40 { // cut, and one bit flipped, here and there
		at := n * len(good) / 40
		if _, err := loadCheckpoint(write(good[:at])); !errors.Is(err, errCheckpoint) {
			t.Errorf("cut after %d bytes: %v", at, err)
		}
		flipped := bytes.Clone(good)
		flipped[at] ^= 1 << (n % 8)
		if _, err := loadCheckpoint(write(flipped)); !errors.Is(err, errCheckpoint) {
			t.Errorf("byte %d flipped: %v", at, err)
		}
	}
	// A gob that is none, with a checksum that is right.
	bad := binary.LittleEndian.AppendUint32([]byte(checkpointMagic), 0)
	if _, err := loadCheckpoint(write(bad)); !errors.Is(err, errCheckpoint) {
		t.Errorf("an empty checkpoint: %v", err)
	}
	if _, err := loadCheckpoint(dir + "/none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}

	// The state of another shape changes nothing.
	c, err := loadCheckpoint(dir + "/good")
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Concat(r.method.State()...)
	for name, change := range map[string]func(*Checkpoint){
		"a tensor less":  func(c *Checkpoint) { c.State = c.State[1:] },
		"a short tensor": func(c *Checkpoint) { c.State = slices.Clone(c.State); c.State[3] = c.State[3][1:] },
		"no queue":       func(c *Checkpoint) { c.Queue = nil },
	} {
		bad := *c
		change(&bad)
		if err := r.restore(&bad); !errors.Is(err, errCheckpoint) {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(slices.Concat(r.method.State()...), before) {
			t.Fatalf("%s: the run has changed", name)
		}
	}
}

// Every truncation and every flipped bit of a small checkpoint is found.
func TestCheckpointDamage(t *testing.T) {
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(Checkpoint{Step: 3, State: [][]float32{{1, 2, 3}}, Queue: []byte("queue")}); err != nil {
		t.Fatal(err)
	}
	good := sealed(body.Bytes())
	if c, err := parseCheckpoint("good", good); err != nil || c.Step != 3 {
		t.Fatalf("%v, %v", c, err)
	}
	for n := range good {
		if _, err := parseCheckpoint("cut", good[:n]); !errors.Is(err, errCheckpoint) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	for bit := range 8 * len(good) {
		flipped := bytes.Clone(good)
		flipped[bit/8] ^= 1 << (bit % 8)
		if _, err := parseCheckpoint("flipped", flipped); !errors.Is(err, errCheckpoint) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
	t.Logf("%d truncations and %d flipped bits", len(good), 8*len(good))
}
