package catalog

import (
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// Stream is the rows of one kind of stream: Open gives a dict with stream, its
// id; Read and Close take that. Write and Resize have no row where nothing goes in.
type Stream struct {
	Open   *Op
	Read   Spec[ReadStreamIn, map[string]any]
	Close  Spec[OnStream, map[string]any]
	Write  Spec[WriteStreamIn, WrittenStream]
	Resize Spec[ResizeStreamIn, ResizedStream]
}

// Kind is what tells streams of this kind from others.
func (s Stream) Kind() string { return s.Open.Key() }

// Arguments of streams.
type (
	// ReadStreamIn is a step through a stream.
	ReadStreamIn struct {
		Stream string `wamp:"stream" doc:"the stream, as it was opened"`
		From   int64  `wamp:"from" doc:"number of the first record that is wanted: 0, then next of the last answer; what is before it is given up"`
		Max    int64  `wamp:"max,optional" default:"262144" doc:"how many bytes at most, up to 1048576; one record comes in any case"`
		Wait   int64  `wamp:"wait,optional" default:"0" doc:"milliseconds to wait for a record, up to 60000"`
	}
	// OnStream names a stream.
	OnStream struct {
		Stream string `wamp:"stream" doc:"the stream, as it was opened"`
	}
	// WriteStreamIn is what goes into a stream.
	WriteStreamIn struct {
		Stream string `wamp:"stream" doc:"the stream, as it was opened"`
		Data   any    `wamp:"data" doc:"text or bytes"`
		At     *int64 `wamp:"at,optional" doc:"how many bytes were written before these, so that a call may be repeated: what has come already is left out"`
		EOF    bool   `wamp:"eof,optional" doc:"nothing comes behind these"`
	}
	// ResizeStreamIn is the size of a terminal.
	ResizeStreamIn struct {
		Stream string `wamp:"stream" doc:"the stream, as it was opened"`
		Rows   int64  `wamp:"rows" doc:"lines, 1 to 10000"`
		Cols   int64  `wamp:"cols" doc:"columns, 1 to 10000"`
	}
)

// Arguments of the streams of containers.
type (
	// OpenDockerLogsIn says which output of a container is wanted.
	OpenDockerLogsIn struct {
		Container DockerName `wamp:"container_id" doc:"the container: its id or name"`
		Since     *string    `wamp:"since,optional" doc:"not before this time: ISO 8601, or a duration before now such as 10m"`
		Tail      *int64     `wamp:"tail,optional" doc:"only so many records from the end"`
		Follow    bool       `wamp:"follow,optional" doc:"go on with what the container writes from now on, until it stops"`
		After     *string    `wamp:"after,optional" doc:"go on behind this position of an earlier answer, in place of since and tail"`
	}
	// ExecDockerContainerIn is a command to run in a container.
	ExecDockerContainerIn struct {
		Container DockerName     `wamp:"container_id" doc:"the container: its id or name"`
		Cmd       []string       `wamp:"cmd" doc:"the command and its arguments; no shell reads them"`
		TTY       bool           `wamp:"tty,optional" doc:"at a terminal of its own; stdout and stderr are one then"`
		Input     bool           `wamp:"input,optional" doc:"its standard input is written to"`
		Env       map[string]any `wamp:"env,optional" doc:"environment variables to set, each a string"`
		User      string         `wamp:"user,optional" doc:"user, or user:group, that runs it; the container's where it is not given"`
		Workdir   string         `wamp:"workdir,optional" doc:"directory in which it runs; the container's where it is not given"`
		Rows      int64          `wamp:"rows,optional" default:"24" doc:"lines of the terminal"`
		Cols      int64          `wamp:"cols,optional" default:"80" doc:"columns of the terminal"`
	}
)

// Results of streams.
type (
	// OpenedStream is a stream that is there to be read.
	OpenedStream struct {
		Stream      string `json:"stream"`
		ContainerID string `json:"container_id"`
		TTY         bool   `json:"tty"`
	}
	// WrittenStream counts what has gone in.
	WrittenStream struct {
		Stream  string `json:"stream"`
		Written int64  `json:"written"`
	}
	// ResizedStream is a terminal's new size.
	ResizedStream struct {
		Stream string `json:"stream"`
		Rows   int64  `json:"rows"`
		Cols   int64  `json:"cols"`
	}
)

// streamEnd is how the doc of every stream tells its end.
const streamEnd = "end is null while the stream goes on, then {reason, error, message, …}"

var (
	streamErrors = []cfcerr.Kind{cfcerr.NoSuchObject, cfcerr.Busy, cfcerr.DeniedByHost}
	openErrors   = []cfcerr.Kind{cfcerr.NoSuchObject, cfcerr.NotRunning, cfcerr.LimitExceeded, cfcerr.Unavailable, cfcerr.DeniedByHost}
)

// Rows of the output of containers.
var (
	DockerOpenLogs = define[OpenDockerLogsIn, OpenedStream](Op{Realm: Remote, Area: "docker", Name: "open_docker_logs", Scope: Node, Host: true, Access: Read,
		Doc: "Open the output of a container as a stream.", Errors: openErrors})
	DockerReadLogs = define[ReadStreamIn, map[string]any](Op{Realm: Remote, Area: "docker", Name: "read_docker_logs", Scope: Node, Host: true, Access: Read, Timeout: 90 * time.Second, OnStream: true,
		Doc:     "Read on in a container's output. A read whose answer was lost may be made again.",
		Returns: "records (each {time, stream: stdout or stderr, data: text, or bytes where it is no UTF-8}, or {gap: {lost, reason}} where some are missing), next, position (where another open goes on), " + streamEnd,
		Errors:  streamErrors})
	DockerCloseLogs = define[OnStream, map[string]any](Op{Realm: Remote, Area: "docker", Name: "close_docker_logs", Scope: Node, Host: true, Access: Read, OnStream: true,
		Doc: "Close the stream of a container's output.", Returns: "stream, end", Errors: streamErrors})
)

// Rows of commands in containers.
var (
	DockerExec = define[ExecDockerContainerIn, OpenedStream](Op{Realm: Remote, Area: "docker", Name: "exec_docker_container", Scope: Node, Host: true, Access: Admin,
		Doc: "Run a command in a container; its output is a stream. It is killed when the stream is closed, or expires because nobody reads it.", Errors: openErrors})
	DockerReadExec = define[ReadStreamIn, map[string]any](Op{Realm: Remote, Area: "docker", Name: "read_docker_exec", Scope: Node, Host: true, Access: Admin, Timeout: 90 * time.Second, OnStream: true,
		Doc:     "Read on in a command's output. A read whose answer was lost may be made again.",
		Returns: "records (each {stream: stdout or stderr, data: text, or bytes where it is no UTF-8}), next, position (null), " + streamEnd + ", with exit_code of a command that has ended", Errors: streamErrors})
	DockerWriteExec = define[WriteStreamIn, WrittenStream](Op{Realm: Remote, Area: "docker", Name: "write_docker_exec", Scope: Node, Host: true, Access: Admin, OnStream: true,
		Doc: "Write to a command's standard input, or type at its terminal. Returns when it is taken; one write at a time.", Errors: append(streamErrors, cfcerr.NotRunning)})
	DockerResizeExec = define[ResizeStreamIn, ResizedStream](Op{Realm: Remote, Area: "docker", Name: "resize_docker_exec", Scope: Node, Host: true, Access: Admin, OnStream: true,
		Doc: "Give a command's terminal another size.", Errors: append(streamErrors, cfcerr.NotRunning)})
	DockerCloseExec = define[OnStream, map[string]any](Op{Realm: Remote, Area: "docker", Name: "close_docker_exec", Scope: Node, Host: true, Access: Admin, OnStream: true,
		Doc: "Close the stream of a command, and kill the command if it still runs.", Returns: "stream, end (killed: whether it was; not_killed: why it goes on)", Errors: streamErrors})
)

// Streams of containers.
var (
	DockerLogs  = Stream{Open: DockerOpenLogs.Op, Read: DockerReadLogs, Close: DockerCloseLogs}
	DockerExecs = Stream{Open: DockerExec.Op, Read: DockerReadExec, Close: DockerCloseExec, Write: DockerWriteExec, Resize: DockerResizeExec}
)
