package contrastive

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
)

// Save writes q to the named file, which it replaces in one step: whenever the
// program or the machine stops, the file is the old one or the new one, whole. An
// interrupted Save may leave a file path.*.tmp behind. A failed one leaves nothing
// and does not change the file. The directory must allow a new file.
func (q *Queue) Save(path string) error {
	temporary := fmt.Sprintf("%s.%016x.tmp", path, rand.Uint64())
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("Queue.Save: %w", err)
	}
	_, err = q.WriteTo(f)
	if err == nil {
		err = f.Sync() // or the name may reach the disk before the data
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return fmt.Errorf("Queue.Save: %w", errors.Join(err, os.Remove(temporary)))
	}
	return nil
}

// LoadQueue reads the queue that [Queue.Save] wrote to the named file. Its errors
// are those of the file system, and those of [ReadQueue]; a file that goes on
// after the queue is [ErrCorrupt], too.
func LoadQueue(path string) (*Queue, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("LoadQueue: %w", err)
	}
	defer f.Close()
	q, err := ReadQueue(f)
	if err != nil {
		return nil, fmt.Errorf("LoadQueue: %s: %w", path, err)
	}
	switch n, err := f.Read(make([]byte, 1)); {
	case n > 0:
		return nil, fmt.Errorf("LoadQueue: %s goes on after the queue: %w", path, ErrCorrupt)
	case err != io.EOF:
		return nil, fmt.Errorf("LoadQueue: %w", err)
	}
	return q, nil
}
