package crossbar

import (
	"regexp"
	"strings"
	"unicode"
)

// plain is a line without the colours that a terminal would show, as short as
// an error can be.
func plain(s string) string { return plainLine(s, 300) }

// escape is what tells a terminal to do something: colours, or its title.
var escape = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]?|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?)")

// plainLine is plain at most so many bytes long. Nothing in it does anything to
// a terminal that it is shown on.
func plainLine(s string, most int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if strings.ContainsRune(s, '\x1b') {
		s = escape.ReplaceAllString(s, "")
	}
	line := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r != '\t' && r != '\n' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, s))
	return strings.ToValidUTF8(line[:min(len(line), most)], "")
}

// levelWord is a level where loggers put it: first, or behind a time or a name
// in brackets.
var levelWord = regexp.MustCompile(`^[\[(<]?(?:\d[\d:T.,+/Z -]*[\])>]?\s*)?(?:[\[(<][^\])>]*[\])>]\s*)?[\[(<]?(?i:(debug|info|warn|warning|error|critical|fatal))\b`)

var levels = map[string]string{"warning": "warn", "fatal": "critical"}

// levelOf is how serious a line is, where it says so: the node passes lines on
// without that.
func levelOf(text string) *string {
	level := ""
	if m := levelWord.FindStringSubmatch(text); m != nil {
		level = strings.ToLower(m[1])
	} else if strings.HasPrefix(text, "Traceback (most recent call last)") {
		level = "error"
	}
	if level == "" {
		return nil
	}
	if l, ok := levels[level]; ok {
		level = l
	}
	return &level
}

// aConfig is where a worker of a stock node writes a whole configuration into
// its log, as a proxy does with the connections that it starts or uses: with
// their credentials, while whoever may read the log may not see those.
var aConfig = regexp.MustCompile(`(?s)(config=[^\n]*\n)\s*\{.*`)

func withoutConfig(text string) string { return aConfig.ReplaceAllString(text, "${1}{...}") }
