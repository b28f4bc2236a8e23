package ops

import "testing"

func TestCheckConnection(t *testing.T) {
	socket := d{"type": "rawsocket", "endpoint": d{"type": "unix", "path": "x"}, "serializer": "cbor"}
	tcp := change(socket, "endpoint", d{"type": "tcp", "host": "h", "port": 1})
	good := d{"transport": socket, "auth": d{"anonymous-proxy": d{"type": "static"}}}
	for name, c := range map[string]struct {
		config d
		want   string
	}{
		"through a socket":      {good, ""},
		"with no word of auth":  {change(good, "auth", absent), ""},
		"signed, over TCP":      {d{"transport": tcp, "auth": d{"cryptosign-proxy": d{"type": "static"}}}, ""},
		"an unknown key":        {change(good, "realm", "a"), "connection_config.realm"},
		"no transport":          {change(good, "transport", absent), "connection_config.transport"},
		"an unknown key in it":  {change(good, "transport", change(socket, "id", "a")), "connection_config.transport.id"},
		"auth of no dict":       {change(good, "auth", "none"), "connection_config.auth"},
		"auth of nothing":       {change(good, "auth", d{}), "connection_config.auth"},
		"another way":           {change(good, "auth", d{"ticket": d{}}), "connection_config.auth.ticket"},
		"unsigned, over TCP":    {change(good, "transport", tcp), "connection_config.auth"},
		"nothing said, and TCP": {d{"transport": tcp}, "connection_config.auth"},
	} {
		if got := blamed(t, checkConnection(c.config)); got != c.want {
			t.Errorf("%s: blames %q, expected %q", name, got, c.want)
		}
	}
}

func TestCheckRoute(t *testing.T) {
	for name, c := range map[string]struct {
		config d
		want   string
	}{
		"one":             {d{"realm": "com.a", "roles": d{"anonymous": "c1"}}, ""},
		"no realm":        {d{"realm": "", "roles": d{"anonymous": "c1"}}, "realm_name"},
		"no role":         {d{"realm": "com.a", "roles": d{}}, "route_config"},
		"no connection":   {d{"realm": "com.a", "roles": d{"anonymous": ""}}, "route_config.anonymous"},
		"two connections": {d{"realm": "com.a", "roles": d{"anonymous": []any{"c1"}}}, "route_config.anonymous"},
	} {
		if got := blamed(t, checkRoute(c.config)); got != c.want {
			t.Errorf("%s: blames %q, expected %q", name, got, c.want)
		}
	}
}
