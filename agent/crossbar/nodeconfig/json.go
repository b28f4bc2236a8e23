package nodeconfig

import (
	"bytes"
	"encoding/json"
	"strings"
)

const jsonIndent = "    "

// object is where a JSON object and its members are in a text.
type object struct {
	open, end int // of its braces; end is behind the last
	members   []member
}

// member is one of them: its name's quote, its value, and the end of that.
type member struct {
	name            string
	key, value, end int
}

func (o object) find(name string) (member, bool) {
	for i := len(o.members) - 1; i >= 0; i-- { // the last of equals is the one that counts
		if o.members[i].name == name {
			return o.members[i], true
		}
	}
	return member{}, false
}

// readObject finds the members of the object that begins at or behind from.
func readObject(text []byte, from int) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(text[from:]))
	at := func() int { return from + int(dec.InputOffset()) }
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return object{}, errShape
	}
	o := object{open: at() - 1}
	for dec.More() {
		key := at() + strings.IndexByte(string(text[at():]), '"')
		name, err := dec.Token()
		if err != nil {
			return object{}, errShape
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return object{}, errShape
		}
		o.members = append(o.members, member{name.(string), key, at() - len(value), at()})
	}
	if _, err := dec.Token(); err != nil {
		return object{}, errShape
	}
	o.end = at()
	return o, nil
}

// putJSON sets controller.fabric in a JSON text.
func putJSON(text []byte, f fabric) ([]byte, error) {
	root, err := readObject(text, 0)
	if err != nil {
		return nil, err
	}
	c, ok := root.find("controller")
	if !ok {
		return root.insert(text, "controller", controller{f}, "workers")
	}
	if bytes.Equal(text[c.value:c.end], []byte("null")) {
		return replaceJSON(text, c, controller{f})
	}
	in, err := readObject(text, c.value)
	if err != nil {
		return nil, err
	}
	if old, ok := in.find("fabric"); ok {
		return replaceJSON(text, old, f)
	}
	return in.insert(text, "fabric", f, "")
}

// insert adds a member before the one that is named, or first.
func (o object) insert(text []byte, name string, value any, before string) ([]byte, error) {
	if len(o.members) == 0 {
		outer := indentOf(text, o.open)
		v, err := renderJSON(text, value, outer+jsonIndent)
		nl := lineEnd(text)
		return splice(text, o.open+1, o.end-1, nl+outer+jsonIndent+`"`+name+`": `+v+nl+outer), err
	}
	m, ok := o.find(before)
	if !ok {
		m = o.members[0]
	}
	indent := indentOf(text, m.key)
	v, err := renderJSON(text, value, indent)
	gap := " "
	if strings.HasSuffix(string(text[:m.key]), "\n"+indent) {
		gap = lineEnd(text) + indent
	}
	return splice(text, m.key, m.key, `"`+name+`": `+v+","+gap), err
}

func replaceJSON(text []byte, m member, value any) ([]byte, error) {
	v, err := renderJSON(text, value, indentOf(text, m.key))
	return splice(text, m.value, m.end, v), err
}

func renderJSON(text []byte, value any, indent string) (string, error) {
	b, err := json.MarshalIndent(value, indent, jsonIndent)
	return strings.ReplaceAll(string(b), "\n", lineEnd(text)), err
}

// indentOf is the white space that the line of at begins with.
func indentOf(text []byte, at int) string {
	line := text[bytes.LastIndexByte(text[:at], '\n')+1 : at]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}
