package main

// A Task says what a query and the functions to be found show of a function's
// name, which in Go's doc comments is the first word and gives the answer away.
type Task uint8

const (
	CutIdentifier Task = iota // the name itself is cut from the query
	CutQuery                  // every word of the name is cut from the query
	CutBoth                   // and from the function, wherever it stands
	tasks
)

func (t Task) String() string {
	return [tasks]string{
		"identifier cut from the query",
		"name words cut from the query",
		"name words cut from both",
	}[t]
}

// QueryWords returns the words of a comment on f as task t shows them.
func (t Task) QueryWords(f *Function, comment string) []string {
	if t != CutIdentifier {
		return without(Words(comment), set(Words(f.Name)))
	}
	var words []string
	for _, ident := range identifiers(comment) {
		if ident != f.Name {
			words = append(words, Words(ident)...)
		}
	}
	return words
}

// A Field is the part of a query or function that a word comes from.
type Field uint8

const (
	Query Field = iota
	Package
	Name
	Signature
	Body
	fields
)

// CodeWords returns the words of f as task t shows them. Query is empty.
func (t Task) CodeWords(f *Function) (words [fields][]string) {
	words[Package] = Words(f.Package)
	words[Name] = Words(f.Name)
	words[Signature] = Words(f.Signature)
	words[Body] = Words(f.Body)
	if t == CutBoth {
		cut := set(words[Name])
		for i := range words {
			words[i] = without(words[i], cut)
		}
	}
	return words
}
