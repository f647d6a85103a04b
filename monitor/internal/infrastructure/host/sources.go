package host

import (
	"context"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	gohost "github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// sources are the functions that ask the machine, for the tests to replace.
type sources struct {
	cpu        func(ctx context.Context, perCPU bool) ([]cpu.TimesStat, error)
	memory     func(context.Context) (*mem.VirtualMemoryStat, error)
	swap       func(context.Context) (*mem.SwapMemoryStat, error)
	partitions func(ctx context.Context, all bool) ([]disk.PartitionStat, error)
	usage      func(ctx context.Context, path string) (*disk.UsageStat, error)
	disks      func(ctx context.Context, names ...string) (map[string]disk.IOCountersStat, error)
	load       func(context.Context) (*load.AvgStat, error)
	network    func(ctx context.Context, perNIC bool) ([]net.IOCountersStat, error)
	boot       func(context.Context) (uint64, error)
	info       func(context.Context) (*gohost.InfoStat, error)
}

func machine() sources {
	return sources{
		cpu: cpu.TimesWithContext, memory: mem.VirtualMemoryWithContext, swap: mem.SwapMemoryWithContext,
		partitions: disk.PartitionsWithContext, usage: disk.UsageWithContext, disks: disk.IOCountersWithContext,
		load: load.AvgWithContext, network: net.IOCountersWithContext, boot: gohost.BootTimeWithContext,
		info: gohost.InfoWithContext,
	}
}
