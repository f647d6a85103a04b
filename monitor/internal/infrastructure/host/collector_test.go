package host

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/load"
)

func collector(t *testing.T) *Collector {
	t.Helper()
	c, err := New(Config{Timeout: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// gather returns the values by name and labels, such as name{a=b,c=d}.
func gather(t *testing.T, c *Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			values[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

func TestThisMachine(t *testing.T) {
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	values := gather(t, c)
	for _, prefix := range []string{
		"node_cpu_seconds_total{cpu=0,mode=idle}", "node_memory_MemTotal_bytes{}", "node_memory_MemAvailable_bytes{}",
		"node_filesystem_size_bytes{", "node_load1{}", "node_network_receive_bytes_total{", "node_boot_time_seconds{}",
		"node_uname_info{", "node_time_seconds{}", "tocsin_host_collector_success{collector=cpu}",
	} {
		found := false
		for name := range values {
			found = found || strings.HasPrefix(name, prefix)
		}
		if !found {
			t.Errorf("no %s", prefix)
		}
	}
}

func TestAFailingSourceIsAbsent(t *testing.T) {
	c := collector(t)
	c.sources.cpu = func(context.Context, bool) ([]cpu.TimesStat, error) { return nil, errors.New("no") }
	c.sources.load = func(context.Context) (*load.AvgStat, error) { return &load.AvgStat{Load1: 7}, nil }
	values := gather(t, c)
	if values["node_load1{}"] != 7 || values["tocsin_host_collector_success{collector=load}"] != 1 {
		t.Error("the good source is missing")
	}
	if v, ok := values["tocsin_host_collector_success{collector=cpu}"]; !ok || v != 0 {
		t.Errorf("success of the bad source: %v %v", v, ok)
	}
	if _, ok := values["node_cpu_seconds_total{cpu=0,mode=idle}"]; ok {
		t.Error("the bad source has figures")
	}
}

func TestASourceThatHangsIsLeftAlone(t *testing.T) {
	c := collector(t)
	release := make(chan struct{})
	calls := make(chan struct{}, 10)
	c.sources.load = func(context.Context) (*load.AvgStat, error) {
		calls <- struct{}{}
		<-release
		return &load.AvgStat{Load1: 1}, nil
	}
	for range 3 {
		values := gather(t, c)
		if v, ok := values["tocsin_host_collector_success{collector=load}"]; !ok || v != 0 {
			t.Errorf("success: %v %v", v, ok)
		}
		if values["node_memory_MemTotal_bytes{}"] == 0 {
			t.Error("the other sources are missing")
		}
	}
	if len(calls) != 1 {
		t.Errorf("it was asked %d times", len(calls))
	}
	close(release)
	for deadline := time.Now().Add(5 * time.Second); gather(t, c)["node_load1{}"] != 1; {
		if time.Now().After(deadline) {
			t.Fatal("it does not come back")
		}
	}
}

func TestFilesystems(t *testing.T) {
	c := collector(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	c.sources.partitions = func(context.Context, bool) ([]disk.PartitionStat, error) {
		return []disk.PartitionStat{
			{Device: "/dev/a", Mountpoint: "/", Fstype: "ext4", Opts: []string{"rw"}},
			{Device: "/dev/a", Mountpoint: "/", Fstype: "ext4", Opts: []string{"rw"}},
			{Device: "/dev/b", Mountpoint: "/cd", Fstype: "udf", Opts: []string{"ro"}},
			{Device: "far:/", Mountpoint: "/far", Fstype: "nfs4"},
			{Device: "odd\xff", Mountpoint: "/odd", Fstype: "ext4"},
			{Device: "proc", Mountpoint: "/proc", Fstype: "proc"},
			{Device: "tmpfs", Mountpoint: "/dev/shm", Fstype: "tmpfs"},
			{Device: "overlay", Mountpoint: "/containers/1", Fstype: "overlay"},
		}, nil
	}
	c.sources.usage = func(_ context.Context, path string) (*disk.UsageStat, error) {
		if path == "/far" {
			<-release
		}
		return &disk.UsageStat{Total: 100, Used: 60, Free: 30}, nil
	}
	values := gather(t, c)
	want := map[string]float64{
		"node_filesystem_size_bytes{device=/dev/a,fstype=ext4,mountpoint=/}":     100,
		"node_filesystem_free_bytes{device=/dev/a,fstype=ext4,mountpoint=/}":     40,
		"node_filesystem_avail_bytes{device=/dev/a,fstype=ext4,mountpoint=/}":    30,
		"node_filesystem_readonly{device=/dev/b,fstype=udf,mountpoint=/cd}":      1,
		"node_filesystem_device_error{device=far:/,fstype=nfs4,mountpoint=/far}": 1,
		"node_filesystem_size_bytes{device=odd�,fstype=ext4,mountpoint=/odd}":    100,
		"tocsin_host_collector_success{collector=filesystem}":                    1,
	}
	for name, value := range want {
		if got, ok := values[name]; !ok || got != value {
			t.Errorf("%s is %v %v, want %v", name, got, ok, value)
		}
	}
	sizes := 0
	for name := range values {
		if strings.HasPrefix(name, "node_filesystem_size_bytes") {
			sizes++
		}
	}
	if sizes != 3 {
		t.Errorf("%d file systems with a size", sizes)
	}
}

func TestConfigIsChecked(t *testing.T) {
	if _, err := New(Config{Timeout: -1}); err == nil || !strings.HasPrefix(err.Error(), "host: ") {
		t.Errorf("error: %v", err)
	}
}
