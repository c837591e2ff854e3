package main

import (
	"bytes"
	"encoding/binary"
	"encoding/gob"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"

	"github.com/contrastive-go/contrastive"
	"github.com/contrastive-go/contrastive/examples/glyphs/report"
	"github.com/contrastive-go/contrastive/internal/atomicfile"
)

// A Checkpoint is all that a run needs to go on as if nothing had happened.
// Random numbers need no state: see mix.
type Checkpoint struct {
	Settings Settings
	Step     int // steps made
	State    [][]float32
	Queue    []byte // by Queue.WriteTo; nil without one
	History  []report.Point
	Monitor  Monitor
}

// A file is a line that says what it is, a CRC-32C of the rest in little-endian
// order, and a gob.
const checkpointMagic = "glyphs checkpoint 1\n"

var errCheckpoint = errors.New("not a valid checkpoint")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// save writes c to a file, which it replaces in one step: whenever the program or the
// machine stops, the file is the old one or the new one.
func (c *Checkpoint) save(path string) error {
	var body bytes.Buffer
	if err := gob.NewEncoder(&body).Encode(c); err != nil {
		return fmt.Errorf("checkpoint %s: %w", path, err)
	}
	return replaceFile(path, sealed(body.Bytes()))
}

func replaceFile(path string, contents []byte) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(contents)
		return err
	})
}

// sealed returns the contents of the file of a checkpoint.
func sealed(body []byte) []byte {
	file := binary.LittleEndian.AppendUint32([]byte(checkpointMagic), crc32.Checksum(body, castagnoli))
	return append(file, body...)
}

// loadCheckpoint reads what save wrote.
func loadCheckpoint(path string) (*Checkpoint, error) {
	file, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return parseCheckpoint(path, file)
}

func parseCheckpoint(path string, file []byte) (*Checkpoint, error) {
	body, ok := bytes.CutPrefix(file, []byte(checkpointMagic))
	if !ok || len(body) < 4 {
		return nil, fmt.Errorf("%s: %w: it does not begin with %q", path, errCheckpoint, checkpointMagic)
	}
	want, body := binary.LittleEndian.Uint32(body), body[4:]
	if got := crc32.Checksum(body, castagnoli); got != want {
		return nil, fmt.Errorf("%s: %w: its checksum is %08x, not %08x", path, errCheckpoint, got, want)
	}
	c := new(Checkpoint)
	if err := gob.NewDecoder(bytes.NewReader(body)).Decode(c); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, errCheckpoint, err)
	}
	return c, nil
}

// checkpoint returns the state of the run.
func (t *Trainer) checkpoint() (*Checkpoint, error) {
	c := &Checkpoint{Settings: t.Settings, Step: t.step, State: t.method.State(), History: t.History, Monitor: t.Monitor}
	if q, ok := t.method.(Queuer); ok {
		var b bytes.Buffer
		if _, err := q.Queue().WriteTo(&b); err != nil {
			return nil, err
		}
		c.Queue = b.Bytes()
	}
	return c, nil
}

// restore takes the state of c, which a run with the same settings and data wrote.
func (t *Trainer) restore(c *Checkpoint) error {
	state := t.method.State()
	if len(state) != len(c.State) {
		return fmt.Errorf("%w: it has %d tensors and the method %d", errCheckpoint, len(c.State), len(state))
	}
	for i, s := range state {
		if len(s) != len(c.State[i]) {
			return fmt.Errorf("%w: tensor %d has %d elements, and the method's %d", errCheckpoint, i, len(c.State[i]), len(s))
		}
	}
	if q, ok := t.method.(Queuer); ok {
		queue, err := contrastive.ReadQueue(bytes.NewReader(c.Queue))
		if err != nil {
			return fmt.Errorf("%w: %w", errCheckpoint, err)
		}
		q.SetQueue(queue)
	}
	for i, s := range state {
		copy(s, c.State[i])
	}
	t.step, t.History, t.Monitor = c.Step, c.History, c.Monitor
	return nil
}
