package ops

import (
	"testing"
)

func with(d map[string]any, key string, v any) map[string]any {
	out := without(d, key)
	if v != nil {
		out[key] = v
	}
	return out
}

func TestCheckTransport(t *testing.T) {
	tcp := d{"type": "tcp", "port": 8080}
	ws := d{"type": "websocket", "endpoint": tcp}
	web := func(paths any) d { return d{"type": "web", "endpoint": tcp, "paths": paths} }
	uni := func(web any) d { return d{"type": "universal", "endpoint": tcp, "rawsocket": d{}, "web": web} }
	at := func(key string, v any) d { return with(ws, "endpoint", with(tcp, key, v)) }
	info := d{"type": "nodeinfo"}
	for name, c := range map[string]struct {
		config d
		want   string
	}{
		"websocket":              {ws, ""},
		"rawsocket":              {with(ws, "type", "rawsocket"), ""},
		"unix":                   {with(ws, "endpoint", d{"type": "unix", "path": "x"}), ""},
		"TLS":                    {at("tls", d{"key": "k.pem", "certificate": "c.pem"}), ""},
		"a port of the node":     {at("port", "$PORT"), ""},
		"web":                    {web(d{"/": d{"type": "json"}, "ws": d{"type": "websocket"}, "deep": d{"type": "path", "paths": d{"/": d{"type": "json"}, "a": info}}}), ""},
		"web of one leaf":        {web(d{"/": info}), ""},
		"universal":              {uni(d{"paths": d{"a": info}}), ""},
		"universal without web":  {with(uni(nil), "web", nil), ""},
		"no type":                {with(ws, "type", nil), "transport_config.type"},
		"an unknown type":        {with(ws, "type", "carrier pigeon"), "transport_config.type"},
		"no endpoint":            {with(ws, "endpoint", nil), "transport_config.endpoint"},
		"an endpoint of no dict": {with(ws, "endpoint", "tcp:8080"), "transport_config.endpoint"},
		"an unknown endpoint":    {at("type", "udp"), "transport_config.endpoint.type"},
		"no port":                {at("port", nil), "transport_config.endpoint.port"},
		"a port too big":         {at("port", 65536), "transport_config.endpoint.port"},
		"a port of words":        {at("port", "http"), "transport_config.endpoint.port"},
		"no path of a socket":    {with(ws, "endpoint", d{"type": "unix"}), "transport_config.endpoint.path"},
		"TLS of no dict":         {at("tls", true), "transport_config.endpoint.tls"},
		"TLS without key":        {at("tls", d{"certificate": "c.pem"}), "transport_config.endpoint.tls.key"},
		"TLS without a chain":    {at("tls", d{"key": "k.pem"}), "transport_config.endpoint.tls.certificate"},
		"web without paths":      {with(web(nil), "paths", nil), "transport_config.paths"},
		"paths of no dict":       {web([]any{}), "transport_config.paths"},
		"a path with a slash":    {web(d{"/ws": info}), "transport_config.paths./ws"},
		"a path in a path":       {web(d{"a/b": info}), "transport_config.paths.a/b"},
		"a path of no dict":      {web(d{"a": "nodeinfo"}), "transport_config.paths.a"},
		"an unknown service":     {web(d{"a": d{"type": "magic"}}), "transport_config.paths.a.type"},
		"a root that hides":      {web(d{"/": info, "a": info}), "transport_config.paths./.type"},
		"nothing in a path":      {web(d{"a": d{"type": "path"}}), "transport_config.paths.a.paths"},
		"an unknown one within":  {web(d{"a": d{"type": "path", "paths": d{"b": d{}}}}), "transport_config.paths.a.paths.b.type"},
		"web of no dict":         {uni("yes"), "transport_config.web"},
		"universal, no paths":    {uni(d{"options": d{}}), "transport_config.web.paths"},
	} {
		if got := blamed(t, checkTransport(c.config)); got != c.want {
			t.Errorf("%s: blames %q, expected %q", name, got, c.want)
		}
	}
	if got := blamed(t, TransportPath.Check(d{"type": "magic"})); got != "path_config.type" {
		t.Errorf("a path alone: blames %q", got)
	}
}

