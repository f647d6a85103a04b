package host

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func (c *Collector) cpu(ctx context.Context) (all []prometheus.Metric, err error) {
	times, err := c.sources.cpu(ctx, true)
	if err != nil {
		return nil, err
	}
	for _, t := range times {
		for _, mode := range []struct {
			name    string
			seconds float64
		}{
			{"user", t.User}, {"nice", t.Nice}, {"system", t.System}, {"idle", t.Idle},
			{"iowait", t.Iowait}, {"irq", t.Irq}, {"softirq", t.Softirq}, {"steal", t.Steal},
		} {
			all = append(all, counter("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.",
				mode.seconds, "cpu", strings.TrimPrefix(t.CPU, "cpu"), "mode", mode.name)...)
		}
	}
	return all, nil
}

func (c *Collector) memory(ctx context.Context) ([]prometheus.Metric, error) {
	m, err := c.sources.memory(ctx)
	if err != nil {
		return nil, err
	}
	figures := map[string]uint64{
		"MemTotal": m.Total, "MemFree": m.Free, "MemAvailable": m.Available, "Buffers": m.Buffers, "Cached": m.Cached,
	}
	swap, swapErr := c.sources.swap(ctx)
	if swapErr == nil {
		figures["SwapTotal"], figures["SwapFree"] = swap.Total, swap.Free
	}
	var all []prometheus.Metric
	for name, bytes := range figures {
		all = append(all, gauge("node_memory_"+name+"_bytes", "Memory information field "+name+"_bytes.", float64(bytes))...)
	}
	return all, swapErr
}

func (c *Collector) disks(ctx context.Context) (all []prometheus.Metric, err error) {
	counters, err := c.sources.disks(ctx)
	if err != nil {
		return nil, err
	}
	for device, d := range counters {
		if strings.HasPrefix(device, "loop") || strings.HasPrefix(device, "ram") {
			continue
		}
		add := func(name, help string, value float64) {
			all = append(all, counter("node_disk_"+name+"_total", help, value, "device", device)...)
		}
		add("read_bytes", "The total number of bytes read successfully.", float64(d.ReadBytes))
		add("written_bytes", "The total number of bytes written successfully.", float64(d.WriteBytes))
		add("reads_completed", "The total number of reads completed successfully.", float64(d.ReadCount))
		add("writes_completed", "The total number of writes completed successfully.", float64(d.WriteCount))
		add("io_time_seconds", "Total seconds spent doing I/Os.", float64(d.IoTime)/1000)
	}
	return all, nil
}

func (c *Collector) load(ctx context.Context) ([]prometheus.Metric, error) {
	l, err := c.sources.load(ctx)
	if err != nil {
		return nil, err
	}
	all := gauge("node_load1", "1m load average.", l.Load1)
	all = append(all, gauge("node_load5", "5m load average.", l.Load5)...)
	return append(all, gauge("node_load15", "15m load average.", l.Load15)...), nil
}

func (c *Collector) network(ctx context.Context) (all []prometheus.Metric, err error) {
	devices, err := c.sources.network(ctx, true)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, d := range devices {
		if seen[d.Name] {
			continue
		}
		seen[d.Name] = true
		for _, direction := range []struct {
			name                          string
			bytes, packets, errors, drops uint64
		}{
			{"receive", d.BytesRecv, d.PacketsRecv, d.Errin, d.Dropin},
			{"transmit", d.BytesSent, d.PacketsSent, d.Errout, d.Dropout},
		} {
			add := func(figure string, value uint64) {
				name := "node_network_" + direction.name + "_" + figure + "_total"
				help := "Network device statistic " + direction.name + "_" + figure + "."
				all = append(all, counter(name, help, float64(value), "device", d.Name)...)
			}
			add("bytes", direction.bytes)
			add("packets", direction.packets)
			add("errs", direction.errors)
			add("drop", direction.drops)
		}
	}
	return all, nil
}

func (c *Collector) boot(ctx context.Context) ([]prometheus.Metric, error) {
	seconds, err := c.sources.boot(ctx)
	if err != nil {
		return nil, err
	}
	return gauge("node_boot_time_seconds", "Node boot time, in unixtime.", float64(seconds)), nil
}

func (c *Collector) uname(ctx context.Context) ([]prometheus.Metric, error) {
	info, err := c.sources.info(ctx)
	if err != nil {
		return nil, err
	}
	sysname := info.OS
	if sysname != "" {
		sysname = strings.ToUpper(sysname[:1]) + sysname[1:]
	}
	return gauge("node_uname_info", "Labeled system information as provided by the uname system call.", 1,
		"sysname", sysname, "release", info.KernelVersion, "machine", info.KernelArch, "nodename", info.Hostname), nil
}

func (c *Collector) time(context.Context) ([]prometheus.Metric, error) {
	now := float64(time.Now().UnixNano()) / 1e9
	return gauge("node_time_seconds", "System time in seconds since epoch (1970).", now), nil
}
