package app

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
)

// rows prints what may be many, each as it comes: a table, or a JSON document whose
// end says whether all of it is there.
type rows struct {
	out  *bufio.Writer
	json bool
	head string // of the table, before its first row
	n    int
}

// count is a number at the end of such a document.
type count struct {
	name string
	n    int
}

func newRows(w io.Writer, asJSON bool, head string) *rows {
	r := &rows{out: bufio.NewWriter(w), json: asJSON, head: head}
	if asJSON {
		_, _ = r.out.WriteString(`{"sessions":[`)
	}
	return r
}

// add prints one: as JSON, or as the line that is given.
func (r *rows) add(value any, line string) error {
	if r.n++; !r.json {
		if r.n == 1 {
			line = r.head + line
		}
		_, err := r.out.WriteString(line)
		return err
	}
	raw, err := json.Marshal(value)
	if err != nil {
		return err
	}
	separator := ",\n"
	if r.n == 1 {
		separator = "\n"
	}
	_, err = r.out.WriteString(separator + string(raw))
	return err
}

// end prints what comes last.
func (r *rows) end(complete bool, counts ...count) error {
	if r.json {
		_, _ = r.out.WriteString("\n],")
		for _, c := range counts {
			_, _ = fmt.Fprintf(r.out, "%q:%d,", c.name, c.n)
		}
		_, _ = fmt.Fprintf(r.out, "\"complete\":%t}\n", complete)
	}
	return r.out.Flush()
}
