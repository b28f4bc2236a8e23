package catalog

import (
	"time"

	"fabric.center/cfc/shared/cfcerr"
)

// Arguments of the worker area.
type (
	// WorkerLogIn says which lines of a worker's log are wanted.
	WorkerLogIn struct {
		OnWorker
		Limit int64  `wamp:"limit,optional" default:"100" doc:"at most so many lines, 1 to 10000"`
		From  *int64 `wamp:"from_seq,optional" doc:"from the line with this seq on; null for the last lines"`
		Wait  int64  `wamp:"wait,optional" default:"0" doc:"where there is none, wait so many ms for one, at most 60000"`
	}
	// AddPythonpathIn are directories to look for Python modules in.
	AddPythonpathIn struct {
		OnWorker
		Paths   []string `wamp:"paths" doc:"directories on the node's host, relative ones from the node's directory"`
		Prepend bool     `wamp:"prepend,optional" default:"true" doc:"before the directories that are there"`
	}
	// SetAffinityIn are the CPUs that a process may use.
	SetAffinityIn struct {
		CPUs []int64 `wamp:"cpus" doc:"numbers of CPUs, of those that get_cpus of the node lists"`
	}
	// SetWorkerAffinityIn are the CPUs that a worker may use.
	SetWorkerAffinityIn struct {
		OnWorker
		SetAffinityIn
	}
	// MonitoringIn is how often a process tells its statistics.
	MonitoringIn struct {
		Interval float64 `wamp:"interval" doc:"seconds, 1 to 86400; 0 ends it"`
	}
	// WorkerMonitoringIn is the same for a worker.
	WorkerMonitoringIn struct {
		OnWorker
		MonitoringIn
	}
	// StartProfilerIn is a profile to be.
	StartProfilerIn struct {
		OnWorker
		Profiler *string `wamp:"profiler,optional" doc:"id of one of get_profilers; null for the first"`
		Runtime  float64 `wamp:"runtime,optional" default:"10" doc:"seconds, 1 to 300"`
	}
	// GetProfileIn names a profile.
	GetProfileIn struct {
		OnWorker
		Profile ObjectID `wamp:"profile_id" doc:"the profile, as start_profiler named it"`
	}
	// WorkerCPUsIn says which CPUs count.
	WorkerCPUsIn struct {
		OnWorker
		CPUCountIn
	}
)

// Results of the worker area that the agent makes.
type (
	// LogLine is a line that a worker has written.
	LogLine struct {
		Seq   int64   `json:"seq"` // one up for each line of this worker
		Time  string  `json:"time"`
		Level *string `json:"level"` // null where the line does not tell it
		Text  string  `json:"text"`
	}
	// Profiler is a way to look at what a worker spends its time on.
	Profiler struct {
		ID      string `json:"id"`
		State   string `json:"state"` // inactive, or running
		Version string `json:"version"`
	}
	// ProfileStarted is a profile that is being made.
	ProfileStarted struct {
		ID       string  `json:"id"`
		WorkerID string  `json:"worker_id"`
		Profiler string  `json:"profiler"`
		Runtime  float64 `json:"runtime"`
		Started  string  `json:"started"`
		Who      string  `json:"who"`
	}
	// Profile is a profile, whole once its status is finished.
	Profile struct {
		ID         string         `json:"id"`
		WorkerID   string         `json:"worker_id"`
		Profiler   string         `json:"profiler"`
		Status     string         `json:"status"` // running, finished or failed
		Runtime    float64        `json:"runtime"`
		Started    string         `json:"started"`
		Finished   *string        `json:"finished"`
		Error      *string        `json:"error"`
		Samples    int            `json:"samples"`
		Text       string         `json:"text"`
		Speedscope map[string]any `json:"speedscope" show:"json"` // for the viewer, not for people
	}
	// WorkerShutdown is a worker that is down.
	WorkerShutdown struct {
		NodeID   string `json:"node_id"`
		WorkerID string `json:"worker_id"`
		Type     string `json:"type"`
		Stopped  string `json:"stopped"`
		By       string `json:"by"`
	}
)

var onWorker = []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NotRunning}

// badCPUs is why CPUs are checked here.
const badCPUs = "The node takes places in a list of its own for numbers, negative ones too, and fails without saying why at others; the agent checks the numbers and has the node take them as such."

// looks declares a row that asks a worker's process.
func looks[In, Out any](name, doc, returns string) Spec[In, Out] {
	return define[In, Out](Op{Realm: Remote, Area: "worker", Name: name, Scope: Worker, Access: Read, Forward: name, Doc: doc, Returns: returns, Errors: onWorker})
}

