package tocsintest

import "syscall"

// dieWithParent makes a process end when the tests end without their cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
