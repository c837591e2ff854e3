// Release makes the commit and the tags of a version: in it, the modules of the
// repository require each other at that version, and replace nothing, so that each
// can be got alone and its commands can be installed.
//
//	go run -C internal/release . v0.1.0
//
// The commit is a child of HEAD, on no branch. Nothing is pushed: the program prints
// the commands that do so, module after module, those that others require first.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

func main() {
	remote := flag.String("remote", "origin", "`name` of the repository that the printed commands push to")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: release [-remote name] version")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	root, err := git(".", "rev-parse", "--show-toplevel")
	if err == nil {
		var tags []string
		if tags, err = release(root, flag.Arg(0)); err == nil {
			for _, tag := range tags {
				fmt.Printf("git push %s %s\n", *remote, tag)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

// A Module is one of the repository.
type Module struct {
	Dir  string // relative to the root, "." for the root
	File *modfile.File
}

func (m Module) path() string { return m.File.Module.Mod.Path }

// tag returns the name under which the go command looks for a version of m.
func (m Module) tag(version string) string { return path.Join(m.Dir, version) }

// release makes the commit and the tags of a version in the repository in root, and
// returns the tags in the order in which they are to be pushed.
func release(root, version string) (tags []string, err error) {
	if semver.Canonical(version) != version {
		return nil, fmt.Errorf("%q is no version such as v0.1.0", version)
	}
	if status, err := git(root, "status", "--porcelain"); err != nil || status != "" {
		return nil, errors.Join(err, fmt.Errorf("%s has changes that are not committed:\n%s", root, status))
	}
	changes, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(strings.Split(string(changes), "\n"), func(line string) bool {
		heading, ok := strings.CutPrefix(line, "## ")
		return ok && slices.Contains(strings.Fields(heading), version)
	}) {
		return nil, fmt.Errorf("CHANGELOG.md has no heading for %s", version)
	}
	modules, err := findModules(root)
	if err != nil {
		return nil, err
	}
	for _, m := range modules {
		if tag, err := git(root, "tag", "--list", m.tag(version)); err != nil || tag != "" {
			return nil, errors.Join(err, fmt.Errorf("the tag %s is there already", m.tag(version)))
		}
	}

	// In a clone, so that nothing has happened if something fails.
	clone, err := os.MkdirTemp("", "release")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(clone)
	if _, err := git(root, "clone", "--quiet", "--no-tags", "--shared", root, clone); err != nil {
		return nil, err
	}
	if err := commit(clone, version, modules); err != nil {
		return nil, err
	}
	fetch := []string{"fetch", "--quiet", clone}
	for _, m := range modules {
		tag := m.tag(version)
		if _, err := git(clone, "tag", "--annotate", "--message", "Release "+tag, tag); err != nil {
			return nil, err
		}
		tags = append(tags, tag)
		fetch = append(fetch, "refs/tags/"+tag+":refs/tags/"+tag)
	}
	_, err = git(root, fetch...)
	return tags, err
}

// commit makes the commit of a version in a clone. It is amended for each module,
// because the hash of a module can only be known, and put into the go.sum of others,
// once it is committed.
func commit(clone, version string, modules []Module) error {
	siblings := map[string]string{} // lines of go.sum by path
	for i, m := range modules {
		dir := filepath.Join(clone, m.Dir)
		mod, err := released(m, version, siblings)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), mod, 0o666); err != nil {
			return err
		}
		if err := addSums(filepath.Join(dir, "go.sum"), m, siblings); err != nil {
			return err
		}
		if _, err := git(clone, "add", "--all"); err != nil {
			return err
		}
		args := []string{"commit", "--quiet", "--allow-empty", "--no-verify", "--message", "Release " + version}
		if i > 0 {
			args = append(args, "--amend")
		}
		if _, err := git(clone, args...); err != nil {
			return err
		}
		if siblings[m.path()], err = sums(clone, m, version, mod); err != nil {
			return err
		}
	}
	return nil
}

// findModules returns the modules in root, those that others require before them.
// Modules below a directory called internal are the repository's own tools.
func findModules(root string) ([]Module, error) {
	files, err := git(root, "ls-files", "go.mod", "*/go.mod")
	if err != nil {
		return nil, err
	}
	found := map[string]Module{}
	var paths []string
	for _, name := range strings.Fields(files) {
		elements := strings.Split(name, "/")
		if slices.Contains(elements, "internal") || slices.Contains(elements, "testdata") {
			continue
		}
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return nil, err
		}
		f, err := modfile.Parse(name, data, nil)
		if err != nil {
			return nil, err
		}
		found[f.Module.Mod.Path] = Module{path.Dir(name), f}
		paths = append(paths, f.Module.Mod.Path)
	}
	slices.Sort(paths)

	var ordered []Module
	done := map[string]bool{}
	var visit func(path string, above []string) error
	visit = func(path string, above []string) error {
		if slices.Contains(above, path) {
			return fmt.Errorf("modules require each other in a circle: %s", strings.Join(append(above, path), ", "))
		}
		m, ours := found[path]
		if done[path] || !ours {
			return nil
		}
		for _, r := range m.File.Require {
			if err := visit(r.Mod.Path, append(above, path)); err != nil {
				return err
			}
		}
		done[path] = true
		ordered = append(ordered, m)
		return nil
	}
	for _, p := range paths {
		if err := visit(p, nil); err != nil {
			return nil, err
		}
	}
	return ordered, nil
}

// released returns the go.mod of m that requires siblings at a version and replaces
// nothing.
func released(m Module, version string, siblings map[string]string) ([]byte, error) {
	f := m.File
	for _, r := range slices.Clone(f.Replace) {
		if _, ours := siblings[r.Old.Path]; !ours {
			return nil, fmt.Errorf("%s replaces %s, which is no module of this repository: its commands cannot be installed", f.Syntax.Name, r.Old.Path)
		}
		if err := f.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return nil, err
		}
	}
	for _, r := range slices.Clone(f.Require) {
		if _, ours := siblings[r.Mod.Path]; ours {
			if err := f.AddRequire(r.Mod.Path, version); err != nil {
				return nil, err
			}
		}
	}
	f.Cleanup()
	return f.Format()
}

