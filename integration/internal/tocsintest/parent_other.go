//go:build !linux

package tocsintest

import "syscall"

func dieWithParent() *syscall.SysProcAttr { return nil }
