package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// A recorder passes steps on to the operating system, except the one that is to fail.
type recorder struct {
	steps []string
	fail  string
}

var errInjected = errors.New("injected")

func (r *recorder) step(name string) error {
	r.steps = append(r.steps, name)
	if name == r.fail {
		return errInjected
	}
	return nil
}

func (r *recorder) system() system {
	return system{
		create: func(path string, mode fs.FileMode) (file, error) {
			if err := r.step("create"); err != nil {
				return nil, err
			}
			f, err := operatingSystem.create(path, mode)
			return recordedFile{f, r}, err
		},
		rename: func(from, to string) error {
			if err := r.step("rename"); err != nil {
				return err
			}
			return os.Rename(from, to)
		},
		remove: func(path string) error { return errors.Join(r.step("remove"), os.Remove(path)) },
		syncDirectory: func(path string) error {
			if err := r.step("sync " + path); err != nil {
				return err
			}
			return syncDirectory(path)
		},
	}
}

type recordedFile struct {
	file
	r *recorder
}

func (f recordedFile) Write(b []byte) (int, error) {
	if err := f.r.step("write"); err != nil {
		return 0, err
	}
	return f.file.Write(b)
}

func (f recordedFile) Chmod(mode fs.FileMode) error {
	return errors.Join(f.r.step("chmod"), f.file.Chmod(mode))
}
func (f recordedFile) Sync() error  { return errors.Join(f.r.step("sync"), f.file.Sync()) }
func (f recordedFile) Close() error { return errors.Join(f.r.step("close"), f.file.Close()) }

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// check fails t unless the file has the contents, and its directory no other files.
func check(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", path, got, err, want)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*.tmp")); err != nil || len(left) > 0 {
		t.Errorf("%v are left, %v", left, err)
	}
}

// TestSteps holds the order of the steps: what is not on the disk before the next one
// is begun may be lost, though that is kept.
func TestSteps(t *testing.T) {
	dir := t.TempDir() + string(filepath.Separator)
	path := dir + "file"
	for _, contents := range []string{"first", "second"} {
		r := new(recorder)
		if err := r.system().write(path, text(contents)); err != nil {
			t.Fatal(err)
		}
		if want := []string{"create", "write", "sync", "close", "rename", "sync " + dir}; !slices.Equal(r.steps, want) {
			t.Errorf("the steps are %q, want %q", r.steps, want)
		}
		check(t, path, contents)
	}
	if runtime.GOOS != "windows" {
		if err := os.Chmod(path, 0o666); err != nil { // more than the umask grants
			t.Fatal(err)
		}
		r := new(recorder)
		if err := r.system().write(path, text("third")); err != nil {
			t.Fatal(err)
		}
		if want := []string{"create", "write", "chmod", "sync", "close", "rename", "sync " + dir}; !slices.Equal(r.steps, want) {
			t.Skipf("the steps are %q: there is no umask", r.steps)
		}
	}
}

// TestFailures has each step fail in turn.
func TestFailures(t *testing.T) {
	dir := t.TempDir() + string(filepath.Separator)
	path := dir + "file"
	for _, step := range []string{"create", "write", "chmod", "sync", "close", "rename", "sync " + dir} {
		if err := os.WriteFile(path, []byte("old"), 0o666); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o666); err != nil {
			t.Fatal(err)
		}
		r := &recorder{fail: step}
		err := r.system().write(path, text("new"))
		if !slices.Contains(r.steps, step) && step == "chmod" {
			continue // no umask
		}
		if !errors.Is(err, errInjected) {
			t.Errorf("%s fails: %v", step, err)
		}
		want := "old"
		if strings.HasPrefix(step, "sync ") {
			want = "new"
		}
		check(t, path, want)
	}
	if err := Write(path, func(w io.Writer) error {
		return errors.Join(text("some")(w), errInjected)
	}); !errors.Is(err, errInjected) {
		t.Errorf("the writer fails: %v", err)
	}
	check(t, path, "new")
	if err := Write(filepath.Join(dir, "none", "file"), text("new")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	// Both errors are told.
	r := &recorder{fail: "remove"}
	if err := r.system().write(path, func(io.Writer) error { return fs.ErrClosed }); !errors.Is(err, errInjected) || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("the writer and remove fail: %v", err)
	}
}

