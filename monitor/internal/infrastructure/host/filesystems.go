package host

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v4/disk"
)

// filesystems asks each file system by itself, since one on a network may hang.
func (c *Collector) filesystems(ctx context.Context) ([]prometheus.Metric, error) {
	partitions, err := c.sources.partitions(ctx, true)
	if err != nil {
		return nil, err
	}
	partitions = realPartitions(partitions)
	results := make([][]prometheus.Metric, len(partitions))
	var all sync.WaitGroup
	for i, p := range partitions {
		all.Go(func() { results[i] = c.filesystem(p) })
	}
	all.Wait()
	return slices.Concat(results...), nil
}

func (c *Collector) filesystem(p disk.PartitionStat) []prometheus.Metric {
	labels := []string{"device", p.Device, "fstype", p.Fstype, "mountpoint", p.Mountpoint}
	add := func(name, help string, value float64) []prometheus.Metric {
		return gauge("node_filesystem_"+name, help, value, labels...)
	}
	// Less than the time of the whole, so that the others are not given up too.
	usage, err := within(c, c.cfg.Timeout/2, "filesystem "+p.Mountpoint, func(ctx context.Context) (*disk.UsageStat, error) {
		return c.sources.usage(ctx, p.Mountpoint)
	})
	if err != nil {
		return add("device_error", "Whether an error occurred while getting statistics for the given device.", 1)
	}
	readonly := 0.0
	if slices.Contains(p.Opts, "ro") {
		readonly = 1
	}
	return slices.Concat(
		add("device_error", "Whether an error occurred while getting statistics for the given device.", 0),
		add("size_bytes", "Filesystem size in bytes.", float64(usage.Total)),
		add("avail_bytes", "Filesystem space available to non-root users in bytes.", float64(usage.Free)),
		add("free_bytes", "Filesystem free space in bytes.", float64(usage.Total-min(usage.Used, usage.Total))),
		add("files", "Filesystem total file nodes.", float64(usage.InodesTotal)),
		add("files_free", "Filesystem total free file nodes.", float64(usage.InodesFree)),
		add("readonly", "Filesystem read-only status.", readonly),
	)
}

// realPartitions leaves out what is no storage, and what is there twice. Of
// overlays only the root of a container is kept.
func realPartitions(all []disk.PartitionStat) []disk.PartitionStat {
	const pseudo = " autofs binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs erofs fusectl" +
		" hugetlbfs iso9660 mqueue nsfs proc procfs pstore rpc_pipefs securityfs selinuxfs squashfs sysfs tracefs "
	seen := map[string]bool{}
	var kept []disk.PartitionStat
	for _, p := range all {
		switch {
		case strings.Contains(pseudo, " "+p.Fstype+" "), seen[p.Mountpoint], p.Fstype == "overlay" && p.Mountpoint != "/":
			continue
		case under(p.Mountpoint, "/proc", "/sys", "/dev", "/run/credentials", "/var/lib/docker", "/var/lib/containers/storage"):
			continue
		}
		seen[p.Mountpoint] = true
		kept = append(kept, p)
	}
	return kept
}

func under(path string, roots ...string) bool {
	for _, root := range roots {
		if path == root || strings.HasPrefix(path, root+"/") {
			return true
		}
	}
	return false
}