// addSums adds the lines of the siblings that m requires to a go.sum, in the go
// command's order.
func addSums(name string, m Module, siblings map[string]string) error {
	data, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	text := string(data)
	for _, r := range m.File.Require {
		text += siblings[r.Mod.Path]
	}
	hashes := map[module.Version]string{}
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) == 3 {
			hashes[module.Version{Path: f[0], Version: f[1]}] = f[2]
		}
	}
	if len(hashes) == 0 {
		return nil
	}
	versions := slices.Collect(maps.Keys(hashes))
	module.Sort(versions)
	var sorted strings.Builder
	for _, v := range versions {
		fmt.Fprintln(&sorted, v.Path, v.Version, hashes[v])
	}
	return os.WriteFile(name, []byte(sorted.String()), 0o666)
}

// sums returns the lines of go.sum for m as it is committed in a repository.
func sums(repository string, m Module, version string, mod []byte) (string, error) {
	archive, err := os.CreateTemp("", "module")
	if err != nil {
		return "", err
	}
	defer os.Remove(archive.Name())
	err = pack(archive, repository, "HEAD", m, version)
	if err = errors.Join(err, archive.Close()); err != nil {
		return "", err
	}
	sum, err := dirhash.HashZip(archive.Name(), dirhash.Hash1)
	if err != nil {
		return "", err
	}
	modSum, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(mod)), nil
	})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %s %s\n%[1]s %[2]s/go.mod %s\n", m.path(), version, sum, modSum), nil
}

// pack writes what the go command downloads as a version of m.
func pack(w io.Writer, repository, revision string, m Module, version string) error {
	dir := m.Dir
	if dir == "." {
		dir = ""
	}
	return zip.CreateFromVCS(w, module.Version{Path: m.path(), Version: version}, repository, revision, dir)
}

// git runs git in a directory and returns what it prints.
func git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}
