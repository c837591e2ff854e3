// Package atomicfile replaces files in one step.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// Write puts what write writes in the place of the named file, or of that which it is
// a symbolic link to. Whenever the program or the machine stops, the file is the old
// one or the new one, whole, and once Write has returned nil it is the new one.
//
// The new file keeps the permissions of the old one, or has those that os.Create
// gives. It does not keep the owner and other names, if those of the old one are not
// what any new file has. A name that is not that of a regular file is an error.
//
// An interrupted call may leave a file path.*.tmp behind. A failed one leaves nothing
// and does not change the file, unless it is the last step that has failed: to make the
// name in the directory durable.
func Write(path string, write func(io.Writer) error) error {
	return operatingSystem.write(path, write)
}

// A system is the steps of Write that change something, which tests record and fail.
type system struct {
	create        func(path string, mode fs.FileMode) (file, error)
	rename        func(from, to string) error
	remove        func(path string) error
	syncDirectory func(path string) error
}

type file interface {
	io.WriteCloser
	Chmod(mode fs.FileMode) error
	Stat() (fs.FileInfo, error)
	Sync() error
}

var operatingSystem = system{
	create: func(path string, mode fs.FileMode) (file, error) {
		return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	},
	rename:        os.Rename,
	remove:        os.Remove,
	syncDirectory: syncDirectory,
}

func (s system) write(path string, write func(io.Writer) error) error {
	path, err := follow(path)
	if err != nil {
		return err
	}
	mode, replaces := fs.FileMode(0o666), false
	switch info, err := os.Stat(path); {
	case err == nil && !info.Mode().IsRegular():
		return &fs.PathError{Op: "replace", Path: path, Err: errors.New("not a regular file")}
	case err == nil:
		mode, replaces = info.Mode().Perm(), true
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	temporary := fmt.Sprintf("%s.%016x.tmp", path, rand.Uint64())
	f, err := s.create(temporary, mode)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil && replaces {
		err = setMode(f, mode)
	}
	if err == nil {
		err = f.Sync() // or the name may reach the disk before the data
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = s.rename(temporary, path)
	}
	if err != nil {
		return errors.Join(err, s.remove(temporary))
	}
	directory, _ := filepath.Split(path)
	if directory == "" {
		directory = "."
	}
	return s.syncDirectory(directory)
}

// setMode gives f the permissions that the process's umask has kept from it.
func setMode(f file, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm() == mode {
		return err
	}
	return f.Chmod(mode)
}

// follow returns the name at the end of the symbolic links that path begins, if any.
// There need not be a file of that name.
func follow(path string) (string, error) {
	const most = 40 // as on Linux
	for range most {
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil // it is no link, or what is wrong will show
		}
		if !filepath.IsAbs(link) {
			// Not filepath.Join: if the directory is a link, ".." is not what it seems.
			directory, _ := filepath.Split(path)
			link = directory + link
		}
		path = link
	}
	return "", &fs.PathError{Op: "readlink", Path: path, Err: errors.New("too many symbolic links")}
}

// syncDirectory makes the names in a directory durable, where the system can: some
// have no such call, or do not allow it on directories.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	for _, cannot := range [...]error{fs.ErrPermission, errors.ErrUnsupported, syscall.EINVAL} {
		if errors.Is(err, cannot) {
			return nil
		}
	}
	return err
}