// Rows of the worker area.
var (
	WorkerGetStatus = define[Workers, Dict](Op{Realm: Remote, Area: "worker", Name: "get_status", Scope: Worker, Access: Read,
		Doc: "Show a worker: its process and what runs in it. One that does not answer is shown all the same.", Returns: "id, type, pid, status, created, started, uptime, answering (null where nothing can be asked, as of a guest), process (as get_process_stats, or null), objects (how many of each kind)",
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker}, Repair: "A stock worker has no such procedure; the agent asks for what there is and puts it together."})
	WorkerShutdownOp = define[Workers, WorkerShutdown](Op{Realm: Remote, Area: "worker", Name: "shutdown", Scope: Worker, Access: Write, Timeout: time.Minute,
		Doc:    "Shut a worker down in order, as stop_worker of the node does. Returns when its process is gone.",
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NotRunning, cfcerr.CannotStop, cfcerr.DeniedByHost},
		Repair: "A stock worker tears the call down that asks for it; the agent waits for the end of its process."})
	WorkerGetLog = define[WorkerLogIn, []LogLine](Op{Realm: Remote, Area: "worker", Name: "get_worker_log", Keys: []string{"node.get_worker_log"}, Scope: Worker, Access: Read, Timeout: 2 * time.Minute,
		Doc: "Show what a worker has written, also some time after its end. Where lines from from_seq on are no longer kept, or the agent was started anew, the first that is kept comes first.", Returns: "lines, the oldest first",
		Errors: []cfcerr.Kind{cfcerr.NoSuchWorker},
		Repair: "A stock node gives the last ten entries, without their text; the agent keeps the lines that the node publishes. What a guest writes that is no UTF-8 the node loses, with what came along with it."})
	WorkerGetPythonpath = looks[Workers, []string]("get_pythonpath", "List where a worker looks for Python modules.", "directories, in order")
	WorkerAddPythonpath = define[AddPythonpathIn, Dict](Op{Realm: Remote, Area: "worker", Name: "add_pythonpath", Scope: Worker, Access: Admin,
		Doc: "Add directories in which a worker looks for Python modules.", Returns: "paths, paths_added (requested, resolved), prepend, who", Errors: append(onWorker, cfcerr.DeniedByHost)})
	WorkerGetAffinity = looks[Workers, []int64]("get_cpu_affinity", "List the CPUs that a worker may use.", "numbers of CPUs")
	WorkerSetAffinity = define[SetWorkerAffinityIn, []int64](Op{Realm: Remote, Area: "worker", Name: "set_cpu_affinity", Scope: Worker, Access: Write,
		Doc: "Choose the CPUs that a worker may use.", Returns: "numbers of CPUs, as they are then", Errors: append(onWorker, cfcerr.DeniedByHost),
		Repair: badCPUs})
	WorkerGetProfilers = define[Workers, []Profiler](Op{Realm: Remote, Area: "worker", Name: "get_profilers", Scope: Worker, Access: Read,
		Doc: "List the profilers that a worker can be looked at with.", Errors: onWorker,
		Repair: "A stock worker has no profiler that works; the agent samples its process from outside, with py-spy."})
	WorkerStartProfiler = define[StartProfilerIn, ProfileStarted](Op{Realm: Remote, Area: "worker", Name: "start_profiler", Scope: Worker, Access: Write,
		Doc: "Sample where a worker spends its time, for some seconds. Returns at once; get_profile gives the result.", Emits: []string{"on_profile_started", "on_profile_finished"},
		Errors: append(onWorker, cfcerr.Unavailable, cfcerr.AlreadyRunning, cfcerr.NotSupported, cfcerr.LimitExceeded, cfcerr.DeniedByHost),
		Repair: "A stock worker has no profiler that works; the agent samples its process from outside, with py-spy, which must be installed beside the node."})
	WorkerGetProfile = define[GetProfileIn, Profile](Op{Realm: Remote, Area: "worker", Name: "get_profile", Scope: Worker, Access: Read,
		Doc: "Show a profile: as a table of functions, and for speedscope. It is kept for an hour.", Errors: []cfcerr.Kind{cfcerr.NoSuchWorker, cfcerr.NoSuchObject},
		Repair: "As start_profiler."})

	WorkerGetCPUCount     = looks[WorkerCPUsIn, int64]("get_cpu_count", "Count the CPUs that a worker sees.", "how many")
	WorkerGetProcessInfo  = looks[Workers, Dict]("get_process_info", "Show a worker's process.", "descriptors, files, sockets, threads")
	WorkerGetProcessStats = looks[Workers, Dict]("get_process_stats", "Show what a worker's process takes.", "pid, status, user, system, cpu_percent, mem_percent, resident, virtual, reads, writes, …")
	WorkerStarted         = looks[Workers, string]("started", "Tell when a worker was started.", "time")
	WorkerUptime          = looks[Workers, float64]("uptime", "Tell how long a worker runs.", "seconds")
	WorkerNow             = looks[Workers, string]("utcnow", "Ask a worker for the time.", "time")
	WorkerSetMonitoring   = define[WorkerMonitoringIn, any](Op{Realm: Remote, Area: "worker", Name: "set_process_stats_monitoring", Scope: Worker, Access: Write,
		Doc: "Have a worker tell the statistics of its process.", Returns: "null", Errors: append(onWorker, cfcerr.DeniedByHost)})
	WorkerTriggerGC = define[Workers, float64](Op{Realm: Remote, Area: "worker", Name: "trigger_gc", Scope: Worker, Access: Write, Forward: "trigger_gc",
		Doc: "Have a worker collect its garbage.", Returns: "ms that it took", Errors: append(onWorker, cfcerr.DeniedByHost)})
)

// Events of workers' insides.
var (
	OnWorkerLog = event(Event{Area: "worker", Name: "on_worker_log", Args: workerArgs, By: ByAgent, Access: Read, Passing: true,
		Doc: "A worker has written; details hold lines, as get_worker_log, and lost, how many more there were than could be told. The log has them all."})
	OnProfileStarted  = event(Event{Area: "worker", Name: "on_profile_started", Args: profileArgs, By: ByAgent, Access: Read, Doc: "A worker is being sampled; details hold profiler and runtime."})
	OnProfileFinished = event(Event{Area: "worker", Name: "on_profile_finished", Args: profileArgs, By: ByAgent, Access: Read, Doc: "A profile can be had, or has failed; details hold status and error."})
	OnWorkerStats     = event(Event{Area: "worker", Name: "on_process_stats", Args: []string{"node_id", "worker_id", "stats", "details"}, By: ByAgent, Access: Read, Passing: true,
		Doc: "Statistics of a worker's process, as set_process_stats_monitoring has asked for."})

	profileArgs = []string{"node_id", "worker_id", "profile_id", "details"}
)
