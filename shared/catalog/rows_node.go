package catalog

import (
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// Arguments of the node area.
type (
	// ShutdownNodeIn says how a node goes down.
	ShutdownNodeIn struct {
		Restart bool `wamp:"restart,optional" doc:"start it again; needs an agent that supervises its node"`
	}
	// GetWorkersIn filters workers.
	GetWorkersIn struct {
		FilterTypes []string `wamp:"filter_types,optional" doc:"only of these types"`
	}
	// GetWorkerIn names a worker.
	GetWorkerIn struct {
		Worker       ObjectID `wamp:"worker_id" doc:"the worker"`
		IncludeStats bool     `wamp:"include_stats,optional" doc:"with traffic between controller and worker"`
	}
	// StartWorkerIn is a worker to be: (worker_id, config) with type in the
	// config, or (worker_id, type, options).
	StartWorkerIn struct {
		Worker  *ObjectID      `wamp:"worker_id" doc:"its id; null makes one up"`
		Config  any            `wamp:"config" doc:"a dict with type (router, container, proxy, guest, websocket-testee) and the worker's options, or the type alone"`
		Options map[string]any `wamp:"options,optional" doc:"the worker's options, when config is the type alone"`
	}
	// CPUCountIn says which CPUs count.
	CPUCountIn struct {
		Logical bool `wamp:"logical,optional" default:"true" doc:"count hardware threads, not cores"`
	}
	// StopWorkerIn is a worker to end.
	StopWorkerIn struct {
		Worker ObjectID `wamp:"worker_id" doc:"the worker"`
		Kill   bool     `wamp:"kill,optional" doc:"end the process at once, without an orderly stop"`
	}
)

// Results of the node area that the agent makes; others are the node's own.
type (
	// NodeShutdown is a node that is down.
	NodeShutdown struct {
		NodeID     string `json:"node_id"`
		Stopped    string `json:"stopped"`
		Restarting bool   `json:"restarting"`
		By         string `json:"by"`
	}
	// Dict is an object of the node, passed on as it is.
	Dict map[string]any
)

// Rows of the node area.
var (
	NodeGetStatus = define[None, Dict](Op{Realm: Remote, Area: "node", Name: "get_status", Scope: Node, Access: Read, Forward: "get_status",
		Doc: "Show a node's status, asked from the node itself.", Returns: "title, started, controller_pid, running_workers, workers_by_type, directory, pubkey, …"})
	NodeShutdownOp = define[ShutdownNodeIn, NodeShutdown](Op{Realm: Remote, Area: "node", Name: "shutdown", Scope: Node, Access: Admin, Timeout: time.Minute,
		Doc: "Shut a node down, with its workers, in order. Returns when it is down.", Emits: []string{"on_worker_stopped"},
		Errors: []cfcerr.Kind{cfcerr.NotSupported, cfcerr.DeniedByHost}})
	NodeGetWorkers = define[GetWorkersIn, []string](Op{Realm: Remote, Area: "node", Name: "get_workers", Scope: Node, Access: Read,
		Doc: "List the workers of a node.", Returns: "worker ids, sorted"})
	NodeGetWorker = define[GetWorkerIn, Dict](Op{Realm: Remote, Area: "node", Name: "get_worker", Scope: Node, Access: Read, Forward: "get_worker",
		Doc: "Show a worker of a node.", Returns: "id, pid, type, status, created, started, startup_time, uptime", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}})
	NodeStartWorker = define[StartWorkerIn, Dict](Op{Realm: Remote, Area: "node", Name: "start_worker", Scope: Node, Access: Write, Timeout: time.Minute,
		Doc: "Start a worker process. Returns when it is ready; a guest worker (any executable) is for owners only, and so are the options python, pythonpath and env.", Returns: "id, pid, type, status, started, startup_time, who",
		Emits:  []string{"on_worker_starting", "on_worker_started"},
		Errors: []cfcerr.Kind{cfcerr.AlreadyRunning, cfcerr.InvalidConfiguration, cfcerr.NotSupported, cfcerr.DeniedByHost}})
	NodeGetCPUCount = define[CPUCountIn, int64](Op{Realm: Remote, Area: "node", Name: "get_cpu_count", Scope: Node, Access: Read, Forward: "get_cpu_count",
		Doc: "Count the CPUs of a node's host.", Returns: "how many"})
	NodeStopWorker = define[StopWorkerIn, Dict](Op{Realm: Remote, Area: "node", Name: "stop_worker", Scope: Node, Access: Write, Timeout: time.Minute,
		Doc: "Stop a worker process. Returns when it is gone.", Returns: "id, type, kill, who, when",
		Emits:  []string{"on_worker_stopping", "on_worker_stopped"},
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NotRunning, cfcerr.DeniedByHost}})
)

// asks declares a row that the node's controller answers.
func asks[In, Out any](name string, access Access, doc, returns string) Spec[In, Out] {
	return define[In, Out](Op{Realm: Remote, Area: "node", Name: name, Scope: Node, Access: access, Forward: name, Doc: doc, Returns: returns})
}

