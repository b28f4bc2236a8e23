package ops

import "testing"

func TestCheckGuest(t *testing.T) {
	with := func(key string, v any) d { return d{"executable": "sh", "options": d{key: v}} }
	for name, c := range map[string]struct {
		config d
		want   string
	}{
		"a program":             {d{"executable": "sh"}, ""},
		"with all":              {d{"executable": "sh", "arguments": []any{"-c"}, "options": d{"env": d{}, "workdir": ".", "stdin": "close", "stdout": "log", "stderr": "drop", "watch": d{}}}, ""},
		"with input":            {with("stdin", d{"type": "json", "value": 1}), ""},
		"an unknown key":        {d{"executable": "sh", "args": []any{}}, "config.args"},
		"no program":            {d{"executable": ""}, "config.executable"},
		"arguments of no list":  {d{"executable": "sh", "arguments": "-c"}, "config.arguments"},
		"an odd argument":       {d{"executable": "sh", "arguments": []any{"-c", 1}}, "config.arguments[1]"},
		"options of no dict":    {d{"executable": "sh", "options": "x"}, "config.options"},
		"an unknown option":     {with("color", "red"), "config.options.color"},
		"an odd environment":    {with("env", "x"), "config.options.env"},
		"an odd watch":          {with("watch", true), "config.options.watch"},
		"an odd directory":      {with("workdir", 1), "config.options.workdir"},
		"odd output":            {with("stdout", "keep"), "config.options.stdout"},
		"odd errors":            {with("stderr", nil), "config.options.stderr"},
		"odd input":             {with("stdin", d{"type": "json"}), "config.options.stdin"},
		"input of another type": {with("stdin", d{"type": "text", "value": ""}), "config.options.stdin"},
	} {
		if got := blamed(t, checkGuest(c.config)); got != c.want {
			t.Errorf("%s: blames %q, expected %q", name, got, c.want)
		}
	}
}