func TestWhatRunsCode(t *testing.T) {
	for name, c := range map[string]struct {
		config d
		code   bool
	}{
		"websocket":          {d{"type": "websocket", "endpoint": d{"type": "tcp"}}, false},
		"a static ticket":    {d{"type": "websocket", "auth": d{"ticket": d{"type": "static", "principals": d{}}}}, false},
		"a dynamic one":      {d{"type": "websocket", "auth": d{"ticket": d{"type": "dynamic", "authenticator": "com.x"}}}, false},
		"a function":         {d{"type": "websocket", "auth": d{"ticket": d{"type": "function", "create": "x.y"}}}, true},
		"wsgi on a path":     {d{"type": "web", "paths": d{"a": d{"type": "wsgi"}}}, true},
		"cgi on a deep one":  {d{"type": "web", "paths": d{"a": d{"type": "path", "paths": d{"b": d{"type": "cgi"}}}}}, true},
		"a resource":         {d{"type": "resource"}, true},
		"a folder":           {d{"type": "static", "directory": "web/v1.2"}, false},
		"another's folder":   {d{"type": "web", "paths": d{"/": d{"type": "static", "directory": "/var/lib/cfc-agent/keys"}}}, true},
		"one beside":         {d{"type": "static", "directory": "web/../../keys"}, true},
		"that of the keys":   {d{"type": "static", "directory": "."}, true},
		"files of a package": {d{"type": "static", "package": "autobahn", "resource": "web"}, false},
		"one in disguise":    {d{"type": "static", "directory": "\u00e9../keys"}, true},
		"a file instead":     {d{"type": "static", "directory": "web", "options": d{"default_file": "/etc/passwd"}}, true},
		"beside a package":   {d{"type": "static", "package": "autobahn", "resource": "../../keys"}, true},
		"pages":              {d{"type": "wap", "templates": "pages"}, false},
		"pages of a package": {d{"type": "wap", "templates": d{"package": "x", "resource": "pages"}}, false},
		"another's pages":    {d{"type": "wap", "templates": "/etc"}, true},
		"pages beside":       {d{"type": "wap", "templates": d{"package": "x", "resource": ".."}}, true},
		"pages that run":     {d{"type": "wap", "templates": "pages", "sandbox": false}, true},
		"an archive":         {d{"type": "archive", "archive": "a.zip"}, false},
		"one to be fetched":  {d{"type": "web", "paths": d{"a": d{"type": "archive", "archive": "/x/a.pth", "origin": "https://x"}}}, true},
		"cookies":            {d{"type": "websocket", "cookie": d{"store": d{"type": "memory"}}}, false},
		"cookies in a file":  {d{"type": "websocket", "cookie": d{"store": d{"type": "file", "filename": "/x/a"}}}, true},
		"in a database":      {d{"type": "web", "paths": d{"ws": d{"type": "websocket", "cookie": d{"store": d{"type": "database", "path": "../x"}}}}}, true},
		"another's archive":  {d{"type": "archive", "archive": "/srv/backup.zip"}, true},
		"a socket":           {d{"type": "rawsocket", "endpoint": d{"type": "unix", "path": "run/a.sock"}}, false},
		"one of the host's":  {d{"type": "rawsocket", "endpoint": d{"type": "unix", "path": "/var/lib/cfc-agent"}}, true},
		"one by a variable":  {d{"type": "rawsocket", "endpoint": d{"type": "unix", "path": "$HOME"}}, true},
		"the whole node":     {d{"type": "universal", "endpoint": d{"type": "unix", "path": "."}}, true},
		"Twisted's own":      {d{"type": "websocket", "endpoint": d{"type": "twisted", "server_string": "unix:/run/x"}}, true},
		"an onion":           {d{"type": "websocket", "endpoint": d{"type": "onion", "private_key_file": "/x/a"}}, true},
	} {
		if got := codeOf(c.config); (got != "") != c.code {
			t.Errorf("%s: %q", name, got)
		}
	}
}
