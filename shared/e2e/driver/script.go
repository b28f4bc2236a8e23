package driver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// scripted is a client in a process of its own, which a script in the directory
// autobahn drives.
type scripted struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	who    Identity
	events *Events
	stderr *bytes.Buffer
	joined chan answer
	done   chan struct{}

	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	left    *Left
}

// answer is a line of the script's output.
type answer struct {
	ID     int       `json:"id"`
	Result any       `json:"result"`
	Error  *Error    `json:"error"`
	Joined *Identity `json:"joined"`
	Left   *Left     `json:"left"`
	Event  *Event    `json:"event"`
}

// python is Autobahn|Python.
func (l Libraries) python(ctx context.Context, login Login) (Client, error) {
	cmd := exec.Command(l.Python, "-u", filepath.Join(l.Scripts, "client.py")) //nolint:noctx // it lives until Close
	return startScript(ctx, cmd, login)
}

// js is autobahn-js. It takes a CA from its environment alone.
func (l Libraries) js(ctx context.Context, login Login) (Client, error) {
	cmd := exec.Command(l.Node, filepath.Join(l.Scripts, "client.js")) //nolint:noctx // it lives until Close
	cmd.Env = append(os.Environ(), "NODE_PATH="+l.Modules)
	if login.CA != "" {
		cmd.Env = append(cmd.Env, "NODE_EXTRA_CA_CERTS="+login.CA)
	}
	return startScript(ctx, cmd, login)
}

func startScript(ctx context.Context, cmd *exec.Cmd, l Login) (Client, error) {
	a := &scripted{cmd: cmd, events: newEvents(), stderr: &bytes.Buffer{}, waiting: map[int]chan answer{}, joined: make(chan answer, 1), done: make(chan struct{})}
	a.cmd.Stderr = a.stderr
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if a.stdin, err = a.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("cannot start Autobahn: %w", err)
	}
	stdout, err := a.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("cannot start Autobahn: %w", err)
	}
	if err := a.cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start Autobahn: %w", err)
	}
	go a.read(stdout)
	if err := a.say(l.command()); err != nil {
		return nil, errors.Join(err, a.Close())
	}
	select {
	case first := <-a.joined:
		if first.Joined != nil {
			a.who = *first.Joined
			return a, nil
		}
		return nil, errors.Join(first.Left, a.Close())
	case <-a.done:
		return nil, fmt.Errorf("cannot join with Autobahn: it ended: %s", a.stderr)
	case <-ctx.Done():
		return nil, errors.Join(ctx.Err(), a.Close())
	}
}

// command is the log-in as the scripts read it.
func (l Login) command() map[string]any {
	join := map[string]any{"do": "join", "url": l.URL, "realm": l.Realm, "serializer": l.Serializer}
	for name, value := range map[string]string{"key": l.KeyFile, "ticket": l.TicketFile, "secret": l.SecretFile, "authid": l.AuthID, "ca": l.CA} {
		if value != "" {
			join[name] = value
		}
	}
	return join
}

func (a *scripted) read(stdout io.Reader) {
	defer close(a.done)
	lines := bufio.NewReaderSize(stdout, 64<<10)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var m answer
		if json.Unmarshal(line, &m) != nil {
			continue
		}
		switch {
		case m.Event != nil:
			a.events.add(*m.Event)
		case m.Joined != nil:
			a.joined <- m
		case m.Left != nil:
			a.mu.Lock()
			if a.left == nil {
				a.left = m.Left
			}
			a.mu.Unlock()
			select {
			case a.joined <- m:
			default:
			}
		default:
			a.mu.Lock()
			ch := a.waiting[m.ID]
			delete(a.waiting, m.ID)
			a.mu.Unlock()
			if ch != nil {
				ch <- m
			}
		}
	}
	_ = a.cmd.Wait() // its exit code says nothing that the lines did not
}

func (a *scripted) say(command map[string]any) error {
	b, err := json.Marshal(command)
	if err != nil {
		return fmt.Errorf("cannot tell Autobahn: %w", err)
	}
	if _, err := a.stdin.Write(append(b, '\n')); err != nil {
		return fmt.Errorf("cannot tell Autobahn: %w", err)
	}
	return nil
}

func (a *scripted) ask(ctx context.Context, command map[string]any) (any, error) {
	ch := make(chan answer, 1)
	a.mu.Lock()
	a.next++
	command["id"] = a.next
	a.waiting[a.next] = ch
	err := a.say(command)
	a.mu.Unlock()
	if err != nil {
		return nil, err
	}
	select {
	case m := <-ch:
		if m.Error != nil {
			return nil, m.Error
		}
		return m.Result, nil
	case <-a.done:
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.left != nil {
			return nil, a.left
		}
		return nil, errors.New("Autobahn ended: " + a.stderr.String())
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (a *scripted) Identity() Identity { return a.who }
func (a *scripted) Events() *Events    { return a.events }

func (a *scripted) Call(ctx context.Context, uri string, args []any, kwargs map[string]any) (any, error) {
	command := map[string]any{"do": "call", "uri": uri, "args": args, "kwargs": kwargs}
	if deadline, ok := ctx.Deadline(); ok {
		// A tenth less, so that the answer to it comes before ctx ends.
		command["timeout"] = time.Until(deadline).Seconds() * 0.9
	}
	return a.ask(ctx, command)
}

func (a *scripted) Subscribe(ctx context.Context, topic, match string) error {
	command := map[string]any{"do": "subscribe", "topic": topic}
	if match != "" {
		command["match"] = match
	}
	_, err := a.ask(ctx, command)
	return err
}

func (a *scripted) Register(ctx context.Context, uri string) error {
	_, err := a.ask(ctx, map[string]any{"do": "register", "uri": uri})
	return err
}

func (a *scripted) Publish(ctx context.Context, topic string, args []any, kwargs map[string]any) error {
	_, err := a.ask(ctx, map[string]any{"do": "publish", "topic": topic, "args": args, "kwargs": kwargs})
	return err
}

// Left is how the session ended, once it has.
func (a *scripted) Left(ctx context.Context) (Left, error) {
	select {
	case <-a.done:
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.left == nil {
			return Left{}, errors.New("Autobahn ended without a word: " + a.stderr.String())
		}
		return *a.left, nil
	case <-ctx.Done():
		return Left{}, fmt.Errorf("the session goes on: %w", context.Cause(ctx))
	}
}

// Close ends the session and its process.
func (a *scripted) Close() error {
	_ = a.stdin.Close() // the script leaves when its commands end
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-a.done:
	case <-t.C:
		_ = a.cmd.Process.Kill()
		<-a.done
	}
	return nil
}
