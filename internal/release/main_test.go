package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
)

// repository makes a repository of files, with a history of one commit.
func repository(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range map[string]string{"NAME": "Release Test", "EMAIL": "release@example.com"} {
		t.Setenv("GIT_AUTHOR_"+name, value)
		t.Setenv("GIT_COMMITTER_"+name, value)
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all", "--force"}, {"commit", "--quiet", "--message", "Start"}} {
		if _, err := git(root, args...); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const changelog = "# Changelog\n\n## v1.2.3 - 2030-01-02\n"

func TestRelease(t *testing.T) {
	root := repository(t, map[string]string{
		"CHANGELOG.md":         changelog,
		"go.mod":               "module example.com/m\n\ngo 1.25.0\n",
		"m.go":                 "package m\n",
		"a/go.mod":             "module example.com/m/a\n\ngo 1.25.0\n\nrequire (\n\texample.com/m v0.0.0\n\texample.com/m/b v0.0.0\n)\n\nreplace example.com/m => ../\n\nreplace example.com/m/b => ../b\n",
		"a/go.sum":             "example.com/z v1.0.0 h1:z\nexample.com/c v1.10.0 h1:c\nexample.com/c v1.9.0 h1:c\n",
		"a/a.go":               "package a\n",
		"b/go.mod":             "module example.com/m/b\n\ngo 1.25.0\n\nrequire example.com/m v0.0.0 // indirect\n\nreplace example.com/m => ../\n",
		"b/b.go":               "package b\n",
		"internal/tool/go.mod": "module example.com/m/internal/tool\n",
	})
	tags, err := release(root, "v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"v1.2.3", "b/v1.2.3", "a/v1.2.3"}; !slices.Equal(tags, want) {
		t.Errorf("tags are %q, want %q", tags, want)
	}
	show := func(name string) string {
		text, err := git(root, "show", "v1.2.3:"+name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if got, want := show("a/go.mod"), "module example.com/m/a\n\ngo 1.25.0\n\nrequire (\n\texample.com/m v1.2.3\n\texample.com/m/b v1.2.3\n)"; got != want {
		t.Errorf("a/go.mod is\n%s\nwant\n%s", got, want)
	}
	sum := regexp.MustCompile(`^example.com/c v1.9.0 h1:c
example.com/c v1.10.0 h1:c
example.com/m v1.2.3 h1:\S{43}=
example.com/m v1.2.3/go.mod h1:\S{43}=
example.com/m/b v1.2.3 h1:\S{43}=
example.com/m/b v1.2.3/go.mod h1:\S{43}=
example.com/z v1.0.0 h1:z$`)
	if got := show("a/go.sum"); !sum.MatchString(got) {
		t.Errorf("a/go.sum is\n%s", got)
	}
	if got := show("internal/tool/go.mod"); got != "module example.com/m/internal/tool" {
		t.Errorf("a tool's go.mod is %q", got)
	}
	commits := map[string]bool{}
	for _, tag := range tags {
		c, err := git(root, "rev-list", "-1", tag)
		if err != nil {
			t.Fatal(err)
		}
		commits[c] = true
	}
	if len(commits) != 1 {
		t.Errorf("the tags are on %d commits", len(commits))
	}
	if status, err := git(root, "status", "--porcelain"); err != nil || status != "" {
		t.Errorf("the work tree has changed: %s, %v", status, err)
	}
	if _, err := release(root, "v1.2.3"); err == nil || !strings.Contains(err.Error(), "tag v1.2.3 is there already") {
		t.Errorf("the same again: %v", err)
	}
}

func TestReleaseErrors(t *testing.T) {
	for _, c := range []struct {
		name, version string
		files         map[string]string
		dirty         bool
		want          string
	}{
		{"version", "0.1.0", nil, false, `"0.1.0" is no version`},
		{"short version", "v1.2", nil, false, `"v1.2" is no version`},
		{"changes", "v1.2.3", nil, true, "not committed"},
		{"changelog", "v1.2.4", nil, false, "no heading for v1.2.4"},
		{"circle", "v1.2.3", map[string]string{
			"a/go.mod": "module example.com/m/a\n\nrequire example.com/m/b v0.0.0\n",
			"b/go.mod": "module example.com/m/b\n\nrequire example.com/m/a v0.0.0\n",
		}, false, "in a circle"},
		{"foreign replacement", "v1.2.3", map[string]string{
			"a/go.mod": "module example.com/m/a\n\nrequire example.com/x v1.0.0\n\nreplace example.com/x => ../x\n",
		}, false, "replaces example.com/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"CHANGELOG.md": changelog, "go.mod": "module example.com/m\n"}
			for name, text := range c.files {
				files[name] = text
			}
			root := repository(t, files)
			if c.dirty {
				if err := os.WriteFile(filepath.Join(root, "new"), nil, 0o666); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := release(root, c.version); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if tags, err := git(root, "tag"); err != nil || tags != "" {
				t.Errorf("there are tags: %s, %v", tags, err)
			}
		})
	}
}

// TestInstall releases the tree that this file is in, as it is, to a proxy of files,
// and uses each module from outside, as someone who has nothing else: it is got into
// a new module, its commands are installed, and the program of README.md runs. What
// third parties wrote comes from the module cache, or from GOPROXY. With -short, commands
// are not compiled, which takes minutes: the go command only says how it would.
func TestInstall(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the module cache's files are no file URL there that GOPROXY takes")
	}
	top, err := git(".", "rev-parse", "--show-toplevel")
	if err != nil {
		t.Fatal(err)
	}
	names, err := git(top, "ls-files", "--cached", "--others", "--exclude-standard")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for name := range strings.Lines(names) {
		name = strings.TrimSpace(name)
		text, err := os.ReadFile(filepath.Join(top, name))
		if errors.Is(err, fs.ErrNotExist) { // deleted, and not yet committed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	version := "v0.1.0-test"
	files["CHANGELOG.md"] += "\n## " + version + "\n"
	root := repository(t, files)
	if _, err := release(root, version); err != nil {
		t.Fatal(err)
	}
	modules, err := findModules(root)
	if err != nil {
		t.Fatal(err)
	}
	proxy := writeProxy(t, root, version, modules)

	modcache := t.TempDir()
	env := environment(t, proxy, modcache)
	run := func(dir string, args ...string) string {
		t.Helper()
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Dir, cmd.Env = dir, env
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	t.Cleanup(func() { run(t.TempDir(), "go", "clean", "-modcache") })

	for _, m := range modules {
		t.Run(m.path(), func(t *testing.T) {
			dir := t.TempDir()
			run(dir, "go", "mod", "init", "example.com/user")
			run(dir, "go", "get", m.path()+"@"+version)
			for _, name := range commands(t, root, m) {
				if m.Dir == "mpi" {
					continue // needs a library in C
				}
				install := []string{"go", "install", "-trimpath", name + "@" + version}
				if testing.Short() {
					install = slices.Insert(install, 2, "-n")
				}
				run(dir, install...)
			}
		})
	}
	t.Run("program", func(t *testing.T) {
		dir := t.TempDir()
		run(dir, "go", "mod", "init", "example.com/user")
		if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program(t, files["README.md"])), 0o666); err != nil {
			t.Fatal(err)
		}
		run(dir, "go", "get", modules[0].path()+"@"+version)
		if out := run(dir, "go", "run", "."); !strings.Contains(out, "loss") {
			t.Errorf("the program of README.md prints %q", out)
		}
	})
}

// program returns the first program in Go of a text.
func program(t *testing.T, markdown string) string {
	_, code, ok := strings.Cut(markdown, "```go\npackage main\n")
	code, _, ended := strings.Cut(code, "```\n")
	if !ok || !ended {
		t.Fatal("README.md has no program")
	}
	return "package main\n" + code
}

// commands returns the import paths of the commands of a module that are not its own
// tools.
func commands(t *testing.T, root string, m Module) (paths []string) {
	cmd := exec.Command("go", "list", "-f", `{{if eq .Name "main"}}{{.ImportPath}}{{end}}`, "./...")
	cmd.Dir = filepath.Join(root, m.Dir)
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if !slices.Contains(strings.Split(path, "/"), "internal") {
			paths = append(paths, path)
		}
	}
	return paths
}

// environment returns the variables with which the go command knows nothing of the
// tree.
func environment(t *testing.T, proxy, modcache string) []string {
	out, err := exec.Command("go", "env", "-json", "GOPROXY", "GOMODCACHE", "GONOSUMDB").Output()
	if err != nil {
		t.Fatal(err)
	}
	var was map[string]string
	if err := json.Unmarshal(out, &was); err != nil {
		t.Fatal(err)
	}
	proxies := []string{"file://" + filepath.ToSlash(proxy), "file://" + filepath.ToSlash(filepath.Join(was["GOMODCACHE"], "cache", "download"))}
	if was["GOPROXY"] != "" {
		proxies = append(proxies, was["GOPROXY"])
	}
	return append(os.Environ(),
		"GOPROXY="+strings.Join(proxies, ","),
		"GONOSUMDB=github.com/contrastive-go/*",
		"GOMODCACHE="+modcache,
		"GOBIN="+t.TempDir(),
		"GOFLAGS=-modcacherw",
		"GOWORK=off")
}

// writeProxy writes the tagged versions of modules as the files of a proxy:
// https://go.dev/ref/mod#goproxy-protocol.
func writeProxy(t *testing.T, root, version string, modules []Module) (dir string) {
	dir = t.TempDir()
	for _, m := range modules {
		escaped, err := module.EscapePath(m.path())
		if err != nil {
			t.Fatal(err)
		}
		var archive bytes.Buffer
		if err := pack(&archive, root, m.tag(version), m, version); err != nil {
			t.Fatal(err)
		}
		mod, err := git(root, "show", m.tag(version)+":"+strings.TrimPrefix(m.Dir+"/go.mod", "./"))
		if err != nil {
			t.Fatal(err)
		}
		info := fmt.Sprintf(`{"Version":%q,"Time":%q}`, version, time.Now().UTC().Format(time.RFC3339))
		for name, data := range map[string]string{
			"list":            version + "\n",
			version + ".info": info,
			version + ".mod":  mod + "\n",
			version + ".zip":  archive.String(),
		} {
			path := filepath.Join(dir, filepath.FromSlash(escaped), "@v", name)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o777), os.WriteFile(path, []byte(data), 0o666)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}
