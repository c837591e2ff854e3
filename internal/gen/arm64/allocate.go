package arm64

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/mmcloughlin/avo/gotypes"
)

// A function is what has been written of one.
type function struct {
	header           string
	sig              *gotypes.Signature
	constants        map[constant]V
	prologue, body   []instruction // the prologue loads the constants
	general, vectors int           // registers so far
	rows             map[string][]string
	labels           map[string]int // with how often each has been asked for
}

// An instruction is a line of text. One that is written as data has a verb in its text
// for the word.
type instruction struct {
	text          string
	label, target string
	word          op
	operands      [3]V
}

func (fn *function) emit(i instruction) { fn.body = append(fn.body, i) }

// R16 and up belong to the linker, the platform and the runtime.
const (
	generalRegisters = 16
	vectorRegisters  = 32
)

var register = regexp.MustCompile(`[RVF]⟨\d+⟩`)

// mentions returns the names of the registers in text, with V for F.
func mentions(text string) []string {
	names := register.FindAllString(text, -1)
	for i := range names {
		names[i] = strings.Replace(names[i], "F", "V", 1)
	}
	return names
}

// allocate returns the instructions with registers for the names: the lowest that are
// free where a name, or one of its row, occurs first. They are free again from where it
// occurs last, or, if it is older than a loop in which that is, from the end of the loop.
// An instruction writes its results after it has read its operands, so that it may reuse
// their registers.
func (fn *function) allocate() []instruction {
	code := append(fn.prologue, fn.body...)
	last := lastMentions(code)
	free := map[byte][]int{'R': make([]int, generalRegisters), 'V': make([]int, vectorRegisters)} // from which instruction on
	registers := make(map[string]int)
	for i := range code {
		c := &code[i]
		for _, name := range mentions(c.text) {
			if _, ok := registers[name]; ok {
				continue
			}
			row := fn.rows[name]
			if row == nil {
				row = []string{name}
			}
			r := lowest(free[name[0]], len(row), i)
			for k, name := range row {
				registers[name] = r + k
				free[name[0]][r+k] = max(i, last[name])
			}
		}
		c.text = register.ReplaceAllStringFunc(c.text, func(s string) string {
			return s[:1] + strconv.Itoa(registers[mentions(s)[0]])
		})
		if c.word.name != "" {
			var p [3]V
			for k, v := range c.operands {
				p[k] = V(registers[v.String()])
			}
			c.text = fmt.Sprintf(c.text, c.word.encode(p[0], p[1], p[2]))
		}
	}
	return code
}

// lowest returns the first of n registers in a row that are free at i.
func lowest(free []int, n, i int) int {
	found := 0
	for r, from := range free {
		found++
		if from > i {
			found = 0
		}
		if found == n {
			return r - n + 1
		}
	}
	panic("arm64: out of registers")
}

// lastMentions returns up to where each name is needed.
func lastMentions(code []instruction) map[string]int {
	first, last, labels := make(map[string]int), make(map[string]int), make(map[string]int)
	for i, c := range code {
		for _, name := range mentions(c.text) {
			if _, ok := first[name]; !ok {
				first[name] = i
			}
			last[name] = i
		}
		if c.label != "" {
			labels[c.label] = i
		}
		if start, ok := labels[c.target]; ok { // the end of a loop, the inner ones first
			for name := range first {
				if first[name] < start && last[name] > start {
					last[name] = i
				}
			}
		}
	}
	return last
}
