package arm64

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/mmcloughlin/avo/gotypes"
)

// A function is what has been written of one.
type function struct {
	header       string
	sig          *gotypes.Signature
	constants    map[constant]V
	prologue     []instruction // constants, loaded before all else
	instructions []instruction
	general      int // registers so far
	vectors      int
	groups       map[V]group
}

// An instruction is a line of text. One that is written as data has a verb in its text
// for the word.
type instruction struct {
	text          string
	label, target string
	word          op
	operands      [3]V
}

// A group is vectors in a row.
type group struct {
	first V
	n     int
}

func (fn *function) emit(i instruction) { fn.instructions = append(fn.instructions, i) }

// R16 and up belong to the linker, the platform and the runtime.
const (
	generalRegisters = 16
	vectorRegisters  = 32
)

// A name is that of a register in the text of instructions: its kind, F being V, and
// its number.
type name struct {
	kind   byte
	number int
}

var names = regexp.MustCompile(`([RVF])⟨(\d+)⟩`)

func parse(s []string) name {
	n, err := strconv.Atoi(s[2])
	if err != nil {
		panic(err)
	}
	if s[1] == "F" {
		return name{'V', n}
	}
	return name{s[1][0], n}
}

// allocate returns the instructions with registers for the names: the lowest that are
// free where a name, or the first of its group, occurs first. They are free again from
// where it occurs last, or, if it is older than a loop in which that is, from the end of
// the loop. An instruction writes its results after it has read its operands, so that
// it may reuse their registers.
func (fn *function) allocate() []instruction {
	code := append(fn.prologue, fn.instructions...)
	first, last := fn.lives(code)
	free := map[byte][]int{'R': make([]int, generalRegisters), 'V': make([]int, vectorRegisters)} // from when on each is
	registers := make(map[name]int)
	for i := range code {
		for _, s := range names.FindAllStringSubmatch(code[i].text, -1) {
			n := parse(s)
			if first[n] != i {
				continue
			}
			g := group{V(n.number), 1}
			if n.kind == 'V' {
				g = fn.groups[g.first]
			}
			if _, ok := registers[n]; ok {
				continue
			}
			r := row(free[n.kind], g.n, i)
			for k := range g.n {
				n := name{n.kind, int(g.first) + k}
				registers[n] = r + k
				free[n.kind][r+k] = max(i, last[n])
			}
		}
		code[i].text = names.ReplaceAllStringFunc(code[i].text, func(s string) string {
			return s[:1] + strconv.Itoa(registers[parse(names.FindStringSubmatch(s))])
		})
		if w := code[i].word; w.name != "" {
			var p [3]V
			for k, v := range code[i].operands {
				p[k] = V(registers[name{'V', int(v)}])
			}
			code[i].text = fmt.Sprintf(code[i].text, w.encode(p[0], p[1], p[2]))
		}
	}
	return code
}

// row returns the first of n registers in a row that are free at i.
func row(free []int, n, i int) int {
	for r, found := 0, 0; r < len(free); r++ {
		found++
		if free[r] > i {
			found = 0
		}
		if found == n {
			return r - n + 1
		}
	}
	panic("arm64: out of registers")
}

// lives returns where each name occurs first and last.
func (fn *function) lives(code []instruction) (first, last map[name]int) {
	first, last = make(map[name]int), make(map[name]int)
	labels := make(map[string]int)
	for i, c := range code {
		for _, s := range names.FindAllStringSubmatch(c.text, -1) {
			n := parse(s)
			if _, ok := first[n]; !ok {
				first[n] = i
			}
			last[n] = i
		}
		if c.label != "" {
			labels[c.label] = i
		}
		// The end of a loop, the inner ones first.
		if start, ok := labels[c.target]; ok && c.target != "" {
			for n := range first {
				if first[n] < start && last[n] > start {
					last[n] = i
				}
			}
		}
	}
	return first, last
}
