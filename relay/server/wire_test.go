package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"fabric.center/cfc/shared/wire"
	"github.com/gorilla/websocket"
)

// TestWire plays the transcripts of testdata/wire against a relay: what the
// edge says to whom, word for word. Each is headed by what it guards. Its lines:
//
//	# a remark
//	vera dials /ws       opens a connection and says nothing
//	vera joins demo      logs in, unseen; an agent joins by its node's name
//	n1 serves            the same, and registers its procedure
//	vera → [48,1,…]      sends; a name such as vera/2 is a second connection
//	vera ← [50,1,…]      is what has to come next
//	vera ← end           the relay closes the connection
//	vera leaves          closes it from this side
//
// What differs from run to run has a name, the same wherever it stands: <id1>,
// <uuid1>, <hex1>. <key vera> is a public key, <signature> that of the last
// challenge, <token carol> a token, <time> any time. -update writes what comes
// into the lines with ←, which may be left open after the arrow.
func TestWire(t *testing.T) {
	files, err := filepath.Glob("testdata/wire/*.txt")
	must(t, err)
	if len(files) == 0 {
		t.Fatal("no transcripts")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			want, err := os.ReadFile(file)
			must(t, err)
			got := newStage(t).play(string(want))
			if *update && !t.Failed() {
				must(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			w, g := strings.Split(string(want), "\n"), strings.Split(got, "\n")
			for i := range w {
				if w[i] != g[i] {
					t.Errorf("line %d, expected\n%s\ngot\n%s", i+1, w[i], g[i])
				}
			}
			if !strings.HasPrefix(got, "# ") {
				t.Error("the transcript does not say what it guards")
			}
		})
	}
}

// play carries a transcript out and returns it with what came.
func (s *stage) play(text string) string {
	s.t.Helper()
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		who, rest, _ := strings.Cut(line, " ")
		verb, what, _ := strings.Cut(rest, " ")
		switch {
		case line == "" || who == "#":
		case verb == "dials":
			s.dial(who, what)
		case verb == "joins":
			s.logIn(who, what)
		case verb == "serves":
			s.logIn(who, "demo")
			s.say(who, fmt.Sprintf(`[64,1,{},"%s"]`, wire.NodeProcedure(who)))
			s.hear(who)
		case verb == "→":
			s.say(who, s.replace(who, what))
		case verb == "←":
			lines[i] = who + " ← " + s.name(s.hear(who))
		case verb == "leaves":
			must(s.t, s.conns[who].Close())
			delete(s.conns, who)
		default:
			s.t.Fatalf("line %d makes no sense: %s", i+1, line)
		}
	}
	for who := range s.joined {
		if s.conns[who] == nil {
			continue
		}
		s.say(who, `[48,99999,{},"cfc.nothing"]`)
		if m := s.hear(who); !strings.HasPrefix(m, "[8,48,99999,") {
			s.t.Errorf("%s has yet to hear %s", who, s.name(m))
		}
	}
	return strings.Join(lines, "\n")
}

func (s *stage) dial(who, path string) {
	s.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{"wamp.2.json"}}
	c, resp, err := d.DialContext(s.t.Context(), s.relay.URL()+path, nil)
	must(s.t, err)
	resp.Body.Close()
	s.t.Cleanup(func() { c.Close() })
	s.conns[who] = c
}

// logIn is what most transcripts begin with and do not show.
func (s *stage) logIn(who, realm string) {
	s.t.Helper()
	path, details := wire.UserPath, ""
	if strings.HasPrefix(who, "n") {
		path, details = wire.AgentPath, `,"authrole":"node"`
	}
	s.dial(who, path)
	s.say(who, s.replace(who, fmt.Sprintf(`[1,"%s",{"roles":{"caller":{}},"authmethods":["cryptosign"],"authextra":{"pubkey":"<key %s>"}%s}]`, realm, keyOf(who), details)))
	s.hear(who)
	s.say(who, s.replace(who, `[5,"<signature>",{}]`))
	if m := s.hear(who); !strings.HasPrefix(m, "[2,") {
		s.t.Fatalf("%s joins %s: %s", who, realm, m)
	}
	s.joined[who] = true
}