func TestPermissions(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no permission bits")
	}
	path := filepath.Join(t.TempDir(), "file")
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o644, 0o666, 0o400, 0o777} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
		if err := Write(path, func(w io.Writer) error {
			// Nobody may read the new file that may not read the old one.
			names, err := filepath.Glob(path + ".*.tmp")
			if err != nil || len(names) != 1 {
				t.Fatalf("%v, %v", names, err)
			}
			if info, err := os.Stat(names[0]); err != nil || info.Mode().Perm()&^mode != 0 {
				t.Errorf("the new file is %v for one of %v, %v", info.Mode(), mode, err)
			}
			return text("new")(w)
		}); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("mode %v has become %v, %v", mode, info.Mode(), err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	created, err := os.Create(path + "2")
	if err != nil {
		t.Fatal(err)
	}
	created.Close()
	if err := Write(path, text("new")); err != nil {
		t.Fatal(err)
	}
	got, err := os.Stat(path)
	want, err2 := os.Stat(path + "2")
	if err := errors.Join(err, err2); err != nil || got.Mode() != want.Mode() {
		t.Errorf("a new file is %v, want %v, %v", got.Mode(), want.Mode(), err)
	}
}

func TestLinks(t *testing.T) {
	dir := t.TempDir()
	at := func(elements ...string) string { return dir + "/" + strings.Join(elements, "/") }
	if err := errors.Join(os.MkdirAll(at("deep", "er"), 0o777), os.MkdirAll(at("other"), 0o777)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ link, to, file string }{
		{at("absolute"), at("deep", "a"), at("deep", "a")},
		{at("relative"), "deep/b", at("deep", "b")},
		{at("chain"), "relative", at("deep", "b")},
		{at("other", "up"), "../deep/c", at("deep", "c")},
		{at("directory"), "deep/er", at("directory", "d")},             // a link to a directory
		{at("deep", "er", "up"), "../e", at("deep", "e")},              // through it
		{at("other", "through"), "../directory/../f", at("deep", "f")}, // and up again
	} {
		if err := os.Symlink(c.to, c.link); err != nil {
			t.Skip(err)
		}
		path := c.link
		switch c.link {
		case at("directory"):
			path = c.file
		case at("deep", "er", "up"):
			path = at("directory", "up")
		}
		for _, contents := range []string{"first", "second"} { // at first it leads nowhere
			if err := Write(path, text(contents)); err != nil {
				t.Fatal(err)
			}
			check(t, c.file, contents)
			check(t, path, contents)
		}
		if to, err := os.Readlink(c.link); err != nil || to != c.to {
			t.Errorf("%s leads to %q, %v, want %q", c.link, to, err, c.to)
		}
		if c.file != at("directory", "d") {
			if info, err := os.Lstat(c.file); err != nil || !info.Mode().IsRegular() {
				t.Errorf("%s is %v, %v", c.file, info.Mode(), err)
			}
		}
	}
	if err := errors.Join(os.Symlink("loop", at("pool")), os.Symlink("pool", at("loop"))); err != nil {
		t.Fatal(err)
	}
	if err := Write(at("loop"), text("new")); err == nil || !strings.Contains(err.Error(), "symbolic links") {
		t.Errorf("a loop: %v", err)
	}
}

// TestNotRegular writes to what a file must not take the place of.
func TestNotRegular(t *testing.T) {
	dir := t.TempDir()
	if err := Write(dir, text("new")); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
	if info, err := os.Stat(os.DevNull); err == nil && info.Mode()&fs.ModeDevice != 0 {
		link := filepath.Join(dir, "link")
		if err := os.Symlink(os.DevNull, link); err != nil {
			t.Skip(err)
		}
		if err := Write(link, text("new")); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("a device: %v", err)
		}
		if now, err := os.Stat(os.DevNull); err != nil || now.Mode() != info.Mode() {
			t.Errorf("%s is %v, %v", os.DevNull, now.Mode(), err)
		}
	}
}

func TestWorkingDirectory(t *testing.T) {
	t.Chdir(t.TempDir())
	r := new(recorder)
	if err := r.system().write("file", text("new")); err != nil || r.steps[len(r.steps)-1] != "sync ." {
		t.Errorf("%v, %v", r.steps, err)
	}
	check(t, "file", "new")
}

func TestSyncDirectory(t *testing.T) {
	if err := syncDirectory(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := syncDirectory(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	if _, err := os.Stat("/proc/self"); err == nil { // its directories cannot be synced
		if err := syncDirectory("/proc/self"); err != nil {
			t.Error(err)
		}
	}
}
