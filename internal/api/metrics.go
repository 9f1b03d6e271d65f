package api

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/internal/gate"
	"sluice/internal/record"
)

const (
	metricsAge  = 10 * time.Second // how old what is told may be
	metricsTime = 10 * time.Second // how long reading it may take
)

// measure describes one metric.
func measure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("sluice_"+name, help, labels, nil)
}

var (
	queueItems    = measure("queue_items", "Items in a queue of the gate.", "queue")
	queueActive   = measure("queue_active_items", "Items within the window of a queue of the gate, or the windows of its lanes.", "queue")
	queueWindow   = measure("queue_window", "Size of the window of a queue of the gate, the same in each of its lanes.", "queue")
	queueLanes    = measure("queue_lanes", "Lanes of a queue of the gate that has lanes.", "queue")
	queueLongest  = measure("queue_longest_lane_items", "Items in the longest lane of a queue of the gate that has lanes.", "queue")
	queuePaused   = measure("queue_paused", "1 where an operator has paused the queue.", "queue")
	checksPresent = measure("checks", "Patch sets that are being checked.")
	jobsNow       = measure("jobs", "Jobs by stage and state, all that the database holds.", "stage", "state")
	jobSeconds    = measure("job_seconds", "Quantiles of the time of jobs that ended within the last hour.", "stage", "quantile")
	jobsEnded     = measure("jobs_ended_last_hour", "Jobs that a worker ended within the last hour.", "stage")
	gateSeconds   = measure("gate_seconds", "Quantiles over the last hour: first_job from entering the gate to the first job, published from the merge to the repositories.", "span", "quantile")
	gateCount     = measure("gate_spans_last_hour", "How many were measured within the last hour.", "span")
	reconcileAge  = measure("reconcile_age_seconds", "Time since all that a Gerrit says was last compared with what is known.", "gerrit")
	streamUp      = measure("stream_connected", "1 where the events of a Gerrit are heard.", "gerrit")
	workerAge     = measure("worker_seen_seconds", "Time since a worker was last heard of.", "worker")
	workerBusy    = measure("worker_running", "Attempts that run under a worker's leases.", "worker")
	scrapeOK      = measure("database_read", "1 where the database could be read for this.")
)

var allMeasures = []*prometheus.Desc{
	queueItems, queueActive, queueWindow, queueLanes, queueLongest, queuePaused, checksPresent, jobsNow, jobSeconds, jobsEnded, gateSeconds, gateCount,
	reconcileAge, streamUp, workerAge, workerBusy, scrapeOK,
}

// metrics serves /metrics.
func (s *server) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), &collector{s: s})
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{})
}

// collector reads the database when it is scraped, at most every metricsAge.
type collector struct {
	s *server

	mu   sync.Mutex // guards those below, and keeps scrapes from reading at once
	at   time.Time
	last []prometheus.Metric
}

// Describe names the metrics.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range allMeasures {
		to <- d
	}
}

// Collect gives them.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil || c.s.Now().Sub(c.at) > metricsAge {
		ctx, cancel := context.WithTimeout(context.Background(), metricsTime)
		defer cancel()
		g := gauges{s: c.s}
		read := 1.0
		if err := g.read(ctx); err != nil {
			c.s.Log.Error("metrics cannot be read", "error", err)
			read = 0
		}
		g.add(scrapeOK, read)
		c.last, c.at = g.out, c.s.Now()
	}
	for _, m := range c.last {
		to <- m
	}
}

// gauges gathers metrics.
type gauges struct {
	s   *server
	out []prometheus.Metric
}

func (g *gauges) add(d *prometheus.Desc, value float64, labels ...string) {
	g.out = append(g.out, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...))
}

func truth(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

func (g *gauges) read(ctx context.Context) error {
	for _, st := range g.s.streams() {
		g.add(streamUp, truth(st.Connected), st.Gerrit)
	}
	queues, err := g.s.Store.GateQueues(ctx)
	if err != nil {
		return err
	}
	for _, q := range queues {
		n := len(q.State.Items)
		g.add(queueItems, float64(n), q.Name)
		within := min(n, q.State.Window)
		if site, _ := g.s.Site.QueueNamed(q.Name); site.Lanes {
			if within, err = g.lanes(ctx, q.Name); err != nil {
				return err
			}
		}
		g.add(queueActive, float64(within), q.Name)
		g.add(queueWindow, float64(q.State.Window), q.Name)
		g.add(queuePaused, truth(q.State.Paused != nil), q.Name)
	}
	workers, err := g.s.Store.Workers(ctx)
	if err != nil {
		return err
	}
	for _, w := range workers {
		g.add(workerAge, g.s.Now().Sub(w.SeenAt).Seconds(), w.Name)
		g.add(workerBusy, float64(w.Running), w.Name)
	}
	reconciled, err := g.s.Store.Reconciled(ctx)
	if err != nil {
		return err
	}
	for _, r := range reconciled {
		g.add(reconcileAge, g.s.Now().Sub(r.At).Seconds(), r.Gerrit)
	}
	return g.jobs(ctx)
}

// lanes tells of a queue's lanes, not of each: they come and go. It says how many
// items are active in them.
func (g *gauges) lanes(ctx context.Context, queue string) (within int, err error) {
	state, facts, err := g.s.Facts(ctx, queue)
	if err != nil {
		return 0, err
	}
	places := gate.Order(state, facts)
	count, longest, items := 0, 0, map[gate.ItemID]int{}
	for _, p := range places {
		if items[p.Lane]++; items[p.Lane] == 1 {
			count++
		}
		longest = max(longest, items[p.Lane])
	}
	g.add(queueLanes, float64(count), queue)
	g.add(queueLongest, float64(longest), queue)
	return active(places), nil
}

func (g *gauges) jobs(ctx context.Context) error {
	counts, err := g.s.Store.JobCounts(ctx)
	if err != nil {
		return err
	}
	g.add(checksPresent, float64(counts.Checks))
	states, err := g.s.Store.StageCounts(ctx)
	if err != nil {
		return err
	}
	for _, c := range states {
		g.add(jobsNow, float64(c.Count), string(c.Stage), c.State)
	}
	jobs, err := g.s.Store.JobSpans(ctx)
	if err != nil {
		return err
	}
	g.spans(jobSeconds, jobsEnded, jobs)
	spans, err := g.s.Store.GateSpans(ctx)
	g.spans(gateSeconds, gateCount, spans)
	return err
}

func (g *gauges) spans(quantiles, count *prometheus.Desc, spans []record.Span) {
	for _, sp := range spans {
		g.add(quantiles, sp.Median, sp.Name, "0.5")
		g.add(quantiles, sp.P95, sp.Name, "0.95")
		g.add(count, float64(sp.Count), sp.Name)
	}
}
