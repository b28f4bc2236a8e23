package ops

import (
	"fmt"

	"fabric.center/cfc/shared/cfcerr"
	"github.com/gammazero/nexus/v3/wamp"
)

// What a guest's configuration and its options may have.
var (
	guestKeys    = []string{"id", "executable", "arguments", "options"}
	guestOptions = []string{"env", "workdir", "stdin", "stdout", "stderr", "watch"}
)

// checkGuest names what is wrong; the node would only say that something is.
func checkGuest(config map[string]any) error {
	if err := onlyKeys("config", config, guestKeys); err != nil {
		return err
	}
	if exe, ok := config["executable"].(string); !ok || exe == "" {
		return cfcerr.Argument("config.executable", "a program to run")
	}
	arguments, ok := wamp.AsList(config["arguments"])
	if config["arguments"] != nil && !ok {
		return cfcerr.Argument("config.arguments", "a list of strings")
	}
	for i, a := range arguments {
		if _, ok := a.(string); !ok {
			return cfcerr.Argument(fmt.Sprintf("config.arguments[%d]", i), "a string")
		}
	}
	options, ok := wamp.AsDict(config["options"])
	if !ok {
		return cfcerr.Argument("config.options", "a dict")
	}
	return checkGuestOptions("config.options", options)
}

func checkGuestOptions(at string, options map[string]any) error {
	if err := onlyKeys(at, options, guestOptions); err != nil {
		return err
	}
	for _, key := range []string{"env", "watch"} {
		if d, ok := wamp.AsDict(options[key]); options[key] != nil && (!ok || d == nil) {
			return cfcerr.Argument(at+"."+key, "a dict")
		}
	}
	if dir, given := options["workdir"]; given {
		if s, ok := dir.(string); !ok || s == "" {
			return cfcerr.Argument(at+".workdir", "a directory, absolute or from the node's")
		}
	}
	for _, key := range []string{"stdout", "stderr"} {
		if v, given := options[key]; given && v != "close" && v != "log" && v != "drop" {
			return cfcerr.Argument(at+"."+key, "close, log or drop")
		}
	}
	stdin, given := options["stdin"]
	if !given || stdin == "close" {
		return nil
	}
	d, _ := wamp.AsDict(stdin)
	if _, has := d["value"]; !has || d["type"] != "json" {
		return cfcerr.Argument(at+".stdin", "close, or a dict of type json and value")
	}
	return nil
}
