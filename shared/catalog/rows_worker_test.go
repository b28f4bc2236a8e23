package catalog

func init() {
	for call, access := range map[string]string{
		"worker.get_status(node_id, worker_id)":                                       "read",
		"worker.shutdown(node_id, worker_id)":                                         "write",
		"worker.get_worker_log(node_id, worker_id, limit=100, from_seq=null, wait=0)": "read",
		"worker.get_pythonpath(node_id, worker_id)":                                   "read",
		"worker.add_pythonpath(node_id, worker_id, paths, prepend=true)":              "admin",
		"worker.get_cpu_affinity(node_id, worker_id)":                                 "read",
		"worker.set_cpu_affinity(node_id, worker_id, cpus)":                           "write",
		"worker.get_profilers(node_id, worker_id)":                                    "read",
		"worker.start_profiler(node_id, worker_id, profiler=null, runtime=10)":        "write",
		"worker.get_profile(node_id, worker_id, profile_id)":                          "read",
		"worker.get_cpu_count(node_id, worker_id, logical=true)":                      "read",
		"worker.get_process_info(node_id, worker_id)":                                 "read",
		"worker.get_process_stats(node_id, worker_id)":                                "read",
		"worker.set_process_stats_monitoring(node_id, worker_id, interval)":           "write",
		"worker.trigger_gc(node_id, worker_id)":                                       "write",
		"worker.started(node_id, worker_id)":                                          "read",
		"worker.uptime(node_id, worker_id)":                                           "read",
		"worker.utcnow(node_id, worker_id)":                                           "read",
		"node.get_system_stats(node_id)":                                              "read",
		"node.get_cpus(node_id)":                                                      "read",
		"node.get_cpu_affinity(node_id)":                                              "read",
		"node.set_cpu_affinity(node_id, cpus)":                                        "write",
		"node.get_process_info(node_id)":                                              "read",
		"node.get_process_stats(node_id)":                                             "read",
		"node.set_process_stats_monitoring(node_id, interval)":                        "write",
		"node.trigger_gc(node_id)":                                                    "write",
		"node.started(node_id)":                                                       "read",
		"node.uptime(node_id)":                                                        "read",
		"node.utcnow(node_id)":                                                        "read",
	} {
		contract[Remote]["cfc.remote."+call] = access
	}
}
