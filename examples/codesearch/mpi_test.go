//go:build mpi

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const curveFile = "CODESEARCH_CURVE"

// TestRank is what each process of TestMPI runs.
func TestRank(t *testing.T) {
	name := os.Getenv(curveFile)
	if name == "" {
		t.Skip("runs under mpirun, in TestMPI")
	}
	ranks, part, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	losses := curve(t, ranks)
	if ranks.Rank() == 0 {
		data, err := json.Marshal(losses)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := part(); err != nil {
		t.Fatal(err)
	}
}

// TestMPI trains on two processes, to the losses of one.
func TestMPI(t *testing.T) {
	launcher, err := exec.LookPath("mpirun")
	if err != nil {
		t.Skip("needs mpirun")
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"-np", "2"}
	if version, _ := exec.Command(launcher, "--version").Output(); strings.Contains(string(version), "Open MPI") {
		args = append(args, "--oversubscribe", "--allow-run-as-root")
	}
	file := filepath.Join(t.TempDir(), "curve.json")
	cmd := exec.Command(launcher, append(args, program, "-test.run=^TestRank$")...)
	cmd.Env = append(os.Environ(), curveFile+"="+file)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	if err := json.Unmarshal(data, &losses); err != nil {
		t.Fatal(err)
	}
	compareCurves(t, losses, curve(t, nil))
}