func (s *stage) say(who, text string) {
	s.t.Helper()
	c := s.conns[who]
	if c == nil {
		s.t.Fatalf("%s has no connection", who)
	}
	must(s.t, c.WriteMessage(websocket.TextMessage, []byte(text)))
}

// hear is the next message of a connection, its dicts sorted, or "end".
func (s *stage) hear(who string) string {
	s.t.Helper()
	c := s.conns[who]
	if c == nil {
		s.t.Fatalf("%s has no connection", who)
	}
	must(s.t, c.SetReadDeadline(time.Now().Add(10*time.Second)))
	_, b, err := c.ReadMessage()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		s.t.Fatalf("%s hears nothing", who)
	}
	if err != nil {
		delete(s.conns, who)
		return "end"
	}
	if m := challengeIn.FindSubmatch(b); m != nil {
		s.challenge[who] = string(m[1])
	}
	return sorted(s.t, b)
}

var challengeIn = regexp.MustCompile(`^\[4,.*"challenge":"([0-9a-f]+)"`)

// what differs from run to run.
var (
	randomID  = regexp.MustCompile(`([\[,:])([0-9]{8,})([,\]}])`)
	timestamp = regexp.MustCompile(`[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z`)
	uuid      = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
	hexBytes  = regexp.MustCompile(`[0-9a-f]{64,}`)
	address   = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`)
	holder    = regexp.MustCompile(`<[^<>]+>`)
)

// name puts names for what differs from run to run.
func (s *stage) name(text string) string {
	for n, k := range s.keys {
		text = strings.ReplaceAll(text, k.Public(), "<key "+n+">")
	}
	text = randomID.ReplaceAllStringFunc(text, func(m string) string {
		return m[:1] + s.called("id", m[1:len(m)-1]) + m[len(m)-1:]
	})
	text = timestamp.ReplaceAllString(text, "<time>")
	text = uuid.ReplaceAllStringFunc(text, func(m string) string { return s.called("uuid", m) })
	text = hexBytes.ReplaceAllStringFunc(text, func(m string) string { return s.called("hex", m) })
	return address.ReplaceAllString(text, "<address>")
}

// called is the name of a value, by the order in which they came.
func (s *stage) called(kind, value string) string {
	for name, v := range s.values {
		if v == value && strings.HasPrefix(name, "<"+kind) {
			return name
		}
	}
	s.count[kind]++
	name := fmt.Sprintf("<%s%d>", kind, s.count[kind])
	s.values[name] = value
	return name
}

// replace puts values for names into what is sent.
func (s *stage) replace(who, text string) string {
	s.t.Helper()
	return holder.ReplaceAllStringFunc(text, func(m string) string {
		if kind, n, ok := strings.Cut(strings.Trim(m, "<>"), " "); ok && kind == "key" {
			return s.keys[n].Public()
		}
		if m == "<signature>" {
			signature, err := s.keys[keyOf(who)].Sign(s.challenge[who], nil)
			must(s.t, err)
			return signature
		}
		v, ok := s.values[m]
		if !ok {
			s.t.Fatalf("nothing is called %s", m)
		}
		return v
	})
}

// keyOf is whose key a connection such as vera/2 uses.
func keyOf(who string) string {
	name, _, _ := strings.Cut(who, "/")
	return name
}

// sorted is JSON with its dicts in order and its text as it is.
func sorted(t *testing.T, b []byte) string {
	t.Helper()
	d := newDecoder(b)
	var v any
	must(t, d.Decode(&v))
	var out bytes.Buffer
	e := newEncoder(&out)
	must(t, e.Encode(v))
	return strings.TrimSuffix(out.String(), "\n")
}