const startedRepair = "A stock controller fails at it; the agent takes it from get_status."

// Rows of the node's host and the controller's process.
var (
	NodeGetSystemStats  = asks[None, Dict]("get_system_stats", Read, "Show what a node's host is busy with.", "cpu, memory, disk, network, …")
	NodeGetCPUs         = asks[None, []int64]("get_cpus", Read, "List the CPUs of a node's host.", "numbers of CPUs")
	NodeGetAffinity     = asks[None, []int64]("get_cpu_affinity", Read, "List the CPUs that the node's controller may use.", "numbers of CPUs")
	NodeGetProcessInfo  = asks[None, Dict]("get_process_info", Read, "Show the process of the node's controller.", "descriptors, files, sockets, threads")
	NodeGetProcessStats = asks[None, Dict]("get_process_stats", Read, "Show what the process of the node's controller takes.", "pid, status, user, system, cpu_percent, mem_percent, resident, virtual, reads, writes, …")
	NodeNow             = asks[None, string]("utcnow", Read, "Ask a node for the time.", "time")
	NodeSetMonitoring   = define[MonitoringIn, any](Op{Realm: Remote, Area: "node", Name: "set_process_stats_monitoring", Scope: Node, Access: Write,
		Doc: "Have the node's controller tell the statistics of its process.", Returns: "null", Errors: []cfcerr.Kind{cfcerr.DeniedByHost}})
	NodeTriggerGC   = asks[None, float64]("trigger_gc", Write, "Have the node's controller collect its garbage.", "ms that it took")
	NodeSetAffinity = define[SetAffinityIn, []int64](Op{Realm: Remote, Area: "node", Name: "set_cpu_affinity", Scope: Node, Access: Write,
		Doc: "Choose the CPUs that the node's controller may use.", Returns: "numbers of CPUs, as they are then", Errors: []cfcerr.Kind{cfcerr.DeniedByHost},
		Repair: badCPUs})
	NodeStarted = define[None, string](Op{Realm: Remote, Area: "node", Name: "started", Scope: Node, Access: Read,
		Doc: "Tell when a node was started.", Returns: "time", Repair: startedRepair})
	NodeUptime = define[None, float64](Op{Realm: Remote, Area: "node", Name: "uptime", Scope: Node, Access: Read,
		Doc: "Tell how long a node runs.", Returns: "seconds", Repair: startedRepair})
)

// Events of the node's own life.
var (
	NodeLife = Life{
		nodeEvent("on_node_starting", "A node is about to be up."),
		nodeEvent("on_node_started", "A node is up: its process is another one than before."),
		nodeEvent("on_node_stopping", "A node is about to be shut down; details hold who asked for it."),
		nodeEvent("on_node_stopped", "A node's process is gone; details hold the reason.")}
	OnNodeHeartbeat = event(Event{Area: "node", Name: "on_node_heartbeat", Args: nodeArgs, By: ByAgent, Access: Read, Passing: true,
		Doc: "A node lives; details hold its heartbeat: workers by type, and figures of its host."})
	OnNodeStats = event(Event{Area: "node", Name: "on_process_stats", Args: []string{"node_id", "stats", "details"}, By: ByAgent, Access: Read, Passing: true,
		Doc: "Statistics of the controller's process, as set_process_stats_monitoring has asked for."})
)

func nodeEvent(name, doc string) *Event {
	return event(Event{Area: "node", Name: name, Args: nodeArgs, By: ByAgent, Access: Read, Doc: doc})
}

// WorkerStarts are the events that tell of workers of one type beside
// on_worker_starting and on_worker_started, in this order.
var WorkerStarts = map[string][2]*Event{"router": typeEvents("router"), "container": typeEvents("container"), "proxy": typeEvents("proxy"), "guest": typeEvents("guest")}

func typeEvents(typ string) [2]*Event {
	at := func(when, doc string) *Event {
		return event(Event{Area: "node", Name: "on_" + typ + "_" + when, Args: workerArgs, By: ByAgent, Access: Read, Doc: "A " + typ + " worker " + doc})
	}
	return [2]*Event{at("starting", "is about to be started."), at("started", "is ready; details hold its pid.")}
}

// Events of workers.
var (
	OnWorkerStarting = event(Event{Area: "node", Name: "on_worker_starting", Args: workerArgs, By: ByAgent, Access: Read, Doc: "A worker is about to be started; details hold its type."})
	OnWorkerStarted  = event(Event{Area: "node", Name: "on_worker_started", Args: workerArgs, By: ByAgent, Access: Read, Doc: "A worker is ready; details hold its type and pid."})
	OnWorkerStopping = event(Event{Area: "node", Name: "on_worker_stopping", Args: workerArgs, By: ByAgent, Access: Read, Doc: "A worker is about to be stopped."})
	OnWorkerStopped  = event(Event{Area: "node", Name: "on_worker_stopped", Args: workerArgs, By: ByAgent, Access: Read, Doc: "A worker is gone, or its start failed; details hold the reason, whoever caused it, and of a guest its exit where the agent can read the node's log."})
)
